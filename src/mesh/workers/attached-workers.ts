import { CollectorError, type ErrorReason } from "../../errors.ts";
import type { AttachRequest, AttachResponse } from "../../gen/collector/service_hosts_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import type { TypeSource } from "../../registry/type-snapshot.ts";
import type { LocalExecutors } from "../executor.ts";
import { AttachedWorker } from "./attached-worker.ts";
import { helloOf, readHello } from "./hello.ts";

export interface AttachedWorkersOptions {
  readonly executors: LocalExecutors;
  readonly types: TypeSource;
  readonly collectorId: string;
  readonly limits: Limits;
  /** gRPC's code of a failure of this server. */
  readonly codeOf: (reason: ErrorReason) => number;
  readonly log: Pick<Log, "info" | "warn">;
}

/** What is known of the stream of a worker. */
export interface AttachContext {
  readonly namespace: string;
  /** Address of the worker. */
  readonly peer: string;
  /** Fires when the stream is gone. */
  readonly signal: AbortSignal;
}

/** How often workers are looked at while they are to leave. */
const leaveCheckMs = 20;

/** The workers that have attached themselves: each is an executor for as long as its stream lasts. */
export class AttachedWorkers implements Disposable {
  readonly #options: AttachedWorkersOptions;
  readonly #workers = new Map<string, AttachedWorker>();
  #made = 0;
  #pinger: NodeJS.Timeout | undefined;
  #leaver: NodeJS.Timeout | undefined;
  #isDraining = false;

  constructor(options: AttachedWorkersOptions) {
    this.#options = options;
  }

  /** Workers whose streams are open. */
  get count(): number {
    return this.#workers.size;
  }

  /**
   * Runs the stream of a worker.
   *
   * @param requests what the worker sends
   * @returns what is sent to it, until it leaves, is lost or breaks the rules
   * @throws {CollectorError} as {@link readHello}; OVERLOADED, SHUTTING_DOWN, ARGUMENT_INVALID; DEADLINE_EXCEEDED
   * if the worker does not say who it is
   */
  async *attach(
    requests: AsyncIterable<AttachRequest>,
    context: AttachContext,
  ): AsyncIterable<AttachResponse> {
    const iterator = requests[Symbol.asyncIterator]();
    const worker = this.#open(await this.#firstOf(iterator), context);
    const { log, types } = this.#options;
    const { id, namespace } = worker;
    log.info({ worker: id, namespace, peer: context.peer }, "a worker has attached itself");
    const onAbort = (): void => worker.lose("has gone");
    context.signal.addEventListener("abort", onAbort, { once: true });
    try {
      worker.share((name) => isRegistered(types, namespace, name));
      void this.#read(iterator, worker);
      yield* worker.outbox;
    } finally {
      context.signal.removeEventListener("abort", onAbort);
      worker.lose("has gone");
      this.#forget(id);
      log.info({ worker: id, namespace, peer: context.peer }, "a worker has gone");
      // Whoever sends may wait for the end of this stream.
      Promise.resolve(iterator.return?.()).catch(() => undefined);
    }
  }

  /** The services of a namespace have changed. */
  followTypes(namespace: string): void {
    const { types } = this.#options;
    for (const worker of this.#workers.values()) {
      if (worker.namespace !== namespace) continue;
      worker.share((name) => isRegistered(types, namespace, name));
    }
  }

  /**
   * Takes no more workers, and lets those that are attached go once nobody needs them any more.
   *
   * @param isNeeded whether there are calls under way here that may still be given to a worker
   */
  drain(isNeeded: () => boolean = () => false): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    const check = (): void => {
      if (isNeeded()) return;
      clearInterval(this.#leaver);
      for (const worker of this.#workers.values()) worker.drain();
    };
    this.#leaver = setInterval(check, leaveCheckMs);
    check();
  }

  [Symbol.dispose](): void {
    this.#isDraining = true;
    clearInterval(this.#pinger);
    clearInterval(this.#leaver);
    for (const worker of this.#workers.values()) worker.lose("is let go: the server stops");
  }

  /** @throws {CollectorError} DEADLINE_EXCEEDED if nothing comes for so long */
  async #firstOf(requests: AsyncIterator<AttachRequest>): Promise<AttachRequest | undefined> {
    const { workerHelloMs } = this.#options.limits;
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      const text = `hello: did not come within ${workerHelloMs} ms, the limit (workerHelloMs)`;
      late.reject(new CollectorError("DEADLINE_EXCEEDED", text));
    }, workerHelloMs);
    try {
      const first = await Promise.race([requests.next(), late.promise]);
      return first.done === true ? undefined : first.value;
    } finally {
      clearTimeout(timer);
    }
  }

  #open(first: AttachRequest | undefined, { namespace }: AttachContext): AttachedWorker {
    const { executors, types, collectorId, limits, codeOf } = this.#options;
    const hello = readHello(helloOf(first?.step), types, namespace, limits);
    if (this.#isDraining) {
      throw new CollectorError("SHUTTING_DOWN", "this server is shutting down; attach elsewhere");
    }
    if (this.#workers.size >= limits.workersMax) {
      throw new CollectorError(
        "OVERLOADED",
        `${limits.workersMax} workers are attached, the limit (workersMax)`,
        { retryAfterMs: 1000 },
      );
    }
    const worker = new AttachedWorker({
      id: this.#newId(hello.workerId),
      hello,
      namespace,
      collectorId,
      sinceMs: Date.now(),
      executors,
      limits,
      codeOf,
    });
    this.#workers.set(worker.id, worker);
    this.#pinger ??= setInterval(() => {
      const nowMs = performance.now();
      for (const each of this.#workers.values()) each.ping(nowMs);
    }, limits.workerPingMs);
    return worker;
  }

  /** A worker that comes back before its old stream is known to be lost is another one. */
  #newId(wanted: string): string {
    if (wanted !== "" && !this.#workers.has(wanted)) return wanted;
    const base = wanted === "" ? "worker" : wanted;
    let id: string;
    do {
      this.#made += 1;
      id = `${base}-${this.#made}`;
    } while (this.#workers.has(id));
    return id;
  }

  async #read(requests: AsyncIterator<AttachRequest>, worker: AttachedWorker): Promise<void> {
    try {
      for (;;) {
        const result = await requests.next();
        if (result.done === true) break;
        worker.accept(result.value);
      }
      worker.lose("has ended its stream");
    } catch (error) {
      if (error instanceof CollectorError && error.reason === "ARGUMENT_INVALID") {
        const { log } = this.#options;
        log.warn({ worker: worker.id, problem: error.message }, "a worker broke the rules");
        worker.lose("broke the rules of its stream", error);
      } else {
        worker.lose("has gone");
      }
    }
  }

  #forget(id: string): void {
    this.#workers.delete(id);
    if (this.#workers.size > 0) return;
    clearInterval(this.#pinger);
    this.#pinger = undefined;
  }
}

function isRegistered(types: TypeSource, namespace: string, serviceName: string): boolean {
  try {
    return types.snapshot(namespace).service(serviceName).typeName === serviceName;
  } catch (error) {
    if (error instanceof CollectorError) return false;
    throw error;
  }
}
