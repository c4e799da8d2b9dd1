import type { Message } from "@bufbuild/protobuf";
import type { Payload, RawMessage } from "../call.ts";

/** A message of a type that is not looked at. */
const rawTypeName = "";

/** Wraps the bytes of a message. */
export function toRaw(bytes: Uint8Array): RawMessage {
  return { $typeName: rawTypeName, bytes };
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
