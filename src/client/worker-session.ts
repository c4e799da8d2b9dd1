import { Code } from "@connectrpc/connect";
import type {
  AttachRequest,
  AttachRequest_Hello,
  AttachResponse_Welcome,
} from "../gen/collector/service_hosts_pb.ts";
import { Outbox } from "../tunnel/outbox.ts";
import type { TunnelHandler } from "../tunnel/served-call.ts";
import { TunnelServer } from "../tunnel/tunnel-server.ts";
import { ClientError } from "./client-error.ts";
import type { Services } from "./services.ts";
import { statusEnd } from "./worker-status.ts";

export interface SessionOptions {
  readonly hosts: Services["hosts"];
  readonly hello: AttachRequest_Hello;
  readonly handler: TunnelHandler;
  readonly messageBytesMax: number;
  /** Told of what handlers throw that is meant for no caller. */
  readonly onBug: (error: unknown) => void;
  readonly onWelcome: (welcome: AttachResponse_Welcome) => void;
}

/** Calls at a time that a server gives to a worker which says nothing of it. */
const callsDefault = 100;
const metadataBytesMax = 16 * 1024;

/** How many of the server's intervals without a word from it mean that it is lost. */
const silentPings = 3;

/** A worker's stream to a collector, once. */
export class WorkerSession {
  readonly #options: SessionOptions;
  readonly #outbox: Outbox<AttachRequest>;
  readonly #server: TunnelServer;
  readonly #controller = new AbortController();
  #lastHeardMs = performance.now();
  #silentMs = Number.POSITIVE_INFINITY;
  #isDraining = false;

  constructor(options: SessionOptions) {
    const { hello, handler, messageBytesMax, onBug } = options;
    this.#options = options;
    this.#outbox = new Outbox({
      wrap: (frames) => request({ case: "frames", value: frames }),
    });
    this.#server = new TunnelServer({
      outlet: this.#outbox,
      handler,
      toEnd: (error) => statusEnd(error, onBug),
      callsMax: hello.callsMax === 0 ? callsDefault : hello.callsMax,
      messageBytesMax,
      metadataBytesMax,
    });
    this.#outbox.push(request({ case: "hello", value: hello }));
  }

  /** Calls that run. */
  get callCount(): number {
    return this.#server.callCount;
  }

  /**
   * Runs calls until the stream ends.
   *
   * @throws {ClientError} why it did, unless the server has let the worker go
   */
  async run(): Promise<void> {
    let watchdog: NodeJS.Timeout | undefined;
    try {
      const { hosts, hello } = this.#options;
      const { namespace } = hello;
      const headers = namespace === "" ? {} : { "x-collector-namespace": namespace };
      const call = { signal: this.#controller.signal, timeoutMs: 0, headers };
      for await (const { step } of hosts.attach(this.#outbox, call)) {
        this.#lastHeardMs = performance.now();
        switch (step.case) {
          case "welcome":
            this.#silentMs = silentPings * step.value.pingIntervalMs;
            watchdog = setInterval(() => this.#checkLife(), step.value.pingIntervalMs);
            this.#options.onWelcome(step.value);
            break;
          case "frames":
            for (const frame of step.value.frames) this.#server.accept(frame);
            break;
          case "ping":
            this.#outbox.push(request({ case: "pong", value: step.value }));
            break;
          // Of a drain, or of what a newer server says, the end of the stream is what matters.
          default:
        }
      }
    } catch (error) {
      throw this.#failureOf(error);
    } finally {
      clearInterval(watchdog);
      this.#server.close();
      this.#outbox.end();
    }
  }

  /** Takes no more calls; the stream ends when those that run are done. */
  drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.#outbox.push(request({ case: "drain", value: { $typeName: "collector.AttachDrain" } }));
    void this.#server.drain();
  }

  /** Ends the stream at once. */
  abort(reason: ClientError): void {
    this.#controller.abort(reason);
  }

  #checkLife(): void {
    const silentMs = performance.now() - this.#lastHeardMs;
    if (silentMs <= this.#silentMs) return;
    const text = `the collector gave no sign of life for ${Math.round(silentMs)} ms`;
    this.abort(new ClientError("CONNECTION_FAILED", text, { code: Code.Unavailable }));
  }

  #failureOf(error: unknown): unknown {
    const { aborted, reason } = this.#controller.signal;
    return aborted ? reason : error;
  }
}

function request(step: AttachRequest["step"]): AttachRequest {
  return { $typeName: "collector.AttachRequest", step };
}
