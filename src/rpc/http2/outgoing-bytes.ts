import type { Socket } from "node:net";
import { frameFlag, frameHeadBytes, frameType, writeHead } from "./frames.ts";
import type { OutgoingData } from "./http2-stream.ts";

export interface OutgoingBytesOptions {
  /** What is not data has to be sent in any case; a peer that leaves so many bytes of it is cut off. */
  readonly stuckBytesMax: number;
  /** All that was to be sent at once is there: data may be added. */
  readonly onFlush: () => void;
  /** The peer makes us answer, and takes no answers. */
  readonly onStuck: () => void;
}

/** What is given to the socket before the kernel has taken it; data beyond it waits in its stream. */
const socketBytesMax = 1024 * 1024;

/** Up to here, or if its pieces are so small, it is cheaper to copy what goes out than to hand over each. */
const joinedBytesMax = 16 * 1024;
const pieceBytesMin = 2048;

/** Data up to this size shares a buffer with the head of its frame. */
const smallBytesMax = 1024;

/** Gathers what goes out, so that all of one turn of the event loop is one write. */
export class OutgoingBytes {
  readonly #socket: Socket;
  readonly #options: OutgoingBytesOptions;
  #chunks: Uint8Array[] = [];
  #onLeft: (() => void)[] = [];
  #bytes = 0;
  #isScheduled = false;
  #isStopped = false;
  #lastStreamId = 0;
  #leftStreamId = 0;

  constructor(socket: Socket, options: OutgoingBytesOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.on("drain", () => this.schedule());
  }

  /** Whether data may be added. */
  get hasRoom(): boolean {
    return !this.#isStopped && this.#bytes + this.#socket.writableLength < socketBytesMax;
  }

  /** Whether what opened a stream was given to the socket. */
  hasLeft(streamId: number): boolean {
    return streamId <= this.#leftStreamId;
  }

  /** @param opens the stream that these bytes open */
  push(chunk: Uint8Array, opens?: number): void {
    if (this.#isStopped) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    if (opens !== undefined) this.#lastStreamId = opens;
    this.schedule();
  }

  /** A frame of data, whose chunk is not copied unless it is small. */
  pushData(streamId: number, { chunk, isLast, onLeft }: OutgoingData): void {
    if (onLeft !== undefined) this.#onLeft.push(onLeft);
    const { byteLength } = chunk;
    const isSmall = byteLength <= smallBytesMax;
    const head = Buffer.allocUnsafe(frameHeadBytes + (isSmall ? byteLength : 0));
    const flags = isLast ? frameFlag.endStream : 0;
    const at = writeHead(head, 0, byteLength, frameType.data, flags, streamId);
    if (isSmall) head.set(chunk, at);
    this.#chunks.push(head);
    if (!isSmall) this.#chunks.push(chunk);
    this.#bytes += frameHeadBytes + byteLength;
  }

  /** Sends soon. */
  schedule(): void {
    if (this.#isScheduled || this.#isStopped) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      if (this.#isStopped) return;
      this.#options.onFlush();
      this.flush();
    });
  }

  flush(): void {
    const chunks = this.#chunks;
    const bytes = this.#bytes;
    if (bytes === 0 || this.#isStopped) return;
    const socket = this.#socket;
    this.#chunks = [];
    this.#bytes = 0;
    this.#leftStreamId = this.#lastStreamId;
    const [first] = chunks;
    const done = this.#takeDone();
    if (chunks.length === 1 && first !== undefined) socket.write(first, done);
    else if (bytes <= joinedBytesMax || bytes < chunks.length * pieceBytesMin) {
      socket.write(Buffer.concat(chunks, bytes), done);
    } else {
      const last = chunks.length - 1;
      socket.cork();
      for (const [at, chunk] of chunks.entries())
        socket.write(chunk, at === last ? done : undefined);
      socket.uncork();
    }
    if (socket.writableLength > this.#options.stuckBytesMax) this.#options.onStuck();
  }

  /** What is to be called once all that goes out now has been written. */
  #takeDone(): ((error?: Error | null) => void) | undefined {
    const onLeft = this.#onLeft;
    if (onLeft.length === 0) return undefined;
    this.#onLeft = [];
    return (error) => {
      if (error === undefined || error === null) for (const left of onLeft) left();
    };
  }

  /** The socket is gone. */
  stop(): void {
    this.#isStopped = true;
    this.#chunks = [];
    this.#bytes = 0;
  }
}
