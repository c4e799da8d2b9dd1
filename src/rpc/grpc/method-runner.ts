import { type DescMessage, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { CollectorError } from "../../errors.ts";
import type { BoundMethod, Payload, RawInvocation } from "../call.ts";
import { pack, unpack } from "./compression.ts";
import { encodeFrame, type Frame, messageTooLarge } from "./frame.ts";
import type { GrpcCall } from "./grpc-call.ts";
import { type Inbound, SingleInbound, StreamInbound } from "./inbound.ts";

/** What a method needs to run for one call. */
export interface RunOptions {
  readonly call: GrpcCall;
  readonly messageBytesMax: number;
  /** Whether the request says that its messages may be packed. */
  readonly isPacked: boolean;
}

/** Prepares a method for a call: it runs when the first of what it takes is received. */
export function runMethod(method: BoundMethod, options: RunOptions): Inbound {
  const { call } = options;
  const { input, output, methodKind } = method.desc;
  const answer = async (request: Payload): Promise<void> => {
    try {
      const result = await method.invoke(request, call);
      if (Symbol.asyncIterator in result) {
        await sendAll(result, (message) => toBinary(output, message), options);
      } else {
        const frame = toFrame(toBinary(output, result), options);
        call.answer(frame instanceof Promise ? await frame : frame);
      }
    } catch (error) {
      call.fail(error);
    }
  };
  if (methodKind === "unary" || methodKind === "server_streaming") {
    return new SingleInbound(options.messageBytesMax, (frame) => {
      if (frame.compressed) void unpackAndRun(frame, input, options, answer);
      else void answer(decode(input, frame.payload));
    });
  }
  const requests = streamInbound(options, methodKind === "client_streaming", (bytes) =>
    decode(input, bytes),
  );
  void answer(requests);
  return requests;
}

/** Prepares a method that only passes bytes on. */
export function runRaw(invoke: RawInvocation, options: RunOptions): Inbound {
  const requests = streamInbound(options, false, (bytes) => bytes);
  const answer = async (): Promise<void> => {
    try {
      await sendAll(invoke(requests, options.call), (bytes) => bytes, options);
    } catch (error) {
      options.call.fail(error);
    }
  };
  void answer();
  return requests;
}

async function unpackAndRun(
  frame: Frame,
  input: DescMessage,
  options: RunOptions,
  run: (request: Message) => Promise<void>,
): Promise<void> {
  try {
    const bytes = await unpackFrame(frame, options);
    if (!options.call.isOver) await run(decode(input, bytes));
  } catch (error) {
    options.call.fail(error);
  }
}

function streamInbound<T>(
  options: RunOptions,
  isAnswerDue: boolean,
  decodeMessage: (bytes: Uint8Array) => T,
): StreamInbound<T> {
  const { call, messageBytesMax } = options;
  return new StreamInbound<T>({
    messageBytesMax,
    isAnswerDue,
    decode: (frame) =>
      frame.compressed
        ? unpackFrame(frame, options).then(decodeMessage)
        : decodeMessage(frame.payload),
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

function decode(desc: DescMessage, bytes: Uint8Array): Message {
  try {
    return fromBinary(desc, bytes);
  } catch (cause) {
    throw new CollectorError("ARGUMENT_INVALID", `the request is no valid ${desc.typeName}`, {
      cause,
    });
  }
}

/** Sends each message as it comes; the next one is asked for when the peer keeps up. */
async function sendAll<T>(
  messages: AsyncIterable<T>,
  encode: (message: T) => Uint8Array,
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
  call.onInterrupt(() => void close());
  try {
    while (!call.isOver) {
      const result = await iterator.next();
      if (result.done === true) {
        call.end();
        return;
      }
      if (call.isOver) break;
      const frame = toFrame(encode(result.value), options);
      await call.write(frame instanceof Promise ? await frame : frame);
    }
  } catch (error) {
    call.fail(error);
  }
  await close();
}

function toFrame(bytes: Uint8Array, options: RunOptions): Uint8Array | Promise<Uint8Array> {
  if (bytes.byteLength > options.messageBytesMax) {
    throw messageTooLarge(bytes.byteLength, options.messageBytesMax);
  }
  return options.call.answerEncoding === "gzip" ? packedFrame(bytes) : encodeFrame(bytes);
}

async function packedFrame(bytes: Uint8Array): Promise<Uint8Array> {
  const packed = await pack(bytes);
  return packed === undefined ? encodeFrame(bytes) : encodeFrame(packed, true);
}
