import type { DescMessage, DescMethod, Message } from "@bufbuild/protobuf";
import { CollectorError } from "../../errors.ts";
import { DispatchRequestSchema, ServeRequestSchema } from "../../gen/collector/dispatcher_pb.ts";
import {
  type BoundMethod,
  type Invocation,
  invoke,
  type Payload,
  type RawMethod,
} from "../call.ts";
import { decodeMessage, decodeOwned } from "../encoding/message-decoder.ts";
import { encodeMessage } from "../encoding/message-encoder.ts";
import { readyOf } from "../encoding/ready-messages.ts";
import { lendBytes } from "../lent-bytes.ts";
import { bytesOf, FramedRaw, toRaw } from "../runtime/raw-message.ts";
import { pack, unpack } from "./compression.ts";
import {
  encodeFrame,
  type Frame,
  framePrefixBytes,
  messageTooLarge,
  writePrefix,
} from "./frame.ts";
import type { GrpcCall } from "./grpc-call.ts";
import { type Inbound, SingleInbound, StreamInbound } from "./inbound.ts";

/** What a method needs to run for one call. */
export interface RunOptions {
  readonly call: GrpcCall;
  readonly messageBytesMax: number;
  /** Whether the request says that its messages may be packed. */
  readonly isPacked: boolean;
}

/**
 * What messages of streams were encoded to: one that goes to many callers is encoded once. A message
 * must not change any more once it was handed out.
 */
const streamed = new WeakMap<Message, Buffer>();

/** A method, and how its messages are read and written. */
interface Runnable {
  readonly kind: DescMethod["methodKind"];
  readonly invoke: Invocation;
  readonly decode: (bytes: Uint8Array) => Message;
  /** The same for a method that takes one message, from a frame that is not compressed. */
  readonly read: (frame: Frame) => Message;
  /** Messages of a stream that need no bytes of their own: for them, instead of `decode`. */
  readonly wrap?: (frame: Frame) => Message;
  /** The message behind room for the prefix of a frame. */
  readonly encode: (message: Message) => Buffer;
  /** The same for a message of a stream. */
  readonly encodeItem: (message: Message) => Buffer;
}

/** How the methods that were called are run, made once for each. */
const runnables = new WeakMap<BoundMethod | RawMethod, Runnable>();

/** Prepares a method for a call: it runs when the first of what it takes is received. */
export function runMethod(method: BoundMethod, options: RunOptions): Inbound {
  let runnable = runnables.get(method);
  if (runnable === undefined) {
    runnable = toRunnable(method);
    runnables.set(method, runnable);
  }
  return run(runnable, options);
}

function toRunnable({ desc, invoke }: BoundMethod): Runnable {
  const { input, output, methodKind: kind } = desc;
  const encode = (message: Message): Buffer => encodeMessage(output, message, framePrefixBytes);
  const encodeItem = (message: Message): Buffer => {
    const known = streamed.get(message);
    if (known !== undefined) return known;
    const bytes = encode(message);
    streamed.set(message, bytes);
    return bytes;
  };
  // What is passed on is not kept.
  const keeps = !passedOn.has(input.typeName);
  return {
    kind,
    invoke,
    decode: (bytes) => decode(decodeMessage, input, bytes),
    read: ({ view }) => decode(keeps ? decodeOwned : decodeMessage, input, view),
    encode,
    encodeItem,
  };
}

/** Requests whose bytes are another method's. */
const passedOn: ReadonlySet<string> = new Set([
  DispatchRequestSchema.typeName,
  ServeRequestSchema.typeName,
]);

/** The same for a method that only passes bytes on. */
export function runRaw(method: RawMethod, options: RunOptions): Inbound {
  let runnable = runnables.get(method);
  if (runnable === undefined) {
    const { kind, invoke } = method;
    runnable = {
      kind,
      invoke,
      decode: toRaw,
      read: ({ view }) => toRaw(view),
      wrap: (frame) => new FramedRaw(frame),
      encode: behindPrefix,
      encodeItem: behindPrefix,
    };
    runnables.set(method, runnable);
  }
  return run(runnable, options);
}

function run(method: Runnable, options: RunOptions): Inbound {
  const { kind } = method;
  if (kind === "unary" || kind === "server_streaming") {
    return new SingleInbound(options.messageBytesMax, (frame) => {
      if (frame.compressed) void unpackAndRun(frame, method, options);
      else answer(method.read(frame), method, options);
    });
  }
  const requests = streamInbound(options, kind === "client_streaming", method);
  answer(requests, method, options);
  return requests;
}

