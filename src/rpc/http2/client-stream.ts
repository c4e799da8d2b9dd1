import type { HeaderList } from "../grpc/server-stream.ts";
import { errorCode } from "./frames.ts";
import { Http2Stream, type StreamHost } from "./http2-stream.ts";

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

/** One request and its answer, on an HTTP/2 connection that we have opened. */
export class ClientStream extends Http2Stream {
  readonly #listener: ClientStreamListener;
  #isAnswered = false;
  #resetCode: number | undefined;
  #problem: "malformed" | "too large" | undefined;

  constructor(host: StreamHost, id: number, listener: ClientStreamListener, sendWindow: number) {
    super(host, id, sendWindow);
    this.#listener = listener;
  }

  /** With what the peer has reset it, if it did. */
  get resetCode(): number | undefined {
    return this.#resetCode;
  }

  /** What is wrong with the headers of the answer, if that has ended the stream. */
  get problem(): "malformed" | "too large" | undefined {
    return this.#problem;
  }

  /** The request is sent with what opened the stream. */
  noteRequestSent(): void {
    this.isLocalDone = true;
  }

  /**
   * The chunk must not change any more.
   *
   * @param onLeft called once nothing reads the chunk any more; never if it was given up
   */
  write(chunk: Uint8Array, onLeft?: () => void): void {
    this.enqueue(chunk, onLeft);
  }

  /** The request is whole. */
  end(): void {
    this.endWith();
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

  override receiveData(chunk: Buffer): number | undefined {
    if (!this.#isAnswered && !this.isClosed) return errorCode.protocol;
    return super.receiveData(chunk);
  }

  /** The peer has reset it. What came before is still delivered. */
  override receiveReset(code: number): void {
    if (this.isClosed) return;
    this.#resetCode = code;
    this.lose();
  }

  /** Nothing comes any more. What came before is still delivered. */
  override lose(): void {
    this.deliverRest();
    this.finish();
  }

  protected override deliverData(chunk: Buffer): void {
    this.#listener.onData(chunk);
  }

  protected override deliverEnd(): void {
    this.#listener.onEnd();
    // The status is there: nobody needs the rest of the request.
    if (this.isLocalDone) this.finish();
    else this.close(errorCode.none);
  }

  protected override deliverDrain(): void {
    this.#listener.onDrain();
  }

  protected override deliverClose(): void {
    this.#listener.onClose();
  }
}
