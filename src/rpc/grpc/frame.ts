import { CollectorError } from "../../errors.ts";
import type { FrameBuffers } from "./frame-buffers.ts";
import { noteReceived } from "./receive-garbage.ts";

/** A length-prefixed message: a flag, four bytes of length, the bytes. */
export interface Frame {
  readonly compressed: boolean;
  readonly payload: Uint8Array;
  /** Lets the memory of the payload be used again, if it can be. */
  readonly giveBack?: (() => void) | undefined;
}

/** A frame that is put together in memory of its own. */
interface LargeFrame {
  readonly compressed: boolean;
  readonly buffer: Buffer;
  readonly payloadBytes: number;
  filledBytes: number;
}

/** Bytes of a frame before its payload. */
export const framePrefixBytes = 5;

/** What a growing frame is first given; declared lengths are not trusted before the bytes come. */
const growthBytesMin = 16 * 1024;

/** From this size on a frame is put together in memory of its own, */
const largeBytesMin = 256 * 1024;
/** once so much of it is there, and a quarter of it unless the memory is there already. */
const largeStartBytes = 32 * 1024;

/** One frame in one buffer: the payload is copied behind its prefix. */
export function encodeFrame(payload: Uint8Array, compressed = false): Uint8Array {
  const frame = Buffer.allocUnsafe(framePrefixBytes + payload.byteLength);
  frame[0] = compressed ? 1 : 0;
  frame.writeUInt32BE(payload.byteLength, 1);
  frame.set(payload, framePrefixBytes);
  return frame;
}

/** What comes before an uncompressed message of so many bytes. */
export function encodePrefix(messageBytes: number): Buffer {
  const prefix = Buffer.allocUnsafe(framePrefixBytes);
  prefix[0] = 0;
  prefix.writeUInt32BE(messageBytes, 1);
  return prefix;
}

/** Makes a frame of an uncompressed message that stands behind room for its prefix. */
export function writePrefix(bytes: Buffer): Buffer {
  bytes[0] = 0;
  bytes.writeUInt32BE(bytes.byteLength - framePrefixBytes, 1);
  return bytes;
}

/**
 * Cuts a stream of bytes into frames, for the server's side and the client's alike.
 *
 * A frame in one chunk costs no copy unless it is small beside the buffer that its chunk is a view
 * of: then it is copied, so that 300 kept bytes do not pin 64 KiB. A larger payload is still a
 * view: who keeps a part of it keeps all of it, and should `slice()`.
 *
 * Memory follows what has arrived, never what a prefix declares, and a declared length over the
 * limit is refused before any of its bytes are kept.
 */
export class FrameReader {
  readonly #bytesMax: number;
  readonly #buffers: FrameBuffers | undefined;
  /** Comes before what is in `#buffer`. */
  #large: LargeFrame | undefined;
  #buffer: Uint8Array | undefined;
  /** Whether `#buffer` was made here, so that what lies behind `#end` may be written. */
  #isOwned = false;
  #start = 0;
  #end = 0;

  /** @param buffers memory for large frames that comes back; without it each has new memory */
  constructor(messageBytesMax: number, buffers?: FrameBuffers) {
    this.#bytesMax = messageBytesMax;
    this.#buffers = buffers;
  }

  /** Bytes received and not yet taken as frames. */
  get bufferedBytes(): number {
    const large = this.#large === undefined ? 0 : framePrefixBytes + this.#large.filledBytes;
    return large + this.#end - this.#start;
  }

  push(chunk: Uint8Array): void {
    const rest = this.#large === undefined ? chunk : fill(this.#large, chunk);
    if (rest.byteLength === 0) return;
    this.#append(rest);
    if (this.#large === undefined) this.#beginLarge();
  }

  #append(chunk: Uint8Array): void {
    if (this.#buffer === undefined) {
      this.#buffer = chunk;
      this.#isOwned = false;
      this.#start = 0;
      this.#end = chunk.byteLength;
      return;
    }
    this.#reserve(chunk.byteLength);
    this.#buffer.set(chunk, this.#end);
    this.#end += chunk.byteLength;
  }