/** Runs the method and sends what it answers. */
function answer(request: Payload, method: Runnable, options: RunOptions): void {
  const { call } = options;
  const fail = (error: unknown): void => call.fail(error);
  invoke(method.invoke, request, call).then((result) => {
    if (Symbol.asyncIterator in result) sendAll(result, method.encodeItem, options).catch(fail);
    else sendOne(result, method, options);
  }, fail);
}

function sendOne(result: Message, { encode }: Runnable, options: RunOptions): void {
  const { call } = options;
  try {
    const frame = toFrame(encode(result), options);
    if (!(frame instanceof Promise)) call.answer(frame);
    else {
      frame.then(
        (packed) => call.answer(packed),
        (error: unknown) => call.fail(error),
      );
    }
  } catch (error) {
    call.fail(error);
  }
}

async function unpackAndRun(frame: Frame, method: Runnable, options: RunOptions): Promise<void> {
  try {
    const bytes = await unpackFrame(frame, options);
    if (!options.call.isOver) answer(method.decode(bytes), method, options);
  } catch (error) {
    options.call.fail(error);
  }
}

function streamInbound(
  options: RunOptions,
  isAnswerDue: boolean,
  method: Pick<Runnable, "decode" | "wrap">,
): StreamInbound<Message> {
  const { call, messageBytesMax } = options;
  return new StreamInbound<Message>({
    messageBytesMax,
    isAnswerDue,
    keepsParts: method.wrap !== undefined,
    decode: (frame) => {
      if (frame.compressed) return unpackFrame(frame, options).then(method.decode);
      if (method.wrap !== undefined) return method.wrap(frame);
      const message = method.decode(frame.payload);
      if (frame.giveBack !== undefined) lendBytes(message, frame.giveBack);
      return message;
    },
    pause: () => call.pauseInput(),
    resume: () => call.resumeInput(),
    onWait: () => call.noteWait(),
  });
}

async function unpackFrame(frame: Frame, options: RunOptions): Promise<Uint8Array> {
  if (options.isPacked) return unpack(frame.payload, options.messageBytesMax);
  throw new CollectorError(
    "ARGUMENT_INVALID",
    "a message is marked as compressed, and the call has no grpc-encoding",
  );
}

function decode(
  how: (desc: DescMessage, bytes: Uint8Array) => Message,
  desc: DescMessage,
  bytes: Uint8Array,
): Message {
  try {
    return how(desc, bytes);
  } catch (cause) {
    throw new CollectorError("ARGUMENT_INVALID", `the request is no valid ${desc.typeName}`, {
      cause,
    });
  }
}

/** Sends each message as it comes; the next one is asked for when the peer keeps up. */
async function sendAll(
  messages: AsyncIterable<Message>,
  encode: (message: Message) => Buffer,
  options: RunOptions,
): Promise<void> {
  const { call } = options;
  const iterator = messages[Symbol.asyncIterator]();
  const close = async (): Promise<void> => {
    try {
      await iterator.return?.();
    } catch (error) {
      call.logLateFailure(error);
    }
  };
  call.onCancel(() => void close());
  try {
    while (!call.isOver) {
      const result = await iterator.next();
      if (result.done === true) {
        call.end();
        return;
      }
      if (call.isOver) break;
      if (result.value instanceof FramedRaw && call.answerEncoding === "identity") {
        await call.writeAll(result.value.parts);
        continue;
      }
      const ready = readyOf(result.value);
      const frame = toFrame(ready?.bytes ?? encode(result.value), options);
      if (frame instanceof Promise) await call.write(await frame);
      else await call.write(frame, ready?.giveBack);
    }
  } catch (error) {
    call.fail(error);
  }
  await close();
}

/** @param bytes a message behind the room for its prefix */
function toFrame(bytes: Buffer, options: RunOptions): Uint8Array | Promise<Uint8Array> {
  const length = bytes.byteLength - framePrefixBytes;
  if (length > options.messageBytesMax) throw messageTooLarge(length, options.messageBytesMax);
  if (options.call.answerEncoding === "gzip") return packedFrame(bytes);
  return writePrefix(bytes);
}

async function packedFrame(bytes: Buffer): Promise<Uint8Array> {
  const packed = await pack(bytes.subarray(framePrefixBytes));
  return packed === undefined ? writePrefix(bytes) : encodeFrame(packed, true);
}

function behindPrefix(message: Message): Buffer {
  const content = bytesOf(message);
  const bytes = Buffer.allocUnsafe(framePrefixBytes + content.byteLength);
  bytes.set(content, framePrefixBytes);
  return bytes;
}
