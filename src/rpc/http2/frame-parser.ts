import {
  errorCode,
  frameFlag,
  frameHeadBytes,
  frameType,
  ProtocolError,
  payloadBytesMax,
} from "./frames.ts";

/** Where frames go. What throws there ends the connection. */
export interface FrameSink {
  /** A whole frame. The payload is valid until this returns. */
  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void;
  /** A part of a stream's data, as a view of what was received. */
  onData(streamId: number, chunk: Buffer, isLast: boolean): void;
}

const nothing = Buffer.alloc(0);

/**
 * Cuts what comes in into frames. Data is handed on as it comes, without a copy; other frames are
 * handed on when they are whole.
 */
export class FrameParser {
  readonly #sink: FrameSink;
  #rest: Buffer = nothing;
  #dataLeft = 0;
  #dataStream = 0;
  #dataEnds = false;
  #isStopped = false;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Nothing is handed on any more. */
  stop(): void {
    this.#isStopped = true;
    this.#rest = nothing;
  }

  /** @throws {ProtocolError} for a frame that is too large, and what the sink throws */
  push(chunk: Buffer): void {
    const bytes = this.#rest.byteLength === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (!this.#isStopped) {
      const taken = this.#dataLeft > 0 ? this.#takeData(bytes, at) : this.#takeFrame(bytes, at);
      if (taken === 0) break;
      at += taken;
    }
    // A copy: a few bytes must not pin all that came with them.
    const isAll = at === bytes.byteLength || this.#isStopped;
    this.#rest = isAll ? nothing : Buffer.from(bytes.subarray(at));
  }

  #takeData(bytes: Buffer, at: number): number {
    const length = Math.min(this.#dataLeft, bytes.byteLength - at);
    if (length === 0) return 0;
    this.#dataLeft -= length;
    const isLast = this.#dataLeft === 0 && this.#dataEnds;
    this.#sink.onData(this.#dataStream, bytes.subarray(at, at + length), isLast);
    return length;
  }

  #takeFrame(bytes: Buffer, at: number): number {
    if (bytes.byteLength - at < frameHeadBytes) return 0;
    const length = bytes.readUIntBE(at, 3);
    if (length > payloadBytesMax) {
      throw new ProtocolError(`a frame of ${length} bytes`, errorCode.frameSize);
    }
    const type = bytes[at + 3] ?? 0;
    const flags = bytes[at + 4] ?? 0;
    const streamId = bytes.readUInt32BE(at + 5) & 0x7fff_ffff;
    const start = at + frameHeadBytes;
    if (type === frameType.data && (flags & frameFlag.padded) === 0 && length > 0) {
      this.#dataLeft = length;
      this.#dataStream = streamId;
      this.#dataEnds = (flags & frameFlag.endStream) !== 0;
      return frameHeadBytes;
    }
    if (bytes.byteLength < start + length) return 0;
    this.#sink.onFrame(type, flags, streamId, bytes.subarray(start, start + length));
    return frameHeadBytes + length;
  }
}
