import type { DescMethod } from "@bufbuild/protobuf";
import { CollectorError } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import { Slots } from "../../lib/slots.ts";
import type { Via } from "../../mesh/links/link-calls.ts";
import type { BoundMethod, RawMethod, Routes } from "../call.ts";
import { namespaceHeader } from "../interceptors/namespace.ts";
import { toConnectError } from "../status.ts";
import type { ReceiveShare } from "./call-watch.ts";
import { acceptedEncodings } from "./compression.ts";
import { type CallHost, GrpcCall } from "./grpc-call.ts";
import { runMethod, runRaw } from "./method-runner.ts";
import type { HeaderList, IncomingHeaders, ServerStream, StreamListener } from "./server-stream.ts";
import { statusTrailers } from "./status-trailers.ts";
import { parseTimeout } from "./timeout.ts";
import { TimerWheel } from "./timer-wheel.ts";

export interface GrpcHandlerOptions {
  readonly routes: Routes;
  readonly limits: Limits;
  readonly newRequestId: () => string;
  /** Told of failures that are this server's own, and that no interceptor has seen. */
  readonly log: Pick<Log, "error">;
  /** A share of the memory for requests that are being received; without it, nothing is counted. */
  readonly openShare?: () => ReceiveShare;
  /** The link that a call came over, if what it carries proves that. */
  readonly verifyLink?: (credential: string) => Via | undefined;
  /** Unary methods that may run for as long as they take, such as copies. */
  readonly isUnlimited?: (method: DescMethod) => boolean;
}

/** Serves gRPC on the streams of any number of HTTP/2 connections. */
export interface GrpcHandler {
  /**
   * Takes over a stream whose content type begins with `application/grpc`.
   *
   * @param rawHeaders names and values in turn, as they came
   */
  accept(stream: ServerStream, headers: IncomingHeaders, rawHeaders: HeaderList): void;
  /** Calls in flight, until their streams are closed. */
  readonly callCount: number;
  /** Refuses new calls from now on; resolves when those in flight are done. */
  drain(): Promise<void>;
  /** Ends every call in flight with UNAVAILABLE and fires its signal. */
  abort(): void;
}

interface CalledMethod {
  readonly serviceName: string;
  readonly methodName: string;
  /** Undefined if it is none of this server's own. */
  readonly method: BoundMethod | undefined;
}

const noShare: ReceiveShare = { set: () => undefined, [Symbol.dispose]: () => undefined };

export function createGrpcHandler(options: GrpcHandlerOptions): GrpcHandler {
  return new GrpcServerHandler(options);
}

class GrpcServerHandler implements GrpcHandler {
  readonly #options: GrpcHandlerOptions;
  readonly #host: CallHost;
  readonly #calls = new Slots<GrpcCall>();
  /** The methods served here that were called. */
  readonly #byPath = new Map<string, CalledMethod>();
  #drained: PromiseWithResolvers<void> | undefined;

