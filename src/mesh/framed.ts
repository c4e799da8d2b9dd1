import {
  type CallOptions,
  type Channel,
  type FramedMessage,
  type StreamAnswer,
} from "./channel.ts";

type Framed = AsyncIterable<FramedMessage> | Iterable<FramedMessage>;

const prefixBytes = 5;

/**
 * A call of messages that are passed on as they came, over any channel: over one that takes no frames, their
 * bytes are put together.
 */
export function streamFramed(
  channel: Channel,
  path: string,
  messages: Framed,
  options?: CallOptions,
): StreamAnswer<FramedMessage> {
  if (channel.streamFramed !== undefined) return channel.streamFramed(path, messages, options);
  const answer = channel.stream(path, convert(messages, bytesOf), options);
  return { ...answer, messages: convert(answer.messages, framed) };
}

/** A message that has no frame yet. */
export function framed(bytes: Uint8Array): FramedMessage {
  const { byteLength } = bytes;
  return {
    bytes,
    byteLength,
    get parts() {
      const prefix = Buffer.alloc(prefixBytes);
      prefix.writeUInt32BE(byteLength, 1);
      return [prefix, bytes];
    },
  };
}

function bytesOf({ bytes }: FramedMessage): Uint8Array {
  return bytes;
}

function convert<T, U>(
  items: AsyncIterable<T> | Iterable<T>,
  change: (item: T) => U,
): AsyncIterableIterator<U, undefined> {
  const source =
    Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  const converted: AsyncIterableIterator<U, undefined> = {
    [Symbol.asyncIterator]: () => converted,
    next: async () => {
      const result = await source.next();
      if (result.done === true) return { done: true, value: undefined };
      return { done: false, value: change(result.value) };
    },
    return: async () => {
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
  return converted;
}
