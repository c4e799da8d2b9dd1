import { type DescMessage, type DescMethod, fromBinary, type Message } from "@bufbuild/protobuf";
import { CollectorError, type ErrorReason } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import type { LinkCallHost, Via } from "../../mesh/links/link-calls.ts";
import type { TunnelCall, TunnelEnd } from "../../tunnel/served-call.ts";
import type { Invocation, Payload, Routes } from "../call.ts";
import { encodeMessage } from "../encoding/message-encoder.ts";
import { messageTooLarge } from "../grpc/frame.ts";
import { statusTrailers } from "../grpc/status-trailers.ts";
import { namespaceHeader } from "../interceptors/namespace.ts";
import { bytesOf, mapEach, toRaw } from "../runtime/raw-message.ts";
import { codeByReason, toConnectError } from "../status.ts";
import { pairsOf, TunnelledCall } from "./tunnelled-call.ts";

export interface LinkCallHostOptions {
  /** Asked when a call comes, as it is made after the links. */
  readonly routes: () => Routes;
  readonly limits: Limits;
  readonly newRequestId: () => string;
  /** Unary methods that may run for as long as they take. */
  readonly isUnlimited: (method: DescMethod) => boolean;
}

/** Runs calls that come back over the streams of links: the same methods as on the port, the same way. */
export function linkCallHost(options: LinkCallHostOptions): LinkCallHost {
  return {
    run: (call, via) => run(options, call, via),
    toEnd,
    codeOf: (reason: ErrorReason) => codeByReason[reason],
  };
}

async function* run(
  options: LinkCallHostOptions,
  tunnelled: TunnelCall,
  via: Via,
): AsyncIterable<Uint8Array> {
  const slash = tunnelled.path.indexOf("/", 1);
  const serviceName = tunnelled.path.slice(1, slash);
  const methodName = tunnelled.path.slice(slash + 1);
  const method = findMethod(options.routes(), serviceName, methodName, tunnelled);
  const requestId = options.newRequestId();
  const deadlineMs = deadlineOf(options, method, tunnelled);
  const names = { serviceName, methodName };
  const call = new TunnelledCall({ call: tunnelled, via, ...names, requestId, deadlineMs });
  const takesOne = method.kind === "unary" || method.kind === "server_streaming";
  const messages = mapEach(tunnelled.messages, method.decode);
  const request: Payload = takesOne ? await onlyOne(messages) : messages;
  const answer = await withinDeadline(method.invoke(request, call), deadlineMs);
  if (Symbol.asyncIterator in answer) {
    for await (const message of answer) {
      call.sendHeaders();
      yield withinLimit(method.encode(message), options.limits);
    }
  } else {
    call.sendHeaders();
    yield withinLimit(method.encode(answer), options.limits);
  }
  call.setTrailers();
}

/** A method, and how its messages are read and written. */
interface Runnable {
  readonly kind: DescMethod["methodKind"];
  /** Undefined for one that is registered at run time. */
  readonly desc: DescMethod | undefined;
  readonly invoke: Invocation;
  readonly decode: (bytes: Uint8Array) => Message;
  readonly encode: (message: Message) => Uint8Array;
}

/** @throws {CollectorError} METHOD_UNIMPLEMENTED, METHOD_NOT_REGISTERED, NAME_INVALID */
function findMethod(
  routes: Routes,
  serviceName: string,
  methodName: string,
  { metadata }: TunnelCall,
): Runnable {
  const method = routes.find(serviceName, methodName);
  if (method !== undefined) {
    const { desc, invoke } = method;
    return {
      kind: desc.methodKind,
      desc,
      invoke,
      decode: (bytes) => decode(desc.input, bytes),
      encode: (message) => encodeMessage(desc.output, message, 0),
    };
  }
  const namespace = metadata.find(([name]) => name === namespaceHeader)?.[1];
  const raw = routes.runTime?.raw(serviceName, methodName, namespace);
  if (raw !== undefined) return { ...raw, desc: undefined, decode: toRaw, encode: bytesOf };
  throw new CollectorError(
    "METHOD_UNIMPLEMENTED",
    `this server has no method ${serviceName}/${methodName}`,
  );
}

/** As on the port: calls of one message and one answer have a limit, whatever the caller asks for. */
function deadlineOf(
  { limits, isUnlimited }: LinkCallHostOptions,
  { kind, desc }: Runnable,
  { deadlineMs: asked }: TunnelCall,
): number | undefined {
  if (kind !== "unary" || (desc !== undefined && isUnlimited(desc))) return asked;
  const nowMs = performance.now();
  return Math.min(asked ?? nowMs + limits.deadlineDefaultMs, nowMs + limits.deadlineMaxMs);
}

/** The work goes on if time is up, and its answer has no reader. */
async function withinDeadline<T>(work: Promise<T>, deadlineMs: number | undefined): Promise<T> {
  if (deadlineMs === undefined) return await work;
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    reject(new CollectorError("DEADLINE_EXCEEDED", "the call's deadline has passed"));
  }, deadlineMs - performance.now());
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

function decode(desc: DescMessage, bytes: Uint8Array): Message {
  try {
    return fromBinary(desc, bytes);
  } catch (cause) {
    const text = `the request is no valid ${desc.typeName}`;
    throw new CollectorError("ARGUMENT_INVALID", text, { cause });
  }
}

/** @throws {CollectorError} METHOD_UNIMPLEMENTED, as gRPC has it, for another number than one */
async function onlyOne(messages: AsyncIterable<Message>): Promise<Message> {
  const all: Message[] = [];
  for await (const message of messages) {
    all.push(message);
    if (all.length > 1) break;
  }
  const [first] = all;
  if (first !== undefined && all.length === 1) return first;
  const found = first === undefined ? "none came" : "more than one came";
  throw new CollectorError(
    "METHOD_UNIMPLEMENTED",
    `this method takes exactly one request message, and ${found}`,
  );
}

function withinLimit(bytes: Uint8Array, { messageBytesMax }: Limits): Uint8Array {
  if (bytes.byteLength > messageBytesMax) throw messageTooLarge(bytes.byteLength, messageBytesMax);
  return bytes;
}

function toEnd(error: unknown): TunnelEnd {
  const status = toConnectError(error);
  // The details among them; a tunnel leaves out what it carries by itself.
  const metadata = pairsOf(statusTrailers(status));
  return { code: status.code, message: status.rawMessage, metadata };
}
