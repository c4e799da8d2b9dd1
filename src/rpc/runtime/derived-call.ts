import type { MetadataEntries } from "../../mesh/channel.ts";
import type { Via } from "../../mesh/links/link-calls.ts";
import type { RouteWish } from "../../mesh/router.ts";
import type { Call, RequestMetadata, ResponseMetadata } from "../call.ts";
import { namespaceHeader } from "../interceptors/namespace.ts";
import { EntriesMetadata } from "./handler-call.ts";

export interface DerivedCallOptions {
  readonly serviceName: string;
  readonly methodName: string;
  readonly namespace: string;
  /** Instead of what the caller says under the same names. */
  readonly metadata: MetadataEntries;
  readonly wish?: RouteWish | undefined;
  /** Whether the answer's metadata is dropped, as when there are several calls for one. */
  readonly dropsMetadata?: boolean | undefined;
}

const dropped: ResponseMetadata = { set: () => undefined, pass: () => undefined };

/**
 * A call that a handler makes on behalf of the one that it serves: with the same caller, its rights, its
 * deadline and its metadata.
 */
export class DerivedCall implements Call {
  readonly serviceName: string;
  readonly methodName: string;
  readonly protocol: Call["protocol"];
  readonly peer: string;
  readonly via: Via | undefined;
  readonly wish: RouteWish | undefined;
  #requestMetadata: RequestMetadata | undefined;
  requestId: string;
  namespace: string;
  deadlineMs: number | undefined;
  executorId?: string;
  readonly #outer: Call;
  readonly #metadata: MetadataEntries;
  readonly #dropsMetadata: boolean;

  constructor(outer: Call, options: DerivedCallOptions) {
    this.#outer = outer;
    this.#dropsMetadata = options.dropsMetadata ?? false;
    this.serviceName = options.serviceName;
    this.methodName = options.methodName;
    this.namespace = options.namespace;
    this.wish = options.wish;
    this.protocol = outer.protocol;
    this.peer = outer.peer;
    this.via = outer.via;
    this.requestId = outer.requestId;
    this.deadlineMs = outer.deadlineMs;
    this.#metadata = options.metadata;
  }

  get requestMetadata(): RequestMetadata {
    this.#requestMetadata ??= this.#merged();
    return this.#requestMetadata;
  }

  get signal(): AbortSignal {
    return this.#outer.signal;
  }

  get responseHeaders(): ResponseMetadata {
    return this.#dropsMetadata ? dropped : this.#outer.responseHeaders;
  }

  get responseTrailers(): ResponseMetadata {
    return this.#dropsMetadata ? dropped : this.#outer.responseTrailers;
  }

  #merged(): RequestMetadata {
    const entries: (readonly [string, string])[] = [
      [namespaceHeader, this.namespace],
      ...this.#metadata,
    ];
    const own = entries.length;
    for (const entry of this.#outer.requestMetadata.entries()) {
      let isSet = false;
      for (let i = 0; i < own && !isSet; i += 1) isSet = entries[i]?.[0] === entry[0];
      if (!isSet) entries.push(entry);
    }
    return new EntriesMetadata(entries);
  }
}