  constructor(options: GrpcHandlerOptions) {
    this.#options = options;
    this.#host = {
      limits: options.limits,
      log: options.log,
      newRequestId: options.newRequestId,
      wheel: new TimerWheel(),
      openShare: options.openShare ?? (() => noShare),
      verifyLink: options.verifyLink ?? (() => undefined),
      onClose: (call) => this.#forget(call),
    };
  }

  get callCount(): number {
    return this.#calls.size;
  }

  accept(stream: ServerStream, headers: IncomingHeaders, rawHeaders: HeaderList): void {
    const refusal = httpRefusal(headers);
    if (refusal !== undefined) {
      stream.listen(deaf);
      stream.respondOnly(refusal);
      return;
    }
    try {
      this.#begin(stream, headers, rawHeaders);
    } catch (error) {
      stream.listen(deaf);
      stream.respondOnly([...refusalHeaders, ...statusTrailers(toConnectError(error))]);
    }
  }

  drain(): Promise<void> {
    if (this.#drained === undefined) {
      this.#drained = Promise.withResolvers();
      if (this.#calls.size === 0) this.#drained.resolve();
    }
    return this.#drained.promise;
  }

  abort(): void {
    for (const call of this.#calls.values()) call.interrupt(shuttingDown());
  }

  /** @throws {CollectorError} if the call is refused before it begins */
  #begin(stream: ServerStream, headers: IncomingHeaders, rawHeaders: HeaderList): void {
    if (this.#drained !== undefined) throw shuttingDown();
    const path = text(headers, ":path") ?? "";
    const { serviceName, methodName, method } = this.#byPath.get(path) ?? this.#find(path);
    const raw =
      method === undefined ? this.#findRaw(path, serviceName, methodName, headers) : undefined;
    const encoding = text(headers, "grpc-encoding") ?? "identity";
    if (encoding !== "identity" && encoding !== "gzip") throw unknownEncoding(encoding);
    const isLimited =
      (method?.desc.methodKind ?? raw?.kind) === "unary" && !this.#isUnlimited(method);
    const timeoutMs = this.#timeoutMs(text(headers, "grpc-timeout"), isLimited);

    const host = this.#host;
    const call = new GrpcCall({ host, stream, headers, rawHeaders, serviceName, methodName });
    const isPacked = encoding === "gzip";
    if (isPacked && acceptsGzip(headers)) call.answerEncoding = "gzip";
    call.slot = this.#calls.add(call);
    call.start(timeoutMs);
    const run = { call, messageBytesMax: host.limits.messageBytesMax, isPacked };
    if (method !== undefined) call.receive(runMethod(method, run));
    else if (raw !== undefined) call.receive(runRaw(raw, run));
  }

  #find(path: string): CalledMethod {
    const slash = path.indexOf("/", 1);
    const serviceName = path.slice(1, slash);
    const methodName = path.slice(slash + 1);
    const method = this.#options.routes.find(serviceName, methodName);
    const called = { serviceName, methodName, method };
    // Of those there are only so many, and they stay.
    if (method !== undefined && path.startsWith("/")) this.#byPath.set(path, called);
    return called;
  }

  /** @throws {CollectorError} METHOD_UNIMPLEMENTED, METHOD_NOT_REGISTERED, NAME_INVALID */
  #findRaw(
    path: string,
    serviceName: string,
    methodName: string,
    headers: IncomingHeaders,
  ): RawMethod {
    const isWellFormed = /^\/[A-Za-z_][\w.]*\/[A-Za-z_]\w*$/.test(path);
    const { runTime } = this.#options.routes;
    const raw = isWellFormed
      ? runTime?.raw(serviceName, methodName, text(headers, namespaceHeader))
      : undefined;
    if (raw !== undefined) return raw;
    throw new CollectorError(
      "METHOD_UNIMPLEMENTED",
      isWellFormed
        ? `this server has no method ${serviceName}/${methodName}`
        : `the path of a call is /package.Service/Method, not ${JSON.stringify(path.slice(0, 100))}`,
    );
  }

  /** @throws {CollectorError} METADATA_INVALID */
  #timeoutMs(value: string | undefined, isLimited: boolean): number | undefined {
    const asked = value === undefined ? undefined : parseTimeout(value);
    if (!isLimited) return asked;
    const { deadlineDefaultMs, deadlineMaxMs } = this.#options.limits;
    return Math.min(asked ?? deadlineDefaultMs, deadlineMaxMs);
  }

  #isUnlimited(method: BoundMethod | undefined): boolean {
    return method !== undefined && this.#options.isUnlimited?.(method.desc) === true;
  }

  #forget(call: GrpcCall): void {
    this.#calls.take(call.slot);
    // It may be another's from now on.
    call.slot = -1;
    if (this.#calls.size === 0) this.#drained?.resolve();
  }
}

/** Says what encodings would do, as an unknown one may be the reason. */
const refusalHeaders: HeaderList = [
  ":status",
  "200",
  "content-type",
  "application/grpc",
  "grpc-accept-encoding",
  acceptedEncodings,
];

/** For streams that are refused: nothing of them matters any more. */
const deaf: StreamListener = {
  onData: () => undefined,
  onEnd: () => undefined,
  onDrain: () => undefined,
  onClose: () => undefined,
};

/** The answer to what is no gRPC call over protobuf at all. */
function httpRefusal(headers: IncomingHeaders): HeaderList | undefined {
  const contentType = text(headers, "content-type") ?? "";
  if (contentType !== "application/grpc" && !isGrpcContentType(contentType)) {
    return [":status", "415", "accept-post", "application/grpc, application/grpc+proto"];
  }
  if (headers[":method"] !== "POST") return [":status", "405", "allow", "POST"];
  return undefined;
}

/** Whether a content type is gRPC over protobuf: `application/grpc`, `application/grpc+proto`. */
export function isGrpcContentType(contentType: string): boolean {
  return /^application\/grpc(?:\+proto)?\s*(?:;|$)/i.test(contentType);
}

function text(headers: IncomingHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === "object" ? value[0] : value;
}

/** A client that packs its request can read what it writes, whether it says so or not. */
function acceptsGzip(headers: IncomingHeaders): boolean {
  const accepted = text(headers, "grpc-accept-encoding");
  return accepted === undefined || accepted.split(",").some((name) => name.trim() === "gzip");
}

function unknownEncoding(encoding: string): CollectorError {
  const name = JSON.stringify(encoding.slice(0, 40));
  return new CollectorError(
    "METHOD_UNIMPLEMENTED",
    `grpc-encoding ${name} is not known here; use one of ${acceptedEncodings}`,
  );
}

function shuttingDown(): CollectorError {
  return new CollectorError("SHUTTING_DOWN", "this server is shutting down; call another one");
}
