import { CollectorError } from "../../errors.ts";
import { type Frame, FrameReader, onlyFrame } from "./frame.ts";
import { FrameBuffers } from "./frame-buffers.ts";

/** Where the bytes of a request go as they come in. */
export interface Inbound {
  /** Whether the peer has to send something before the call can go on. */
  readonly isOwed: boolean;
  /** Bytes received and not yet consumed. */
  readonly bufferedBytes: number;
  /** @throws {CollectorError} if the bytes are not what the method takes */
  push(chunk: Uint8Array): void;
  /** The peer has half-closed. @throws {CollectorError} as `push` */
  end(): void;
  /** The call is over: drops what is kept, fails whoever still waits with `error` or one that says so. */
  abort(error?: Error): void;
}

/** The request of a method that takes exactly one message. */
export class SingleInbound implements Inbound {
  readonly #messageBytesMax: number;
  readonly #deliver: (frame: Frame) => void;
  /** Made when the first chunk is not all of the message. */
  #reader: FrameReader | undefined;
  #frame: Frame | undefined;
  #isDone = false;

  /** @param deliver called once, when the message is there and the peer has half-closed */
  constructor(messageBytesMax: number, deliver: (frame: Frame) => void) {
    this.#messageBytesMax = messageBytesMax;
    this.#deliver = deliver;
  }

  get isOwed(): boolean {
    return !this.#isDone;
  }

  get bufferedBytes(): number {
    return this.#isDone ? 0 : (this.#frame?.byteLength ?? this.#reader?.bufferedBytes ?? 0);
  }

