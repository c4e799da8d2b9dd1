import type { FramedMessage } from "../../mesh/channel.ts";
import { framed } from "../../mesh/framed.ts";
import { encodeFrame, encodePrefix, type Frame } from "../grpc/frame.ts";
import type { ClientStream } from "../http2/client-stream.ts";
import { giveBytesBack, lendBytes } from "../lent-bytes.ts";
import { FramedRaw } from "../runtime/raw-message.ts";

/** What the messages of a stream are at this side of it. */
export interface MessageForm<T> {
  /** Whether frames are wanted in the pieces that they came in. */
  readonly keepsParts: boolean;
  byteLength(message: T): number;
  /** Writes its frame. */
  write(message: T, stream: ClientStream): void;
  /** @param frame not compressed */
  ofFrame(frame: Frame): T;
  ofBytes(bytes: Uint8Array): T;
}

/** From this size on a message is written as it is, behind its prefix, instead of being copied into a frame. */
const uncopiedBytesMin = 32 * 1024;

/** Messages as their bytes. Memory that was lent for one goes back when its bytes have left. */
export const plainForm: MessageForm<Uint8Array> = {
  keepsParts: false,
  byteLength: ({ byteLength }) => byteLength,
  write(message, stream) {
    if (message.byteLength < uncopiedBytesMin) {
      stream.write(encodeFrame(message));
      giveBytesBack(message);
      return;
    }
    stream.write(encodePrefix(message.byteLength));
    stream.write(message, () => giveBytesBack(message));
  },
  ofFrame({ payload, giveBack }) {
    if (giveBack !== undefined) lendBytes(payload, giveBack);
    return payload;
  },
  ofBytes: (bytes) => bytes,
};

/** Messages that are passed on. */
export const framedForm: MessageForm<FramedMessage> = {
  keepsParts: true,
  byteLength: ({ byteLength }) => byteLength,
  write({ parts }, stream) {
    for (const part of parts) stream.write(part);
  },
  ofFrame: (frame) => new FramedRaw(frame),
  ofBytes: framed,
};
