import { errorCode, payloadBytesMax } from "./frames.ts";

/** What a stream needs of its connection. */
export interface StreamHost {
  readonly windowBytes: number;
  /** There is something to be sent. */
  wantsToSend(stream: Http2Stream): void;
  sendReset(streamId: number, code: number): void;
  /** Lets the peer send so many bytes more on a stream. */
  widen(streamId: number, bytes: number): void;
  /** So many bytes are held for a stream that is paused, or fewer if negative. */
  noteHeld(bytes: number): void;
  noteClosed(stream: Http2Stream): void;
}

/** Data of one frame, and what follows it. */
export interface OutgoingData {
  readonly chunk: Uint8Array;
  /** Nothing comes behind it. */
  readonly isLast: boolean;
  /** The header block that ends the stream behind the data. */
  readonly trailers?: Uint8Array | undefined;
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

/** One stream of an HTTP/2 connection, from either end: what both do with data, windows and resets. */
export abstract class Http2Stream {
  readonly id: number;
  /** What the peer takes; below zero if it has taken back some of it. */
  sendWindow: number;
  /** Whether its connection has it among those that have something to send. */
  isListed = false;
  protected readonly host: StreamHost;
  /** Whether all that is to be sent has been given to the connection. */
  protected isLocalDone = false;
  /** Whether the peer has said that it sends no more. */
  protected isRemoteDone = false;
  readonly #queue: Queued[] = [];
  #queueAt = 0;
  #queuedBytes = 0;
  #isDraining = false;
  /** Whether nothing is to be added to what is to be sent. */
  protected isEnding = false;
  #trailers: Uint8Array | undefined;
  #isEndTold = false;
  #isPaused = false;
  #isResuming = false;
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** Received, and not yet given back to the peer. */
  #unwidenedBytes = 0;
  #isClosed = false;

  constructor(host: StreamHost, id: number, sendWindow: number) {
    this.host = host;
    this.id = id;
    this.sendWindow = sendWindow;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Bytes that the peer's windows have not taken yet. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Bytes that came while it was paused. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Whether something may be sent now as far as this stream is concerned. */
  get canSend(): boolean {
    if (this.#isClosed || this.isLocalDone) return false;
    return this.#queuedBytes > 0 ? this.sendWindow > 0 : this.isEnding;
  }

  protected abstract deliverData(chunk: Buffer): void;
  /** The peer has said all, and all of it is delivered. */
  protected abstract deliverEnd(): void;
  protected abstract deliverDrain(): void;
  protected abstract deliverClose(): void;

  /** The next bytes to be sent, as a view; empty if only the end is left. */
  take(bytesMax: number): OutgoingData {
    const [first] = this.#queue;
    if (first === undefined) return this.#taken(nothing, undefined);
    const left = first.chunk.byteLength - this.#queueAt;
    const length = Math.min(left, bytesMax, this.sendWindow, payloadBytesMax);
    const chunk = first.chunk.subarray(this.#queueAt, this.#queueAt + length);
    this.#queueAt += length;
    this.sendWindow -= length;
    this.#queuedBytes -= length;
    if (length < left) return this.#taken(chunk, undefined);
    this.#queue.shift();
    this.#queueAt = 0;
    return this.#taken(chunk, first.onLeft);
  }

  /** What {@link take} gave is on its way. */
  noteSent(): void {
    // For those who want to know.
  }

  /** Asks for more, if someone waits for that. */
  tellDrain(): void {
    if (!this.#isDraining || this.#queuedBytes > lowWaterBytes || this.#isClosed) return;
    this.#isDraining = false;
    this.deliverDrain();
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
    if (!this.isLocalDone || !this.isRemoteDone) this.host.sendReset(this.id, code);
    this.finish();
  }

  /** @returns the code of the error, if the peer must not send this */
  receiveData(chunk: Buffer): number | undefined {
    if (this.#isClosed) return undefined;
    if (this.isRemoteDone) return errorCode.streamClosed;
    if (chunk.byteLength === 0) return undefined;
    this.#unwidenedBytes += chunk.byteLength;
    if (this.#unwidenedBytes > this.host.windowBytes) return errorCode.flowControl;
    if (this.#isPaused || this.#heldBytes > 0) {
      this.#held.push(chunk);
      this.#heldBytes += chunk.byteLength;
      this.host.noteHeld(chunk.byteLength);
      return undefined;
    }
    this.deliverData(chunk);
    this.#widen();
    return undefined;
  }

  receiveEnd(): void {
    this.isRemoteDone = true;
    this.#tellEnd();
  }

  /** Padding counts as data that was taken. */
  receivePadding(bytes: number): void {
    this.#unwidenedBytes += bytes;
    this.#widen();
  }

  /** The peer has reset it. */
  abstract receiveReset(code: number): void;

  /** Nothing comes any more: the connection is gone. */
  abstract lose(): void;

  finish(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#dropHeld();
    this.host.noteClosed(this);
    this.deliverClose();
  }

  /** @returns whether so much waits that the stream will ask for more */
  protected enqueue(chunk: Uint8Array, onLeft?: () => void): boolean {
    if (this.#isClosed || this.isEnding || chunk.byteLength === 0) return false;
    this.#queue.push({ chunk, onLeft });
    this.#queuedBytes += chunk.byteLength;
    this.#isDraining ||= this.#queuedBytes > lowWaterBytes;
    this.host.wantsToSend(this);
    return this.#isDraining;
  }

  /** @param trailers a header block; without it the last data ends the stream */
  protected endWith(trailers?: Uint8Array): void {
    if (this.#isClosed || this.isEnding) return;
    this.isEnding = true;
    this.#trailers = trailers;
    this.host.wantsToSend(this);
  }

  /** Delivers what came before the stream was lost, whoever pauses meanwhile. */
  protected deliverRest(): void {
    do {
      this.#isPaused = false;
      this.#deliver();
    } while (this.#heldBytes > 0 && !this.#isClosed);
    this.#isPaused = false;
    this.#tellEnd();
  }

  #taken(chunk: Uint8Array, onLeft: (() => void) | undefined): OutgoingData {
    const isEnd = this.isEnding && this.#queuedBytes === 0;
    this.isLocalDone = isEnd;
    const trailers = isEnd ? this.#trailers : undefined;
    return { chunk, isLast: isEnd && trailers === undefined, trailers, onLeft };
  }

  #tellEnd(): void {
    if (!this.isRemoteDone || this.#isEndTold || this.#isClosed) return;
    if (this.#isPaused || this.#heldBytes > 0) return;
    this.#isEndTold = true;
    this.deliverEnd();
  }

  #deliver(): void {
    while (!this.#isPaused && !this.#isClosed) {
      const chunk = this.#held.shift();
      if (chunk === undefined) return;
      this.#heldBytes -= chunk.byteLength;
      this.host.noteHeld(-chunk.byteLength);
      this.deliverData(chunk);
      this.#widen();
    }
  }

  #dropHeld(): void {
    if (this.#heldBytes === 0) return;
    this.host.noteHeld(-this.#heldBytes);
    this.#held = [];
    this.#heldBytes = 0;
  }

  /** Gives back what has been taken, once that is worth a frame. */
  #widen(): void {
    if (this.#isClosed || this.isRemoteDone) return;
    const taken = this.#unwidenedBytes - this.#heldBytes;
    if (taken < this.host.windowBytes / 2) return;
    this.#unwidenedBytes -= taken;
    this.host.widen(this.id, taken);
  }
}