  push(chunk: Uint8Array): void {
    if (this.#isDone || chunk.byteLength === 0) return;
    if (this.#frame !== undefined) throw wrongMessageCount("more");
    if (this.#reader === undefined) {
      this.#frame = onlyFrame(chunk, this.#messageBytesMax);
      if (this.#frame !== undefined) return;
      this.#reader = new FrameReader(this.#messageBytesMax);
    }
    this.#reader.push(chunk);
    this.#frame = this.#reader.next();
    if (this.#frame !== undefined && this.#reader.bufferedBytes > 0) {
      throw wrongMessageCount("more");
    }
  }

  end(): void {
    if (this.#isDone) return;
    const frame = this.#frame;
    if (frame === undefined) {
      const isCut = this.#reader !== undefined && this.#reader.bufferedBytes > 0;
      throw isCut ? truncated() : wrongMessageCount("none");
    }
    this.#isDone = true;
    this.#frame = undefined;
    this.#deliver(frame);
  }

  abort(): void {
    this.#isDone = true;
    this.#frame = undefined;
    this.#reader?.clear();
  }
}

/** What may wait for a slow handler before the peer is told to pause, beyond its window. */
const queueBytesMax = 256 * 1024;

export interface StreamInboundOptions<T> {
  readonly messageBytesMax: number;
  /** Makes a message of a frame; called for one frame at a time, when the handler asks for it. */
  readonly decode: (frame: Frame) => T | Promise<T>;
  readonly pause: () => void;
  readonly resume: () => void;
  /** The handler waits for the peer from now on. */
  readonly onWait: () => void;
  /** Whether `decode` uses the parts of frames, so that they need not be put together. */
  readonly keepsParts?: boolean;
  /** Whether the peer owes messages as long as it has not half-closed. */
  readonly isAnswerDue: boolean;
}

interface Waiter<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The request of a method that takes a stream. Messages are decoded when they are asked for; while
 * they are not, the peer may fill the queue and then its window, and is then held back.
 *
 * It is iterated once.
 */
export class StreamInbound<T> implements Inbound, AsyncIterableIterator<T, undefined> {
  readonly #options: StreamInboundOptions<T>;
  readonly #reader: FrameReader;
  #waiter: Waiter<T> | undefined;
  #isDecoding = false;
  #isPaused = false;
  #isEnded = false;
  #endFailure: Error | undefined;
  #failure: unknown;
  #isDone = false;

  constructor(options: StreamInboundOptions<T>) {
    this.#options = options;
    const { messageBytesMax, keepsParts = false } = options;
    const buffers = keepsParts ? undefined : new FrameBuffers();
    this.#reader = new FrameReader(messageBytesMax, buffers, keepsParts);
  }

  get isOwed(): boolean {
    if (this.#isEnded || this.#isPaused || this.#isDone) return false;
    const isWaiting = this.#waiter !== undefined && !this.#isDecoding;
    return this.#reader.bufferedBytes > 0 || (isWaiting && this.#options.isAnswerDue);
  }

  get bufferedBytes(): number {
    return this.#reader.bufferedBytes;
  }

  push(chunk: Uint8Array): void {
    if (this.#isDone || chunk.byteLength === 0) return;
    this.#reader.push(chunk);
    const hasFrame = this.#reader.hasFrame();
    if (this.#waiter !== undefined) this.#advance();
    else if (hasFrame && !this.#isPaused && this.#reader.bufferedBytes > queueBytesMax) {
      this.#isPaused = true;
      this.#options.pause();
    }
  }

  /** @param failure what comes after the messages that have arrived, instead of the end */
  end(failure?: Error): void {
    this.#isEnded = true;
    this.#endFailure = failure;
    if (this.#waiter !== undefined) this.#advance();
  }

  abort(error?: Error): void {
    if (this.#isDone) return;
    this.#fail(error ?? new CollectorError("CANCELLED", "the call is over"));
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#waiter !== undefined) {
      return Promise.reject(new TypeError("a request stream is read one message at a time"));
    }
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      this.#advance();
    });
  }

  /** The handler wants no more. */
  return(): Promise<IteratorResult<T, undefined>> {
    this.#isDone = true;
    this.#reader.clear();
    this.#settle({ done: true, value: undefined });
    this.#letFlow();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Gives the waiting handler what there is for it. */
  #advance(): void {
    if (this.#isDecoding) return;
    if (this.#failure !== undefined) {
      const error = this.#failure;
      this.#failure = undefined;
      this.#takeWaiter()?.reject(error);
      return;
    }
    if (this.#isDone) {
      this.#settle({ done: true, value: undefined });
      return;
    }
    let frame: Frame | undefined;
    try {
      frame = this.#reader.next();
      if (frame === undefined && this.#isEnded) {
        if (this.#endFailure !== undefined) throw this.#endFailure;
        if (this.#reader.bufferedBytes > 0) throw truncated();
        this.#isDone = true;
        this.#settle({ done: true, value: undefined });
        return;
      }
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (this.#isPaused && this.#reader.bufferedBytes <= queueBytesMax / 2) this.#letFlow();
    if (frame === undefined) this.#options.onWait();
    else this.#decode(frame);
  }

  #decode(frame: Frame): void {
    try {
      const decoded = this.#options.decode(frame);
      if (!(decoded instanceof Promise)) {
        this.#settle({ done: false, value: decoded });
        return;
      }
      this.#isDecoding = true;
      decoded.then(
        (value) => {
          this.#isDecoding = false;
          if (this.#failure === undefined) this.#settle({ done: false, value });
          else this.#advance();
        },
        (error: unknown) => {
          this.#isDecoding = false;
          this.#fail(error);
        },
      );
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Whoever waits, or asks next, gets the error; after that the stream is at its end. */
  #fail(error: unknown): void {
    this.#isDone = true;
    this.#failure = error;
    this.#reader.clear();
    if (this.#waiter !== undefined) this.#advance();
    this.#letFlow();
  }

  #settle(result: IteratorResult<T, undefined>): void {
    this.#takeWaiter()?.resolve(result);
  }

  #takeWaiter(): Waiter<T> | undefined {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    return waiter;
  }

  #letFlow(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#options.resume();
  }
}

function truncated(): CollectorError {
  return new CollectorError("ARGUMENT_INVALID", "the stream ended in the middle of a message");
}

/** gRPC's own answer (its `statuscodes.md`) to a request with a wrong number of messages. */
function wrongMessageCount(seen: "none" | "more"): CollectorError {
  const found = seen === "none" ? "none came" : "more than one came";
  return new CollectorError(
    "METHOD_UNIMPLEMENTED",
    `this method takes exactly one request message, and ${found}`,
  );
}
