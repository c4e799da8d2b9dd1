import { type DescMessage, type DescMethod, fromBinary, type Message } from "@bufbuild/protobuf";
import { CollectorError, type ErrorReason } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import type { LinkCallHost, Via } from "../../mesh/links/link-calls.ts";
import type { TunnelCall, TunnelEnd } from "../../tunnel/served-call.ts";
import type { BoundMethod, Payload, Routes } from "../call.ts";
import { encodeMessage } from "../encoding/message-encoder.ts";
import { messageTooLarge } from "../grpc/frame.ts";
import { statusTrailers } from "../grpc/status-trailers.ts";
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
  const method = options.routes().find(serviceName, methodName);
  if (method === undefined) {
    throw new CollectorError(
      "METHOD_UNIMPLEMENTED",
      `this server has no method ${serviceName}/${methodName}`,
    );
  }
  const requestId = options.newRequestId();
  const deadlineMs = deadlineOf(options, method, tunnelled);
  const names = { serviceName, methodName };
  const call = new TunnelledCall({ call: tunnelled, via, ...names, requestId, deadlineMs });
  const { input, output, methodKind } = method.desc;
  const takesOne = methodKind === "unary" || methodKind === "server_streaming";
  const messages = decodeEach(input, tunnelled.messages);
  const request: Payload = takesOne ? await onlyOne(messages) : messages;
  const answer = await withinDeadline(method.invoke(request, call), deadlineMs);
  if (Symbol.asyncIterator in answer) {
    for await (const message of answer) {
      call.sendHeaders();
      yield encode(output, message, options.limits);
    }
  } else {
    call.sendHeaders();
    yield encode(output, answer, options.limits);
  }
  call.setTrailers();
}

/** As on the port: calls of one message and one answer have a limit, whatever the caller asks for. */
function deadlineOf(
  { limits, isUnlimited }: LinkCallHostOptions,
  { desc }: BoundMethod,
  { deadlineMs: asked }: TunnelCall,
): number | undefined {
  if (desc.methodKind !== "unary" || isUnlimited(desc)) return asked;
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

async function* decodeEach(
  desc: DescMessage,
  messages: AsyncIterable<Uint8Array>,
): AsyncGenerator<Message, undefined> {
  for await (const bytes of messages) {
    try {
      yield fromBinary(desc, bytes);
    } catch (cause) {
      const text = `the request is no valid ${desc.typeName}`;
      throw new CollectorError("ARGUMENT_INVALID", text, { cause });
    }
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

function encode(desc: DescMessage, message: Message, { messageBytesMax }: Limits): Uint8Array {
  const bytes = encodeMessage(desc, message, 0);
  if (bytes.byteLength > messageBytesMax) throw messageTooLarge(bytes.byteLength, messageBytesMax);
  return bytes;
}

function toEnd(error: unknown): TunnelEnd {
  const status = toConnectError(error);
  // The details among them; a tunnel leaves out what it carries by itself.
  const metadata = pairsOf(statusTrailers(status));
  return { code: status.code, message: status.rawMessage, metadata };
}
