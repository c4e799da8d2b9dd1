import type { HeaderList } from "../../grpc/server-stream.ts";
import { errorCode, payloadBytesMax } from "./frames.ts";

/** Told of what happens on a stream. */
export interface ClientStreamListener {
  /** The header block that opens the answer. If it is all of it, {@link onEnd} follows. */
  onHeaders(headers: HeaderList): void;
  /** The header block behind the data. */
  onTrailers(trailers: HeaderList): void;
  /** The chunk is a view of what was received. */
  onData(chunk: Buffer): void;
  /** The peer has said all; comes when the data has been taken. What is left of the request is not sent. */
  onEnd(): void;
  /** There is room again for what is to be sent. */
  onDrain(): void;
  /** The stream is gone. Always comes, once, and last. */
  onClose(): void;
}

/** What a stream needs of its session. */
export interface StreamHost {
  readonly windowBytes: number;
  /** There is something to be sent. */
  wantsToSend(stream: ClientStream): void;
  sendReset(streamId: number, code: number): void;
  /** Lets the peer send so many bytes more on a stream. */
  widen(streamId: number, bytes: number): void;
  /** So many bytes are held for a stream that is paused, or fewer if negative. */
  noteHeld(bytes: number): void;
  noteClosed(stream: ClientStream): void;
}

/** Data of one frame. */
export interface OutgoingData {
  readonly chunk: Uint8Array;
  readonly isLast: boolean;
  /** To be called when the chunk has been written. */
  readonly onLeft?: (() => void) | undefined;
}

interface Queued {
  readonly chunk: Uint8Array;
  readonly onLeft: (() => void) | undefined;
}

const nothing = new Uint8Array();

/** When so little waits to be sent, more is asked for. */
const lowWaterBytes = 256 * 1024;

/** One request and its answer, on an HTTP/2 connection that we have opened. */
export class ClientStream {
  readonly id: number;
  readonly #host: StreamHost;
  readonly #listener: ClientStreamListener;
  /** What the peer takes; below zero if it has taken back some of it. */
  sendWindow: number;
  readonly #queue: Queued[] = [];
  #queueAt = 0;
  #queuedBytes = 0;
  #isDraining = false;
  #isEnding = false;
  #isLocalDone = false;
  #isRemoteDone = false;
  #isEndTold = false;
  #isAnswered = false;
  #isPaused = false;
  #isResuming = false;
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** Received, and not yet given back to the peer. */
  #unwidenedBytes = 0;
  #isClosed = false;
  #resetCode: number | undefined;
  #problem: "malformed" | "too large" | undefined;

