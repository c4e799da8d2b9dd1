import type { Message } from "@bufbuild/protobuf";
import type { FramedMessage } from "../../mesh/channel.ts";
import { framed } from "../../mesh/framed.ts";
import type { Payload, RawMessage } from "../call.ts";
import type { Frame } from "../grpc/frame.ts";

/** A message of a type that is not looked at. */
const rawTypeName = "";

/** Wraps the bytes of a message. */
export function toRaw(bytes: Uint8Array): RawMessage {
  return { $typeName: rawTypeName, bytes };
}

/** A message of a stream that is passed on in the pieces that it came in. */
export class FramedRaw implements RawMessage, FramedMessage {
  readonly $typeName: string = rawTypeName;
  readonly #frame: Frame;

  /** @param frame not compressed */
  constructor(frame: Frame) {
    this.#frame = frame;
  }

  get byteLength(): number {
    return this.#frame.byteLength;
  }

  get bytes(): Uint8Array {
    return this.#frame.payload;
  }

  get parts(): readonly Uint8Array[] {
    return this.#frame.parts;
  }
}

/** A message that is passed on, as a channel takes it. */
export function toFramed(message: Message): FramedMessage {
  return message instanceof FramedRaw ? message : framed(bytesOf(message));
}

/** A message that a channel has passed on, as a transport takes it. */
export function fromFramed(message: FramedMessage): RawMessage {
  return message instanceof FramedRaw ? message : toRaw(message.bytes);
}

/** The bytes of a message that {@link toRaw} has made. */
export function bytesOf(message: Message): Uint8Array {
  return (message as RawMessage).bytes;
}

/** Whether a payload is a stream. */
export function isStream(payload: Payload): payload is AsyncIterable<Message> {
  return Symbol.asyncIterator in payload;
}

/** A stream whose items are others: no generator, as those cost several turns a message. */
export function mapEach<T, U>(
  items: AsyncIterable<T>,
  convert: (item: T) => U,
): AsyncIterableIterator<U, undefined> {
  const iterator = items[Symbol.asyncIterator]();
  const mapped: AsyncIterableIterator<U, undefined> = {
    [Symbol.asyncIterator]: () => mapped,
    next: async () => {
      const result = await iterator.next();
      if (result.done === true) return { done: true, value: undefined };
      return { done: false, value: convert(result.value) };
    },
    return: async () => {
      await iterator.return?.();
      return { done: true, value: undefined };
    },
  };
  return mapped;
}
