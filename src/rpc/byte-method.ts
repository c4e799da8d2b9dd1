import { type DescMessage, type DescMethod, type Message } from "@bufbuild/protobuf";
import { CollectorError } from "../errors.ts";
import type { Limits } from "../lib/limits.ts";
import type { Invocation, Payload, Routes } from "./call.ts";
import { decodeMessage } from "./encoding/message-decoder.ts";
import { encodeMessage } from "./encoding/message-encoder.ts";
import { messageTooLarge } from "./grpc/frame.ts";
import { bytesOf, mapEach, toRaw } from "./runtime/raw-message.ts";

/** A method, built in or registered at run time, and how its messages are read and written. */
export interface ByteMethod {
  readonly kind: DescMethod["methodKind"];
  /** Undefined for one that is registered at run time. */
  readonly desc: DescMethod | undefined;
  readonly invoke: Invocation;
  readonly decode: (bytes: Uint8Array) => Message;
  readonly encode: (message: Message) => Uint8Array;
}

/**
 * @param namespace what the call's header names, if it names one
 * @throws {CollectorError} METHOD_UNIMPLEMENTED, METHOD_NOT_REGISTERED, NAME_INVALID
 */
export function findByteMethod(
  routes: Routes,
  serviceName: string,
  methodName: string,
  namespace: string | undefined,
): ByteMethod {
  const method = routes.find(serviceName, methodName);
  if (method !== undefined) {
    const { desc, invoke } = method;
    return {
      kind: desc.methodKind,
      desc,
      invoke,
      decode: (bytes) => decodeRequest(desc.input, bytes),
      encode: (message) => encodeMessage(desc.output, message, 0),
    };
  }
  const raw = routes.runTime?.raw(serviceName, methodName, namespace);
  if (raw !== undefined) return { ...raw, desc: undefined, decode: toRaw, encode: bytesOf };
  throw new CollectorError(
    "METHOD_UNIMPLEMENTED",
    `this server has no method ${serviceName}/${methodName}`,
  );
}

/**
 * When a call ends at the latest, as on the port: one of one message and one answer has a limit,
 * whatever its caller asks for.
 *
 * @param askedMs when its caller gives up, on the clock of `performance.now()`
 */
export function deadlineOf(
  { kind, desc }: ByteMethod,
  askedMs: number | undefined,
  limits: Limits,
  isUnlimited: (method: DescMethod) => boolean,
): number | undefined {
  if (kind !== "unary" || (desc !== undefined && isUnlimited(desc))) return askedMs;
  const nowMs = performance.now();
  return Math.min(askedMs ?? nowMs + limits.deadlineDefaultMs, nowMs + limits.deadlineMaxMs);
}

/** @throws {CollectorError} MESSAGE_TOO_LARGE */
export function withinLimit(bytes: Uint8Array, { messageBytesMax }: Limits): Uint8Array {
  if (bytes.byteLength > messageBytesMax) throw messageTooLarge(bytes.byteLength, messageBytesMax);
  return bytes;
}

/** The request that a method takes: one message, or all of them. */
export async function requestOf(
  method: ByteMethod,
  messages: AsyncIterable<Uint8Array>,
): Promise<Payload> {
  const decoded = mapEach(messages, method.decode);
  const takesOne = method.kind === "unary" || method.kind === "server_streaming";
  return takesOne ? await onlyOne(decoded) : decoded;
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

function decodeRequest(desc: DescMessage, bytes: Uint8Array): Message {
  try {
    return decodeMessage(desc, bytes);
  } catch (cause) {
    const text = `the request is no valid ${desc.typeName}`;
    throw new CollectorError("ARGUMENT_INVALID", text, { cause });
  }
}
