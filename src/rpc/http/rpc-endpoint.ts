import type { DescMethod } from "@bufbuild/protobuf";
import { createContextValues } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerRequest } from "@connectrpc/connect/protocol";
import { CollectorError } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import type { BoundMethod, Routes } from "../call.ts";
import { formatTimeout, parseTimeout as parseGrpcTimeout } from "../grpc/timeout.ts";
import { namespaceHeader } from "../interceptors/namespace.ts";
import type { ConnectHandlers } from "./connect-handlers.ts";
import { timerMsMax } from "./connect-handlers.ts";
import { decodeWebText, encodeWebText } from "./grpc-web-text.ts";
import { requestFacts } from "./http-call.ts";
import type { ReceiveBudget } from "./receive-budget.ts";
import {
  type RefusingHandlers,
  refusal,
  refuseHalfDuplex,
  refuseUnknownMethods,
} from "./refusals.ts";
import { readRequestBody } from "./request-body.ts";
import { readTarget, urlOf } from "./request-target.ts";
import { type HttpRequest, type HttpResponse, respond, sendUniversal } from "./responses.ts";

export interface RpcEndpointOptions {
  readonly routes: Routes;
  readonly handlers: ConnectHandlers;
  readonly limits: Limits;
  readonly budget: ReceiveBudget;
  /** Unary methods without a time limit of ours. */
  readonly isUnlimited: (method: DescMethod) => boolean;
  readonly newRequestId: () => string;
  readonly log: Log;
}

/** What the content type of a request says about how its messages are written. */
interface Format {
  readonly json: boolean;
  /** Messages in envelopes: all of gRPC and gRPC-Web, and Connect's streams. */
  readonly enveloped: boolean;
  /** gRPC-Web in base64. */
  readonly text: boolean;
}

const contentTypePattern =
  /^application\/(?:(grpc-web-text|grpc-web|grpc|connect)(?:\+(proto|json))?|(proto|json))(?: ?; ?charset=utf-?8)?$/i;

/** Serves RPCs that are not the lean gRPC adapter's: Connect, gRPC-Web, and all of HTTP/1.1. */
export class RpcEndpoint {
  readonly #options: RpcEndpointOptions;
  readonly #unknown: RefusingHandlers = refuseUnknownMethods();
  readonly #halfDuplex: RefusingHandlers = refuseHalfDuplex();

  constructor(options: RpcEndpointOptions) {
    this.#options = options;
  }

  /** Whether the path has the form of an RPC, `/package.Service/Method`. */
  isRpcPath(path: string): boolean {
    return splitPath(path) !== undefined;
  }

  /** Never rejects: what goes wrong is answered, or logged if nothing can be answered any more. */
  async serve(path: string, request: HttpRequest, response: HttpResponse): Promise<void> {
    const [service, method] = splitPath(path) ?? ["", ""];
    const found = this.#find(request, service, method);
    const [bound, refused] =
      found instanceof CollectorError ? [undefined, found] : [found, undefined];
    const format = formatOf(request);
    if (format === undefined) {
      refuseFormat(request, response, bound);
      return;
    }
    const { log, limits } = this.#options;
    const hangUp = new AbortController();
    response.once("close", () => {
      hangUp.abort();
    });
    try {
      const handler = this.#handlerFor(bound, format, request.httpVersionMajor);
      const universal = this.#toUniversal(request, format, bound, hangUp.signal);
      universal.contextValues?.set(refusal, refused);
      const answer = await handler(universal);
      if (format.text) encodeWebText(answer);
      if (answer.status === 405 || answer.status === 415) refuseFormat(request, response, bound);
      else await sendUniversal(answer, request, response, limits.streamIdleMs);
    } catch (error) {
      if (hangUp.signal.aborted) {
        log.debug({ err: error, path }, "the caller hung up during a call");
        return;
      }
      log.error({ err: error, path }, "a request failed outside of its handler");
      if (response.headersSent) response.destroy();
      else respond(request, response, 500, "The server failed; its log has the details.\n");
    }
  }

