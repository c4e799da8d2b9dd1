import { CollectorError } from "../../errors.ts";
import { GarbageCount } from "../../lib/garbage-count.ts";
import type { FrameBuffers } from "./frame-buffers.ts";

/** A length-prefixed message: a flag, four bytes of length, the bytes. */
export interface Frame {
  readonly compressed: boolean;
  /** Put together when it is asked for. */
  readonly payload: Uint8Array;
  /** The same without a copy, if it came in one chunk: it may pin a larger buffer. */
  readonly view: Uint8Array;
  /** Bytes of the payload. */
  readonly byteLength: number;
  /** All of the frame, its prefix too, as views of what it came in. */
  readonly parts: readonly Uint8Array[];
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

/** Chunks smaller than this are copied to blocks, so that many of them are not many objects. */
const smallChunkBytes = 1024;
const blockBytes = 4096;

/** From this size on a frame is put together in memory of its own, */
const largeBytesMin = 256 * 1024;
/** once so much of it is there, and a quarter of it unless the memory is there already. */
const largeStartBytes = 32 * 1024;

/** The chunks that are read, as the engine makes them. */
const received = new GarbageCount();

/** One frame in one buffer: the payload is copied behind its prefix. */
export function encodeFrame(payload: Uint8Array, compressed = false): Uint8Array {
  const frame = Buffer.allocUnsafe(framePrefixBytes + payload.byteLength);
  frame[0] = compressed ? 1 : 0;
  frame.writeUInt32BE(payload.byteLength, 1);
  frame.set(payload, framePrefixBytes);
  return frame;
}

/** What comes before a message of so many bytes. */
export function encodePrefix(messageBytes: number, compressed = false): Buffer {
  const prefix = Buffer.allocUnsafe(framePrefixBytes);
  prefix[0] = compressed ? 1 : 0;
  prefix.writeUInt32BE(messageBytes, 1);
  return prefix;
}

/** Makes a frame of an uncompressed message that stands behind room for its prefix. */
export function writePrefix(bytes: Buffer): Buffer {
  bytes[0] = 0;
  bytes.writeUInt32BE(bytes.byteLength - framePrefixBytes, 1);
  return bytes;
}

const noChunks: Uint8Array[] = [];

/** A frame in the pieces that it came in. */
class ReceivedFrame implements Frame {
  readonly compressed: boolean;
  readonly byteLength: number;
  readonly parts: readonly Uint8Array[];
  #payload: Uint8Array | undefined;

  constructor(compressed: boolean, byteLength: number, parts: readonly Uint8Array[]) {
    this.compressed = compressed;
    this.byteLength = byteLength;
    this.parts = parts;
  }

  get payload(): Uint8Array {
    this.#payload ??= payloadOf(this.parts, this.byteLength);
    return this.#payload;
  }

  get view(): Uint8Array {
    const [first] = this.parts;
    if (first === undefined || this.parts.length > 1) return this.payload;
    return new Uint8Array(first.buffer, first.byteOffset + framePrefixBytes, this.byteLength);
  }
}

/**
 * The frame that a chunk is, if it is one whole frame and nothing else, as small requests come.
 *
 * @returns undefined for all else, which is for a {@link FrameReader}
 */
export function onlyFrame(chunk: Uint8Array, messageBytesMax: number): Frame | undefined {
  const payloadBytes = chunk.byteLength - framePrefixBytes;
  if (payloadBytes < 0 || payloadBytes >= smallChunkBytes || payloadBytes > messageBytesMax) {
    return undefined;
  }
  const flag = chunk[0] ?? 2;
  const declared = (chunk[3] ?? 0) * 256 + (chunk[4] ?? 0);
  if (flag > 1 || chunk[1] !== 0 || chunk[2] !== 0 || declared !== payloadBytes) return undefined;
  return new ReceivedFrame(flag === 1, payloadBytes, [chunk]);
}

/**
 * Cuts a stream of bytes into frames, for the server's side and the client's alike.
 *
 * A payload that came in one chunk costs no copy unless it is small beside the buffer that its chunk is
 * a view of: then it is copied, so that 300 kept bytes do not pin 64 KiB. A larger payload is still a
 * view: who keeps a part of it keeps all of it, and should `slice()`.
 *
 * Memory follows what has arrived, never what a prefix declares, and a declared length over the
 * limit is refused before any of its bytes are kept.
 */
export class FrameReader {
  readonly #bytesMax: number;
  readonly #buffers: FrameBuffers | undefined;
  readonly #keepsParts: boolean;
  /** Comes before what is in `#chunks`. */
  #large: LargeFrame | undefined;
  /** Shared by all readers while it is empty. */
  #chunks: Uint8Array[] = noChunks;
  /** Where the first chunk has been read to. */
  #at = 0;
  #bytes = 0;
  /** What the last chunk is a view of, if it was made here: behind that there may be room. */
  #block: Uint8Array | undefined;

