import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import {
  type AttachRequest_Hello,
  AttachRequest_HelloSchema,
} from "../gen/collector/service_hosts_pb.ts";
import type { TunnelHandler } from "../tunnel/served-call.ts";
import { ClientError } from "./client-error.ts";
import { pause } from "./pause.ts";
import type { Services } from "./services.ts";
import { WorkerSession } from "./worker-session.ts";

export interface AttachOptions {
  /** Namespace that the service is registered in; by default the client's. */
  readonly namespace?: string | undefined;
  /** Names the worker, for logs and lists; by default the server makes a name. */
  readonly workerId?: string | undefined;
  /** For `match.` hints of calls. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Calls to run at a time; 100 by default. */
  readonly callsMax?: number | undefined;
  /** How long {@link Worker.close} waits for calls that run, in ms. */
  readonly drainMs?: number | undefined;
  /** Told of what handlers throw that is meant for no caller, who only learns of INTERNAL. */
  readonly onError?: ((error: unknown) => void) | undefined;
  /** Told when the worker is attached, again after each reconnection, and when it is not. */
  readonly onState?: ((state: WorkerState, problem: ClientError | undefined) => void) | undefined;
}

/** `attached`: calls are run. `reconnecting`: the collector was lost. `closed`: for good. */
export type WorkerState = "attached" | "reconnecting" | "draining" | "closed";

export interface WorkerParts {
  readonly hosts: Services["hosts"];
  /** Full names of the services. */
  readonly services: readonly string[];
  readonly handler: TunnelHandler;
  readonly messageBytesMax: number;
}

const drainMsDefault = 30_000;
const firstDelayMs = 100;
const longestDelayMs = 10_000;

/** How long a stream has to last for the next try to be as soon as the first. */
const steadyMs = 10_000;

/**
 * Runs calls of a service for a collector, over a stream that this program has opened. A stream that
 * is lost is opened again, after pauses that grow, for as long as it takes.
 */
export class Worker implements AsyncDisposable {
  readonly #parts: WorkerParts;
  readonly #options: AttachOptions;
  readonly #hello: AttachRequest_Hello;
  readonly #closing = new AbortController();
  readonly #attached = Promise.withResolvers<undefined>();
  readonly #ended: Promise<void>;
  #session: WorkerSession | undefined;
  #state: WorkerState = "reconnecting";
  #executorId = "";
  #problem: ClientError | undefined;
  #attachedAtMs: number | undefined;
  #closed: Promise<void> | undefined;

  private constructor(parts: WorkerParts, options: AttachOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#hello = create(AttachRequest_HelloSchema, {
      namespace: options.namespace ?? "",
      services: [...parts.services],
      workerId: options.workerId ?? "",
      callsMax: options.callsMax ?? 0,
      labels: { ...options.labels },
    });
    this.#ended = this.#run();
  }

  /** @throws {ClientError} why it cannot be attached: nothing is tried again then */
  static async attach(parts: WorkerParts, options: AttachOptions): Promise<Worker> {
    const worker = new Worker(parts, options);
    await worker.#attached.promise;
    return worker;
  }

  get state(): WorkerState {
    return this.#state;
  }

  /** Id of the worker as executor; another one after a reconnection, if it has no `workerId`. */
  get executorId(): string {
    return this.#executorId;
  }

  /** Why it is not attached, if it is not. */
  get problem(): ClientError | undefined {
    return this.#problem;
  }

  /** Resolves when it is closed. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /** Calls that it runs. */
  get callCount(): number {
    return this.#session?.callCount ?? 0;
  }

  /** Takes no more calls, lets those that run go on for `drainMs`, and leaves. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Leaves at once: calls that run fail. */
  stop(): void {
    this.#closing.abort();
    const text = "the worker was stopped";
    this.#session?.abort(new ClientError("CANCELLED", text, { code: Code.Canceled }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    if (this.#state !== "closed") this.#enter("draining", undefined);
    this.#closing.abort();
    const session = this.#session;
    session?.drain();
    const timer = setTimeout(() => this.stop(), this.#options.drainMs ?? drainMsDefault);
    await this.#ended;
    clearTimeout(timer);
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    let delayMs = firstDelayMs;
    while (!this.#closing.signal.aborted) {
      const problem = await this.#runOnce();
      if (this.#closing.signal.aborted) break;
      if (this.#executorId === "") {
        // It never was attached.
        const text = "the server ended the stream before the worker was attached";
        const code = Code.Unavailable;
        this.#attached.reject(problem ?? new ClientError("SHUTTING_DOWN", text, { code }));
        break;
      }
      const lastedMs = performance.now() - (this.#attachedAtMs ?? performance.now());
      this.#attachedAtMs = undefined;
      if (lastedMs >= steadyMs) delayMs = firstDelayMs;
      this.#enter("reconnecting", problem);
      await this.#rest(delayMs * (0.5 + Math.random()));
      delayMs = Math.min(delayMs * 2, longestDelayMs);
    }
    this.#enter("closed", undefined);
  }

  async #rest(ms: number): Promise<void> {
    const { signal } = this.#closing;
    try {
      await pause(ms, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** @returns why the stream has ended; undefined if the server has let the worker go */
  async #runOnce(): Promise<ClientError | undefined> {
    const { hosts, handler, messageBytesMax } = this.#parts;
    const session = new WorkerSession({
      hosts,
      hello: this.#hello,
      handler,
      messageBytesMax,
      onBug: (error) => this.#options.onError?.(error),
      onWelcome: ({ executorId }) => {
        this.#executorId = executorId;
        this.#attachedAtMs = performance.now();
        this.#enter("attached", undefined);
        this.#attached.resolve(undefined);
      },
    });
    this.#session = session;
    try {
      await session.run();
      return undefined;
    } catch (error) {
      if (error instanceof ClientError) return error;
      const text = error instanceof Error ? error.message : String(error);
      return new ClientError("UNRECOGNIZED", text, { code: Code.Unknown, cause: error });
    } finally {
      this.#session = undefined;
    }
  }

  #enter(state: WorkerState, problem: ClientError | undefined): void {
    const isLeaving = this.#state === "draining" && state !== "closed";
    if (this.#state === "closed" || isLeaving) return;
    this.#problem = problem;
    if (this.#state === state) return;
    this.#state = state;
    this.#options.onState?.(state, problem);
  }
}
