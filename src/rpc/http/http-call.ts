import type { IncomingHttpHeaders } from "node:http";
import type { DescMethod } from "@bufbuild/protobuf";
import {
  type ContextKey,
  createContextKey,
  encodeBinaryHeader,
  type HandlerContext,
} from "@connectrpc/connect";
import type { MetadataEntries } from "../../mesh/channel.ts";
import type { Call, RequestMetadata, ResponseMetadata } from "../call.ts";
import { GrpcRequestMetadata, passableHeaders } from "../grpc/metadata.ts";

/** What the transport knows of a request and connect-node does not pass on. */
export interface RequestFacts {
  readonly requestId: string;
  readonly peer: string;
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turn, as they came. */
  readonly rawHeaders: readonly string[];
}

export const requestFacts: ContextKey<RequestFacts> = createContextKey<RequestFacts>({
  requestId: "",
  peer: "",
  headers: {},
  rawHeaders: [],
});

/** A call that came through connect-node. */
export class HttpCall implements Call {
  readonly serviceName: string;
  readonly methodName: string;
  readonly protocol: "grpc" | "grpc-web" | "connect";
  readonly peer: string;
  requestId: string;
  namespace = "";
  executorId?: string;
  deadlineMs: number | undefined;
  readonly #context: HandlerContext;
  readonly #facts: RequestFacts;
  #requestMetadata: RequestMetadata | undefined;

  constructor(method: DescMethod, context: HandlerContext) {
    const facts = context.values.get(requestFacts);
    const leftMs = context.timeoutMs();
    this.serviceName = method.parent.typeName;
    this.methodName = method.name;
    this.protocol = protocolOf(context.protocolName);
    this.peer = facts.peer;
    this.requestId = facts.requestId;
    this.deadlineMs = leftMs === undefined ? undefined : performance.now() + leftMs;
    this.#context = context;
    this.#facts = facts;
  }

  get signal(): AbortSignal {
    return this.#context.signal;
  }

  get requestMetadata(): RequestMetadata {
    if (this.#requestMetadata === undefined) {
      const { headers, rawHeaders } = this.#facts;
      // HTTP/1.1 keeps the case of names; the values stand between them.
      const list = rawHeaders.map((text, i) => (i % 2 === 0 ? text.toLowerCase() : text));
      this.#requestMetadata = new GrpcRequestMetadata(headers, list);
    }
    return this.#requestMetadata;
  }

  get responseHeaders(): ResponseMetadata {
    return new HttpResponseMetadata(this.#context.responseHeader);
  }

  get responseTrailers(): ResponseMetadata {
    return new HttpResponseMetadata(this.#context.responseTrailer);
  }
}

class HttpResponseMetadata implements ResponseMetadata {
  readonly #headers: Headers;

  constructor(headers: Headers) {
    this.#headers = headers;
  }

  set(name: string, value: string | Uint8Array): void {
    this.#headers.set(name, typeof value === "string" ? value : encodeBinaryHeader(value));
  }

  pass(entries: MetadataEntries): void {
    const list = passableHeaders(entries);
    for (let i = 0; i + 1 < list.length; i += 2)
      this.#headers.append(list[i] ?? "", list[i + 1] ?? "");
  }
}

function protocolOf(name: string): "grpc" | "grpc-web" | "connect" {
  return name === "grpc" || name === "grpc-web" ? name : "connect";
}