  /**
   * @param buffers memory for large frames that comes back; without it each has new memory
   * @param keepsParts for whoever wants the parts of frames: none is put together before it is asked for
   */
  constructor(messageBytesMax: number, buffers?: FrameBuffers, keepsParts = false) {
    this.#bytesMax = messageBytesMax;
    this.#buffers = buffers;
    this.#keepsParts = keepsParts;
  }

  /** Bytes received and not yet taken as frames. */
  get bufferedBytes(): number {
    const large = this.#large === undefined ? 0 : framePrefixBytes + this.#large.filledBytes;
    return large + this.#bytes;
  }

  push(chunk: Uint8Array): void {
    if (chunk.byteLength >= smallChunkBytes) received.note(chunk.byteLength);
    const rest = this.#large === undefined ? chunk : fill(this.#large, chunk);
    if (rest.byteLength === 0) return;
    this.#bytes += rest.byteLength;
    this.#append(rest);
    if (this.#large === undefined && !this.#keepsParts) this.#beginLarge();
  }

  /** Whether {@link next} has a frame. @throws {CollectorError} as `next` does */
  hasFrame(): boolean {
    if (this.#large !== undefined) return isWhole(this.#large);
    const length = this.#frameLength();
    return length !== undefined && this.#bytes >= length;
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
    if (length === undefined || this.#bytes < length) return undefined;
    const compressed = this.#byteAt(0) === 1;
    return new ReceivedFrame(compressed, length - framePrefixBytes, this.#cut(length));
  }

  /** Drops everything. */
  clear(): void {
    this.#large = undefined;
    this.#dropChunks();
  }

  #dropChunks(): void {
    this.#chunks = noChunks;
    this.#block = undefined;
    this.#at = 0;
    this.#bytes = 0;
  }

  #append(chunk: Uint8Array): void {
    if (this.#chunks.length === 0) {
      this.#chunks = [chunk];
      return;
    }
    const last = this.#chunks.at(-1);
    if (last === undefined || chunk.byteLength >= smallChunkBytes) {
      this.#chunks.push(chunk);
      this.#block = undefined;
      return;
    }
    const block = this.#block;
    const end = last.byteOffset + last.byteLength;
    if (block !== undefined && end + chunk.byteLength <= block.byteLength) {
      block.set(chunk, end);
      const grown = block.subarray(last.byteOffset, end + chunk.byteLength);
      this.#chunks[this.#chunks.length - 1] = grown;
      return;
    }
    const made = new Uint8Array(blockBytes);
    made.set(chunk);
    this.#block = made;
    this.#chunks.push(made.subarray(0, chunk.byteLength));
  }

  /** Takes so many bytes, which are there. */
  #cut(length: number): Uint8Array[] {
    if (length === this.#bytes && this.#at === 0) {
      const all = this.#chunks;
      this.#dropChunks();
      return all;
    }
    const parts: Uint8Array[] = [];
    this.#bytes -= length;
    for (let left = length; left > 0; ) {
      const first = this.#chunks[0];
      if (first === undefined) throw new Error("bytes that were counted are not there");
      const taken = Math.min(left, first.byteLength - this.#at);
      const isAll = taken === first.byteLength;
      parts.push(isAll ? first : first.subarray(this.#at, this.#at + taken));
      left -= taken;
      this.#at += taken;
      if (this.#at < first.byteLength) break;
      this.#chunks.shift();
      this.#at = 0;
    }
    if (this.#bytes === 0) this.#dropChunks();
    return parts;
  }

  #takeLarge(large: LargeFrame): Frame | undefined {
    if (!isWhole(large)) return undefined;
    this.#large = undefined;
    const { compressed, buffer, payloadBytes } = large;
    const payload = new Uint8Array(buffer.buffer, buffer.byteOffset, payloadBytes);
    this.#beginLarge();
    const buffers = this.#buffers;
    const prefix = encodePrefix(payloadBytes, compressed);
    return {
      compressed,
      payload,
      view: payload,
      byteLength: payloadBytes,
      parts: [prefix, payload],
      giveBack: buffers === undefined ? undefined : () => buffers.giveBack(buffer),
    };
  }

  /** Moves a frame that is large and not whole to memory of its own. */
  #beginLarge(): void {
    const kept = this.#bytes;
    if (kept < largeStartBytes) return;
    const payloadBytes = this.#payloadBytes();
    if (payloadBytes < largeBytesMin || kept >= framePrefixBytes + payloadBytes) return;
    if (kept * 4 < payloadBytes && this.#buffers?.has(payloadBytes) !== true) return;
    const flag = this.#byteAt(0);
    // What is not allowed is refused when it is asked for.
    if (payloadBytes > this.#bytesMax || flag > 1) return;
    const compressed = flag === 1;
    const own = this.#buffers?.take(payloadBytes) ?? Buffer.allocUnsafeSlow(payloadBytes);
    const large: LargeFrame = { compressed, buffer: own, payloadBytes, filledBytes: 0 };
    this.#cut(framePrefixBytes);
    for (const part of this.#cut(this.#bytes)) fill(large, part);
    this.#large = large;
  }

  /** Prefix and payload of the frame at the start; undefined until the prefix is there. */
  #frameLength(): number | undefined {
    if (this.#bytes < framePrefixBytes) return undefined;
    const flag = this.#byteAt(0);
    if (flag > 1) {
      throw new CollectorError(
        "ARGUMENT_INVALID",
        `malformed gRPC frame: flag ${flag}, where only 0 and 1 are defined`,
      );
    }
    const payloadBytes = this.#payloadBytes();
    if (payloadBytes > this.#bytesMax) throw messageTooLarge(payloadBytes, this.#bytesMax);
    return framePrefixBytes + payloadBytes;
  }

  /** What the prefix at the start declares. */
  #payloadBytes(): number {
    const high = (this.#byteAt(1) << 8) | this.#byteAt(2);
    const low = (this.#byteAt(3) << 8) | this.#byteAt(4);
    return high * 0x1_0000 + low;
  }

  /** The byte so far behind the start; it is there. */
  #byteAt(index: number): number {
    let at = this.#at + index;
    for (const chunk of this.#chunks) {
      if (at < chunk.byteLength) return chunk[at] ?? 0;
      at -= chunk.byteLength;
    }
    return 0;
  }
}

function payloadOf(parts: readonly Uint8Array[], byteLength: number): Uint8Array {
  const [first] = parts;
  if (parts.length === 1 && first !== undefined) {
    const start = first.byteOffset + framePrefixBytes;
    const isSmallPart = byteLength * 2 < first.buffer.byteLength;
    return isSmallPart
      ? new Uint8Array(first.buffer.slice(start, start + byteLength))
      : new Uint8Array(first.buffer, start, byteLength);
  }
  const payload = new Uint8Array(Buffer.allocUnsafeSlow(byteLength).buffer);
  let at = -framePrefixBytes;
  for (const part of parts) {
    const skipped = Math.min(part.byteLength, Math.max(0, -at));
    if (skipped < part.byteLength) payload.set(part.subarray(skipped), at + skipped);
    at += part.byteLength;
  }
  return payload;
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
