import { CollectorError } from "../../errors.ts";
import type { CallOptions, MetadataEntries } from "../../mesh/channel.ts";
import type { Call, RequestMetadata } from "../call.ts";
import { GrpcRequestMetadata, GrpcResponseMetadata } from "../grpc/metadata.ts";
import type { HeaderList } from "../grpc/server-stream.ts";
import { type TimerWheel, WheelEntry } from "../grpc/timer-wheel.ts";

export interface LoopbackCallOptions {
  readonly path: string;
  readonly options: CallOptions;
  readonly requestId: string;
  readonly wheel: TimerWheel;
}

/** A call that this process makes of itself. */
export class LoopbackCall extends WheelEntry implements Call {
  readonly serviceName: string;
  readonly methodName: string;
  readonly protocol = "local";
  readonly peer = "local";
  requestId: string;
  namespace = "";
  deadlineMs: number | undefined;
  executorId?: string;
  /** Told when the headers are to be known before the first message. */
  onFlush: (() => void) | undefined;
  readonly #options: CallOptions;
  readonly #wheel: TimerWheel;
  #metadata: RequestMetadata | undefined;
  #headers: GrpcResponseMetadata | undefined;
  #trailers: GrpcResponseMetadata | undefined;
  #controller: AbortController | undefined;
  #interruption: CollectorError | undefined;
  #onInterrupt: ((error: CollectorError) => void) | undefined;

  constructor({ path, options, requestId, wheel }: LoopbackCallOptions) {
    super();
    const slash = path.indexOf("/", 1);
    this.serviceName = path.slice(1, slash);
    this.methodName = path.slice(slash + 1);
    this.requestId = requestId;
    this.#options = options;
    this.#wheel = wheel;
  }

  get requestMetadata(): RequestMetadata {
    this.#metadata ??= metadataOf(this.#options);
    return this.#metadata;
  }

  get responseHeaders(): GrpcResponseMetadata {
    this.#headers ??= new GrpcResponseMetadata();
    return this.#headers;
  }

  get responseTrailers(): GrpcResponseMetadata {
    this.#trailers ??= new GrpcResponseMetadata();
    return this.#trailers;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#interruption !== undefined) this.#controller.abort(this.#interruption);
    }
    return this.#controller.signal;
  }

  /** Why the call was ended from outside, if it was. */
  get interruption(): CollectorError | undefined {
    return this.#interruption;
  }

  flushHeaders(): void {
    this.onFlush?.();
  }

  /** Watches the deadline and the caller's signal. */
  start(deadlineMs: number | undefined): void {
    this.deadlineMs = deadlineMs;
    if (deadlineMs !== undefined) this.#wheel.set(this, deadlineMs);
    const { signal } = this.#options;
    if (signal?.aborted === true) this.#onAbort();
    else signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** The call is over. */
  end(): void {
    this.#wheel.clear(this);
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    this.#onInterrupt = undefined;
  }

  override onDue(): void {
    this.interrupt(new CollectorError("DEADLINE_EXCEEDED", "the call's deadline has passed"));
  }

  /** Ends the call: its handler is told by the signal, and who waits for it gets the error. */
  interrupt(error: CollectorError): void {
    if (this.#interruption !== undefined) return;
    this.#interruption = error;
    this.#controller?.abort(error);
    const listener = this.#onInterrupt;
    this.#onInterrupt = undefined;
    listener?.(error);
  }

  /** What `work` comes to, unless the call is interrupted before. The work then goes on unheard. */
  within<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      work.then(resolve, reject);
      if (this.#interruption === undefined) this.#onInterrupt = reject;
      else reject(this.#interruption);
    });
  }

  /** What the handler has set; from here on it cannot set more. */
  takeHeaders(): MetadataEntries {
    this.#headers?.seal();
    return entriesOf(this.#headers?.list);
  }

  takeTrailers(): MetadataEntries {
    this.#trailers?.seal();
    return entriesOf(this.#trailers?.list);
  }

  readonly #onAbort = (): void => {
    const reason: unknown = this.#options.signal?.reason;
    const isOurs = reason instanceof CollectorError;
    this.interrupt(isOurs ? reason : new CollectorError("CANCELLED", "the call was cancelled"));
  };
}

const none: MetadataEntries = [];

/** What a caller outside could send, and no more. */
function metadataOf({ metadata }: CallOptions): RequestMetadata {
  const headers: Record<string, string> = {};
  const raw: string[] = [];
  for (const [name, value] of metadata ?? none) {
    headers[name] ??= value;
    raw.push(name, value);
  }
  return new GrpcRequestMetadata(headers, raw);
}

function entriesOf(list: HeaderList | undefined): MetadataEntries {
  if (list === undefined || list.length === 0) return none;
  const entries: [string, string][] = [];
  for (let i = 0; i + 1 < list.length; i += 2) entries.push([list[i] ?? "", list[i + 1] ?? ""]);
  return entries;
}
