import type { CallOptions, MetadataEntries } from "../../mesh/channel.ts";
import type { Call, RequestMetadata, ResponseMetadata } from "../call.ts";
import { decodeBinary, GrpcResponseMetadata } from "../grpc/metadata.ts";
import type { HeaderList } from "../grpc/server-stream.ts";
import { namespaceHeader } from "../interceptors/namespace.ts";

export interface HandlerCallOptions {
  readonly serviceName: string;
  readonly methodName: string;
  readonly namespace: string;
  readonly options: CallOptions;
  readonly newRequestId: () => string;
}

/** A call as a handler in this process sees it, which another caller has made. */
export class HandlerCall implements Call {
  readonly serviceName: string;
  readonly methodName: string;
  readonly protocol = "local";
  readonly peer = "local";
  namespace: string;
  deadlineMs: number | undefined;
  readonly #options: CallOptions;
  readonly #newRequestId: () => string;
  #requestId: string | undefined;
  #signal: AbortSignal | undefined;
  #requestMetadata: RequestMetadata | undefined;
  #headers: GrpcResponseMetadata | undefined;
  #trailers: GrpcResponseMetadata | undefined;
  /** Told when the headers are to be sent before the first message. */
  onFlush: (() => void) | undefined;

  constructor({ serviceName, methodName, namespace, options, newRequestId }: HandlerCallOptions) {
    this.serviceName = serviceName;
    this.methodName = methodName;
    this.namespace = namespace;
    this.#newRequestId = newRequestId;
    this.deadlineMs = options.deadlineMs;
    this.#options = options;
  }

  get requestId(): string {
    this.#requestId ??= this.#newRequestId();
    return this.#requestId;
  }

  set requestId(value: string) {
    this.#requestId = value;
  }

  get signal(): AbortSignal {
    this.#signal ??= signalOf(this.#options);
    return this.#signal;
  }

  get requestMetadata(): RequestMetadata {
    this.#requestMetadata ??= new EntriesMetadata([...(this.#options.metadata ?? [])]);
    return this.#requestMetadata;
  }

  get responseHeaders(): ResponseMetadata {
    this.#headers ??= new GrpcResponseMetadata();
    return this.#headers;
  }

  get responseTrailers(): ResponseMetadata {
    this.#trailers ??= new GrpcResponseMetadata();
    return this.#trailers;
  }

  flushHeaders(): void {
    this.onFlush?.();
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
}

/** Metadata that is there as a list. */
export class EntriesMetadata implements RequestMetadata {
  readonly #entries: MetadataEntries;

  constructor(entries: MetadataEntries) {
    this.#entries = entries;
  }

  get(name: string): string | undefined {
    return this.#entries.find(([key]) => key === name)?.[1];
  }

  getBinary(name: string): Uint8Array | undefined {
    const value = this.get(name);
    return value === undefined ? undefined : decodeBinary(name, value);
  }

  entries(): MetadataEntries {
    return this.#entries;
  }
}

/** The namespace of a call by its metadata. */
export function namespaceOf({ metadata = [] }: CallOptions): string | undefined {
  for (const [name, value] of metadata) if (name === namespaceHeader) return value;
  return undefined;
}

/** Fires when the caller gives up, and when the deadline passes. */
function signalOf({ signal, deadlineMs }: CallOptions): AbortSignal {
  const signals = signal === undefined ? [] : [signal];
  if (deadlineMs !== undefined) {
    signals.push(AbortSignal.timeout(Math.max(0, Math.ceil(deadlineMs - performance.now()))));
  }
  const [only] = signals;
  return signals.length === 1 && only !== undefined ? only : AbortSignal.any(signals);
}

const none: MetadataEntries = [];

function entriesOf(list: HeaderList | undefined): MetadataEntries {
  if (list === undefined) return none;
  const entries: [string, string][] = [];
  for (let i = 0; i + 1 < list.length; i += 2) entries.push([list[i] ?? "", list[i + 1] ?? ""]);
  return entries;
}