  /** Whether {@link next} has a frame. @throws {CollectorError} as `next` does */
  hasFrame(): boolean {
    if (this.#large !== undefined) return isWhole(this.#large);
    const length = this.#frameLength();
    return length !== undefined && this.bufferedBytes >= length;
  }

  /**
   * The next frame, once all of it has arrived.
   *
   * @throws {CollectorError} MESSAGE_TOO_LARGE as soon as the prefix tells; ARGUMENT_INVALID for a
   * flag that is neither 0 nor 1
   */
  next(): Frame | undefined {
    if (this.#large !== undefined) return this.#takeLarge(this.#large);
    const length = this.#frameLength();
    const buffer = this.#buffer;
    if (buffer === undefined || length === undefined || this.bufferedBytes < length) {
      return undefined;
    }
    const compressed = buffer[this.#start] === 1;
    const from = this.#start + framePrefixBytes;
    const to = this.#start + length;
    const isSmallPart = (to - from) * 2 < buffer.buffer.byteLength;
    const payload = isSmallPart
      ? Uint8Array.prototype.slice.call(buffer, from, to)
      : new Uint8Array(buffer.buffer, buffer.byteOffset + from, to - from);
    this.#start = to;
    if (this.#start === this.#end) this.#buffer = undefined;
    return { compressed, payload };
  }

  /** Drops everything. */
  clear(): void {
    this.#large = undefined;
    this.#buffer = undefined;
    this.#start = 0;
    this.#end = 0;
  }

  #takeLarge(large: LargeFrame): Frame | undefined {
    if (!isWhole(large)) return undefined;
    this.#large = undefined;
    const { compressed, buffer, payloadBytes } = large;
    const payload = new Uint8Array(buffer.buffer, buffer.byteOffset, payloadBytes);
    noteReceived(payloadBytes);
    this.#beginLarge();
    const buffers = this.#buffers;
    if (buffers === undefined) return { compressed, payload };
    return { compressed, payload, giveBack: () => buffers.giveBack(buffer) };
  }

  /** Moves a frame that is large and not whole to memory of its own. */
  #beginLarge(): void {
    const buffer = this.#buffer;
    const kept = this.#end - this.#start;
    if (buffer === undefined || kept < largeStartBytes) return;
    const payloadBytes = this.#payloadBytes(buffer);
    if (payloadBytes < largeBytesMin || kept >= framePrefixBytes + payloadBytes) return;
    if (kept * 4 < payloadBytes && this.#buffers?.has(payloadBytes) !== true) return;
    const flag = buffer[this.#start] ?? 0;
    // What is not allowed is refused when it is asked for.
    if (payloadBytes > this.#bytesMax || flag > 1) return;
    const compressed = flag === 1;
    const own = this.#buffers?.take(payloadBytes) ?? Buffer.allocUnsafeSlow(payloadBytes);
    const large: LargeFrame = { compressed, buffer: own, payloadBytes, filledBytes: 0 };
    fill(large, buffer.subarray(this.#start + framePrefixBytes, this.#end));
    this.#large = large;
    this.#buffer = undefined;
    this.#start = 0;
    this.#end = 0;
  }

  /** Prefix and payload of the frame at the start; undefined until the prefix is there. */
  #frameLength(): number | undefined {
    const buffer = this.#buffer;
    const at = this.#start;
    if (buffer === undefined || this.#end - at < framePrefixBytes) return undefined;
    const flag = buffer[at] ?? 0;
    if (flag > 1) {
      throw new CollectorError(
        "ARGUMENT_INVALID",
        `malformed gRPC frame: flag ${flag}, where only 0 and 1 are defined`,
      );
    }
    const payloadBytes = this.#payloadBytes(buffer);
    if (payloadBytes > this.#bytesMax) throw messageTooLarge(payloadBytes, this.#bytesMax);
    return framePrefixBytes + payloadBytes;
  }

  /** What the prefix at the start declares. */
  #payloadBytes(buffer: Uint8Array): number {
    const at = this.#start;
    const high = ((buffer[at + 1] ?? 0) << 8) | (buffer[at + 2] ?? 0);
    const low = ((buffer[at + 3] ?? 0) << 8) | (buffer[at + 4] ?? 0);
    return high * 0x1_0000 + low;
  }

  /**
   * Makes room behind the kept bytes. Always in a new buffer: the old one may be the engine's, or
   * hold payloads that were handed out.
   */
  #reserve(bytes: number): void {
    const buffer = this.#buffer;
    if (buffer === undefined) return;
    if (this.#isOwned && this.#end + bytes <= buffer.byteLength) return;
    const kept = this.#end - this.#start;
    const frame = this.#frameLength() ?? 0;
    const doubled = Math.max(growthBytesMin, kept * 2);
    const wanted = frame > kept ? Math.min(doubled, frame) : doubled;
    const grown = new Uint8Array(Math.max(kept + bytes, wanted));
    grown.set(buffer.subarray(this.#start, this.#end));
    this.#buffer = grown;
    this.#isOwned = true;
    this.#start = 0;
    this.#end = kept;
  }
}

function isWhole({ filledBytes, payloadBytes }: LargeFrame): boolean {
  return filledBytes === payloadBytes;
}

/** @returns what does not belong to the frame any more */
function fill(large: LargeFrame, bytes: Uint8Array): Uint8Array {
  const taken = Math.min(bytes.byteLength, large.payloadBytes - large.filledBytes);
  large.buffer.set(
    taken === bytes.byteLength ? bytes : bytes.subarray(0, taken),
    large.filledBytes,
  );
  large.filledBytes += taken;
  return bytes.subarray(taken);
}

/** The refusal of a message over the limit; `bytes` where its size is known. */
export function messageTooLarge(bytes: number | undefined, bytesMax: number): CollectorError {
  const size = bytes === undefined ? "more" : `${bytes} bytes`;
  return new CollectorError(
    "MESSAGE_TOO_LARGE",
    `the message has ${size}, the limit is ${bytesMax} bytes (messageBytesMax)`,
    { subject: { limit: "messageBytesMax", limitBytes: String(bytesMax) } },
  );
}