  constructor(host: StreamHost, id: number, listener: ClientStreamListener, sendWindow: number) {
    this.#host = host;
    this.id = id;
    this.#listener = listener;
    this.sendWindow = sendWindow;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** With what the peer has reset it, if it did. */
  get resetCode(): number | undefined {
    return this.#resetCode;
  }

  /** What is wrong with the headers of the answer, if that has ended the stream. */
  get problem(): "malformed" | "too large" | undefined {
    return this.#problem;
  }

  /** Bytes that the peer's windows have not taken yet. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Whether something may be sent now as far as this stream is concerned. */
  get canSend(): boolean {
    if (this.#isClosed || this.#isLocalDone) return false;
    return this.#queuedBytes > 0 ? this.sendWindow > 0 : this.#isEnding;
  }

  /** The request is sent with what opened the stream. */
  noteRequestSent(): void {
    this.#isLocalDone = true;
  }

  /**
   * The chunk must not change any more.
   *
   * @param onLeft called once nothing reads the chunk any more; never if it was given up
   */
  write(chunk: Uint8Array, onLeft?: () => void): void {
    if (this.#isClosed || this.#isEnding || chunk.byteLength === 0) return;
    this.#queue.push({ chunk, onLeft });
    this.#queuedBytes += chunk.byteLength;
    this.#isDraining ||= this.#queuedBytes > lowWaterBytes;
    this.#host.wantsToSend(this);
  }

  /** The request is whole. */
  end(): void {
    if (this.#isClosed || this.#isEnding) return;
    this.#isEnding = true;
    this.#host.wantsToSend(this);
  }

  /** The next bytes to be sent, as a view; empty if only the end is left. */
  take(bytesMax: number): OutgoingData {
    const [first] = this.#queue;
    if (first === undefined) return this.#sent({ chunk: nothing, isLast: true });
    const left = first.chunk.byteLength - this.#queueAt;
    const length = Math.min(left, bytesMax, this.sendWindow, payloadBytesMax);
    const chunk = first.chunk.subarray(this.#queueAt, this.#queueAt + length);
    this.#queueAt += length;
    this.sendWindow -= length;
    this.#queuedBytes -= length;
    const isLast = this.#isEnding && this.#queuedBytes === 0;
    if (length < left) return this.#sent({ chunk, isLast });
    this.#queue.shift();
    this.#queueAt = 0;
    return this.#sent({ chunk, isLast, onLeft: first.onLeft });
  }

  /** Asks the listener for more, if it waits for that. */
  tellDrain(): void {
    if (!this.#isDraining || this.#queuedBytes > lowWaterBytes || this.#isClosed) return;
    this.#isDraining = false;
    this.#listener.onDrain();
  }

  /** The peer's window is not used up: what comes is held here. */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (this.#isResuming) return;
    this.#isResuming = true;
    // Who resumes is in the middle of taking what came before.
    process.nextTick(() => {
      this.#isResuming = false;
      this.#deliver();
      this.#tellEnd();
    });
  }

  /** Ends the stream from this side, whatever its state. */
  close(code: number): void {
    if (this.#isClosed) return;
    if (!this.#isLocalDone || !this.#isRemoteDone) this.#host.sendReset(this.id, code);
    this.#dropHeld();
    this.finish();
  }

  /** A header block. */
  receiveHeaders(list: HeaderList, isLast: boolean): void {
    if (this.#isAnswered) {
      if (!isLast || list.some((name, i) => i % 2 === 0 && name.startsWith(":"))) {
        this.refuse("malformed");
        return;
      }
      this.#listener.onTrailers(list);
    } else {
      const status = list[0] === ":status" ? (list[1] ?? "") : "";
      if (!/^[1-5][0-9][0-9]$/.test(status)) {
        this.refuse("malformed");
        return;
      }
      // An interim answer: the one that counts follows.
      if (status.startsWith("1") && !isLast) return;
      this.#isAnswered = true;
      this.#listener.onHeaders(list);
    }
    if (isLast) this.receiveEnd();
  }

  /** The headers cannot be used. */
  refuse(problem: "malformed" | "too large"): void {
    this.#problem = problem;
    this.close(errorCode.protocol);
  }

  /** @returns false if the peer has sent more than its window lets it, or before the headers */
  receiveData(chunk: Buffer): boolean {
    if (this.#isClosed) return true;
    if (!this.#isAnswered || this.#isRemoteDone) return false;
    this.#unwidenedBytes += chunk.byteLength;
    if (this.#unwidenedBytes > this.#host.windowBytes) return false;
    if (this.#isPaused || this.#heldBytes > 0) {
      this.#held.push(chunk);
      this.#heldBytes += chunk.byteLength;
      this.#host.noteHeld(chunk.byteLength);
      return true;
    }
    this.#listener.onData(chunk);
    this.#widen();
    return true;
  }

  receiveEnd(): void {
    this.#isRemoteDone = true;
    this.#tellEnd();
  }

  /** Padding counts as data that was taken. */
  receivePadding(bytes: number): void {
    this.#unwidenedBytes += bytes;
  }

  /** The peer has reset it. What came before is still delivered. */
  receiveReset(code: number): void {
    if (this.#isClosed) return;
    this.#resetCode = code;
    this.lose();
  }

  /** Nothing comes any more. What came before is still delivered. */
  lose(): void {
    // Whoever pauses meanwhile gets the rest all the same.
    do {
      this.#isPaused = false;
      this.#deliver();
    } while (this.#heldBytes > 0 && !this.#isClosed);
    this.#isPaused = false;
    this.#tellEnd();
    this.finish();
  }

  finish(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#dropHeld();
    this.#host.noteClosed(this);
    this.#listener.onClose();
  }

  #sent(data: OutgoingData): OutgoingData {
    this.#isLocalDone = data.isLast;
    return data;
  }

  #tellEnd(): void {
    if (!this.#isRemoteDone || this.#isEndTold || this.#isClosed) return;
    if (this.#isPaused || this.#heldBytes > 0) return;
    this.#isEndTold = true;
    this.#listener.onEnd();
    // The status is there: nobody needs the rest of the request.
    if (this.#isLocalDone) this.finish();
    else this.close(errorCode.none);
  }

  #deliver(): void {
    while (!this.#isPaused && !this.#isClosed) {
      const chunk = this.#held.shift();
      if (chunk === undefined) return;
      this.#heldBytes -= chunk.byteLength;
      this.#host.noteHeld(-chunk.byteLength);
      this.#listener.onData(chunk);
      this.#widen();
    }
  }

  #dropHeld(): void {
    this.#host.noteHeld(-this.#heldBytes);
    this.#held = [];
    this.#heldBytes = 0;
  }

  /** Gives back what has been taken, once that is worth a frame. */
  #widen(): void {
    if (this.#isClosed || this.#isRemoteDone) return;
    const taken = this.#unwidenedBytes - this.#heldBytes;
    if (taken < this.#host.windowBytes / 2) return;
    this.#unwidenedBytes -= taken;
    this.#host.widen(this.id, taken);
  }
}
