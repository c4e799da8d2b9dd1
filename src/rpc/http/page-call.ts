import type { DescMethod } from "@bufbuild/protobuf";
import type { Call, RequestMetadata, ResponseMetadata } from "../call.ts";
import { GrpcRequestMetadata } from "../grpc/metadata.ts";
import type { HttpRequest } from "./responses.ts";

export interface PageCallOptions {
  readonly method: DescMethod;
  readonly request: HttpRequest;
  readonly requestId: string;
  readonly signal: AbortSignal;
}

/** A call of a method on behalf of a plain HTTP request: it passes the same interceptors. */
export function pageCall({ method, request, requestId, signal }: PageCallOptions): Call {
  const { remoteAddress = "unknown", remotePort = 0 } = request.socket;
  return {
    serviceName: method.parent.typeName,
    methodName: method.name,
    protocol: "http",
    peer: `${remoteAddress.includes(":") ? `[${remoteAddress}]` : remoteAddress}:${remotePort}`,
    requestId,
    namespace: "",
    deadlineMs: undefined,
    signal,
    requestMetadata: metadataOf(request),
    responseHeaders: discarded,
    responseTrailers: discarded,
  };
}

function metadataOf({ headers, rawHeaders }: HttpRequest): RequestMetadata {
  // HTTP/1.1 keeps the case of names; the values stand between them.
  const list = rawHeaders.map((text, i) => (i % 2 === 0 ? text.toLowerCase() : text));
  return new GrpcRequestMetadata(headers, list);
}

/** A page has headers of its own. */
const discarded: ResponseMetadata = { set: () => undefined, pass: () => undefined };
