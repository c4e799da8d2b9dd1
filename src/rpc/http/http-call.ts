import type { DescMethod } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import {
  type ContextKey,
  createContextKey,
  encodeBinaryHeader,
  type HandlerContext,
} from "@connectrpc/connect";
import { invalidField } from "../../errors.ts";
import type { Call, RequestMetadata, ResponseMetadata } from "../call.ts";
import { namespaceHeader } from "../interceptors/namespace.ts";

/** What the transport knows of a request and connect-node does not pass on. */
export interface RequestFacts {
  readonly requestId: string;
  readonly peer: string;
  /** Names and values in turn, as they came. */
  readonly rawHeaders: readonly string[];
}

export const requestFacts: ContextKey<RequestFacts> = createContextKey<RequestFacts>({
  requestId: "",
  peer: "",
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
  deadlineMs: number | undefined;
  readonly #context: HandlerContext;
  readonly #rawHeaders: readonly string[];
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
    this.#rawHeaders = facts.rawHeaders;
  }

  get signal(): AbortSignal {
    return this.#context.signal;
  }

  get requestMetadata(): RequestMetadata {
    this.#requestMetadata ??= new HttpRequestMetadata(this.#rawHeaders);
    return this.#requestMetadata;
  }

  get responseHeaders(): ResponseMetadata {
    return new HttpResponseMetadata(this.#context.responseHeader);
  }

  get responseTrailers(): ResponseMetadata {
    return new HttpResponseMetadata(this.#context.responseTrailer);
  }
}

/** Whether a header may pass from outside to a handler: of `x-collector-*`, only the namespace. */
export function isHeaderFromOutside(name: string): boolean {
  return !name.startsWith(":") && (!name.startsWith("x-collector-") || name === namespaceHeader);
}

class HttpRequestMetadata implements RequestMetadata {
  readonly #pairs: (readonly [string, string])[] = [];

  constructor(rawHeaders: readonly string[]) {
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
      const name = (rawHeaders[at] ?? "").toLowerCase();
      if (isHeaderFromOutside(name)) this.#pairs.push([name, rawHeaders[at + 1] ?? ""]);
    }
  }

  get(name: string): string | undefined {
    return this.#pairs.find(([own]) => own === name)?.[1];
  }

  getBinary(name: string): Uint8Array | undefined {
    const value = this.get(name)?.split(",", 1)[0];
    if (value === undefined) return undefined;
    try {
      return base64Decode(value.trim());
    } catch {
      throw invalidField("METADATA_INVALID", name, "a header that ends in -bin holds base64");
    }
  }

  entries(): Iterable<readonly [string, string]> {
    return this.#pairs;
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
}

function protocolOf(name: string): "grpc" | "grpc-web" | "connect" {
  return name === "grpc" || name === "grpc-web" ? name : "connect";
}