  /** @returns why there is none, if there is more to say */
  #find(
    request: HttpRequest,
    service: string,
    method: string,
  ): BoundMethod | CollectorError | undefined {
    const { routes } = this.#options;
    const bound = routes.find(service, method);
    if (bound !== undefined) return bound;
    const namespace = request.headers[namespaceHeader];
    try {
      return routes.runTime?.typed(service, method, namespace?.toString());
    } catch (error) {
      if (error instanceof CollectorError) return error;
      throw error;
    }
  }

  #handlerFor(bound: BoundMethod | undefined, format: Format, httpMajor: number): UniversalHandler {
    const form = format.enveloped ? "stream" : "unary";
    if (bound === undefined) return this.#unknown[form];
    if (bound.desc.methodKind === "bidi_streaming" && httpMajor < 2) return this.#halfDuplex[form];
    return this.#options.handlers.get(bound, format.json ? "json" : "binary");
  }

  #toUniversal(
    request: HttpRequest,
    format: Format,
    bound: BoundMethod | undefined,
    signal: AbortSignal,
  ): UniversalServerRequest {
    const { limits, budget, newRequestId } = this.#options;
    const kind = bound?.desc.methodKind;
    const header = toWebHeaders(request);
    // The body is held to its length, and to the limit, by our reader of it.
    header.delete("content-length");
    // Only JSON is worth compressing; without this, connect-node answers in the request's encoding.
    if (!format.json) {
      for (const name of acceptEncodingHeaders) header.set(name, "identity");
    }
    if (format.text) header.set("content-type", "application/grpc-web+proto");
    const timeoutMs = this.#settleTimeout(header, bound);
    const { remoteAddress = "unknown", remotePort = 0 } = request.socket;
    return {
      httpVersion: request.httpVersion,
      method: request.method ?? "",
      // Only its path and query are looked at; the caller's Host is no part of it.
      url: urlOf(readTarget(request.url)),
      header,
      body: readRequestBody({
        source: request,
        enveloped: format.enveloped,
        isAnswerDue: kind !== undefined && kind !== "bidi_streaming",
        timeoutMs,
        limits,
        budget,
        ...(format.text ? { decode: decodeWebText() } : {}),
      }),
      signal,
      contextValues: createContextValues().set(requestFacts, {
        requestId: newRequestId(),
        peer: `${remoteAddress.includes(":") ? `[${remoteAddress}]` : remoteAddress}:${remotePort}`,
        headers: request.headers,
        rawHeaders: request.rawHeaders,
      }),
    };
  }

  /**
   * Sets how long the call may take: what the caller asks, within the limits of a unary method; other
   * kinds have none unless the caller sets one. A malformed header is left for connect-node to refuse.
   *
   * @returns milliseconds
   */
  #settleTimeout(header: Headers, bound: BoundMethod | undefined): number | undefined {
    const { limits, isUnlimited } = this.#options;
    const isConnect = !(header.get("content-type") ?? "").startsWith("application/grpc");
    const name = isConnect ? "connect-timeout-ms" : "grpc-timeout";
    const text = header.get(name);
    const asked = text === null ? undefined : parseTimeout(text, isConnect);
    if (text !== null && asked === undefined) return undefined;
    const isLimited = bound?.desc.methodKind === "unary" && !isUnlimited(bound.desc);
    const wanted = asked ?? (isLimited ? limits.deadlineDefaultMs : undefined);
    if (wanted === undefined) return undefined;
    const timeoutMs = Math.min(wanted, isLimited ? limits.deadlineMaxMs : timerMsMax);
    header.set(name, isConnect ? String(timeoutMs) : formatTimeout(timeoutMs));
    return timeoutMs;
  }
}

const acceptEncodingHeaders = [
  "accept-encoding",
  "grpc-accept-encoding",
  "connect-accept-encoding",
] as const;

function splitPath(path: string): [service: string, method: string] | undefined {
  const match = /^\/([^/]+)\/([^/]+)$/.exec(path);
  return match?.[1] !== undefined && match[2] !== undefined ? [match[1], match[2]] : undefined;
}

function formatOf(request: HttpRequest): Format | undefined {
  if (request.method === "GET") {
    const { query } = readTarget(request.url);
    const encoding = query.get("encoding");
    if (encoding !== "json" && encoding !== "proto") return undefined;
    return { json: encoding === "json", enveloped: false, text: false };
  }
  const match = contentTypePattern.exec(request.headers["content-type"] ?? "");
  if (match === null) return undefined;
  const protocol = match[1]?.toLowerCase();
  const text = protocol === "grpc-web-text";
  const json = (match[2] ?? match[3])?.toLowerCase() === "json";
  if (text && json) return undefined;
  return { json, enveloped: protocol !== undefined, text };
}

function refuseFormat(
  request: HttpRequest,
  response: HttpResponse,
  bound: BoundMethod | undefined,
): void {
  if (bound === undefined && request.method === "GET") {
    respond(request, response, 404, "There is nothing here.\n");
  } else if (request.method !== "POST") {
    const text = "Call this method with POST and content-type: application/json.\n";
    respond(request, response, 405, text, { allow: "POST" });
  } else {
    const streams = bound !== undefined && bound.desc.methodKind !== "unary";
    const wanted = streams ? "application/connect+json" : "application/json";
    const text = `This method takes content-type: ${wanted} (or the protobuf, gRPC-Web or gRPC one).\n`;
    respond(request, response, 415, text, { "accept-post": wanted });
  }
}

function toWebHeaders(request: HttpRequest): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    if (value === undefined || name.startsWith(":")) continue;
    for (const item of Array.isArray(value) ? value : [value]) headers.append(name, item);
  }
  return headers;
}

/** Milliseconds, or undefined if the text is no timeout. */
function parseTimeout(text: string, isConnect: boolean): number | undefined {
  if (isConnect) return /^\d{1,10}$/.test(text) ? Number(text) : undefined;
  try {
    return Math.ceil(parseGrpcTimeout(text));
  } catch {
    return undefined;
  }
}
