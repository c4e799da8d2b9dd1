import { CollectorError, type ErrorReason } from "../../errors.ts";
import type { AttachRequest, AttachResponse } from "../../gen/collector/service_hosts_pb.ts";
import type { TunnelFrames } from "../../gen/collector/tunnel_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import { Outbox } from "../../tunnel/outbox.ts";
import type { Executor, LocalExecutors } from "../executor.ts";
import { TunnelCaller } from "../tunnel/tunnel-caller.ts";
import { attachFault, type WorkerHello } from "./hello.ts";

export interface AttachedWorkerOptions {
  readonly id: string;
  readonly hello: WorkerHello;
  readonly namespace: string;
  readonly collectorId: string;
  /** Milliseconds since 1970. */
  readonly sinceMs: number;
  readonly executors: LocalExecutors;
  readonly limits: Limits;
  readonly codeOf: (reason: ErrorReason) => number;
}

/** How many intervals without a word from it a worker is dead. */
const silentPings = 3;

type Step = AttachResponse["step"];

/** A worker for as long as its stream lasts. */
export class AttachedWorker {
  readonly id: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly collectorId: string;
  readonly sinceMs: number;
  /** What is sent to it. */
  readonly outbox: Outbox<AttachResponse>;
  /** Its calls. */
  readonly channel: TunnelCaller;
  /** Calls that whoever chose it has under way. */
  inFlight = 0;
  readonly #options: AttachedWorkerOptions;
  readonly #shares = new Map<string, Disposable>();
  #lastHeardMs = performance.now();
  #pingId = 0n;
  #isAsked = false;
  #isDraining = false;
  #isOver = false;

  constructor(options: AttachedWorkerOptions) {
    const { id, hello, namespace, limits, codeOf, collectorId } = options;
    this.#options = options;
    this.id = id;
    this.namespace = namespace;
    this.labels = hello.labels;
    this.collectorId = collectorId;
    this.sinceMs = options.sinceMs;
    this.outbox = new Outbox<AttachResponse>({
      wrap: (frames: TunnelFrames) => response({ case: "frames", value: frames }),
      onReturn: () => this.lose("has hung up"),
    });
    this.channel = new TunnelCaller({
      outlet: this.outbox,
      endpoint: `worker ${id}`,
      callsMax: hello.callsMax,
      waitingMax: limits.workerWaitingMax,
      messageBytesMax: limits.messageBytesMax,
      metadataBytesMax: limits.headerBytesMax,
      codeOf,
    });
    this.outbox.push(
      response({
        case: "welcome",
        value: {
          $typeName: "collector.AttachResponse.Welcome",
          executorId: id,
          collectorId,
          pingIntervalMs: limits.workerPingMs,
        },
      }),
    );
  }

  /** Whether it may be given calls. */
  get isReady(): boolean {
    return !this.#isDraining && !this.#isOver;
  }

  /** Runs those of its services that `isRegistered` knows, and no others. Without any, it may go. */
  share(isRegistered: (serviceName: string) => boolean): void {
    if (!this.isReady) return;
    const { executors, hello } = this.#options;
    for (const serviceName of hello.services) {
      const share = this.#shares.get(serviceName);
      if (!isRegistered(serviceName)) {
        share?.[Symbol.dispose]();
        this.#shares.delete(serviceName);
      } else if (share === undefined) {
        this.#shares.set(serviceName, executors.add(new WorkerShare(this, serviceName)));
      }
    }
    if (this.#shares.size === 0) this.drain();
  }

  /** A step of the worker. @throws {CollectorError} ARGUMENT_INVALID if it breaks the rules */
  accept({ step }: AttachRequest): void {
    this.#lastHeardMs = performance.now();
    switch (step.case) {
      case "frames":
        for (const frame of step.value.frames) this.channel.accept(frame);
        break;
      case "pong":
        this.#isAsked = false;
        break;
      case "drain":
        this.#leave();
        break;
      default:
        throw attachFault(`${step.case ?? "an empty step"} is nothing that a worker sends here`);
    }
  }

  /** Asks for a sign of life. Without one for too long, the worker is lost. */
  ping(nowMs: number): void {
    const { workerPingMs } = this.#options.limits;
    const silentMs = nowMs - this.#lastHeardMs;
    if (silentMs > silentPings * workerPingMs) {
      const problem = `gave no sign of life for ${Math.round(silentMs)} ms`;
      this.lose(problem, new CollectorError("PEER_UNAVAILABLE", `worker ${this.id} ${problem}`));
      return;
    }
    if (this.#isAsked) return;
    this.#isAsked = true;
    this.#pingId += 1n;
    const id = this.#pingId;
    this.outbox.push(response({ case: "ping", value: { $typeName: "collector.AttachPing", id } }));
  }

  /** Gives it no more calls, and lets it go when those it has are done. */
  drain(): void {
    if (this.#isDraining) return;
    this.outbox.push(response({ case: "drain", value: { $typeName: "collector.AttachDrain" } }));
    this.#leave();
  }

  /** Its stream is gone, or to be ended: its calls fail at once. */
  lose(problem: string, error?: CollectorError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#unshare();
    this.channel.close(problem);
    if (error === undefined) this.outbox.end();
    else this.outbox.fail(error);
  }

  #leave(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.#unshare();
    void this.channel.drain().then(() => {
      this.lose("has left");
    });
  }

  #unshare(): void {
    for (const share of this.#shares.values()) share[Symbol.dispose]();
    this.#shares.clear();
  }
}

/** A worker as what runs one of its services. */
class WorkerShare implements Executor {
  readonly kind = "worker";
  readonly address = "";
  readonly serviceName: string;
  readonly #worker: AttachedWorker;

  constructor(worker: AttachedWorker, serviceName: string) {
    this.#worker = worker;
    this.serviceName = serviceName;
  }

  get id(): string {
    return this.#worker.id;
  }

  get namespace(): string {
    return this.#worker.namespace;
  }

  get labels(): Readonly<Record<string, string>> {
    return this.#worker.labels;
  }

  get collectorId(): string {
    return this.#worker.collectorId;
  }

  get sinceMs(): number {
    return this.#worker.sinceMs;
  }

  get ready(): boolean {
    return this.#worker.isReady;
  }

  get problem(): string {
    return this.ready ? "" : "it takes no more calls";
  }

  get isFull(): boolean {
    return !this.#worker.channel.hasRoom;
  }

  /** Of all its services: they share what the worker can do. */
  get inFlight(): number {
    return this.#worker.inFlight;
  }

  set inFlight(value: number) {
    this.#worker.inFlight = value;
  }

  get channel(): TunnelCaller {
    return this.#worker.channel;
  }
}

function response(step: Step): AttachResponse {
  return { $typeName: "collector.AttachResponse", step };
}
