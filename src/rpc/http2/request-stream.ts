import type { HeaderList, ServerStream, StreamListener } from "../grpc/server-stream.ts";
import type { AnswerHeaders } from "./answer-headers.ts";
import { errorCode } from "./frames.ts";
import { Http2Stream, type StreamHost } from "./http2-stream.ts";

/** What a request needs of its connection. */
export interface RequestHost extends StreamHost {
  /** Address of the peer, `127.0.0.1:40412`. */
  readonly peer: string;
  readonly answers: AnswerHeaders;
  /** Sends a header block, which ends the stream if it is all of the answer. */
  sendHeaders(stream: RequestStream, block: Uint8Array, isLast: boolean): void;
  /**
   * Sends all of an answer in one write.
   *
   * @returns false, and nothing is sent, if it does not fit: into a frame, the windows, or what the socket takes
   */
  sendWhole(
    stream: RequestStream,
    opening: Uint8Array,
    body: Uint8Array,
    closing: Uint8Array,
  ): boolean;
  exempt(): void;
}

/** For requests that nobody has taken yet: nothing of them matters. */
const nobody: StreamListener = {
  onData: () => undefined,
  onEnd: () => undefined,
  onDrain: () => undefined,
  onClose: () => undefined,
};

/** One request and its answer, on an HTTP/2 connection that a client has opened. */
export class RequestStream extends Http2Stream implements ServerStream {
  readonly #host: RequestHost;
  /** What the client says that its data comes to. */
  readonly #announcedBytes: number | undefined;
  #listener: StreamListener = nobody;
  #receivedBytes = 0;
  /** What still comes of the request is of no interest. */
  #isDiscarding = false;

  constructor(
    host: RequestHost,
    id: number,
    sendWindow: number,
    announcedBytes: number | undefined,
  ) {
    super(host, id, sendWindow);
    this.#host = host;
    this.#announcedBytes = announcedBytes;
  }

  get peer(): string {
    return this.#host.peer;
  }

  get bufferedBytes(): number {
    return this.queuedBytes;
  }

  listen(listener: StreamListener): void {
    this.#listener = listener;
  }

  respond(headers: HeaderList): void {
    if (this.#isAnswered) return;
    this.#host.sendHeaders(this, this.#host.answers.opening(headers), false);
  }

  write(chunk: Uint8Array, onLeft?: () => void): boolean {
    return this.enqueue(chunk, onLeft);
  }

  writeAll(chunks: readonly Uint8Array[]): boolean {
    let willDrain = false;
    for (const chunk of chunks) willDrain = this.enqueue(chunk);
    return willDrain;
  }

  end(trailers: HeaderList): void {
    if (this.#isAnswered) return;
    this.#discard();
    this.endWith(trailers.length === 0 ? undefined : this.#host.answers.closing(trailers));
  }

  respondWith(headers: HeaderList, body: Uint8Array, trailers: HeaderList): void {
    if (this.#isAnswered) return;
    const { answers } = this.#host;
    const opening = answers.opening(headers);
    if (this.#host.sendWhole(this, opening, body, answers.closing(trailers))) {
      this.isLocalDone = true;
      this.#finishAnswer();
      return;
    }
    this.#host.sendHeaders(this, opening, false);
    this.enqueue(body);
    this.end(trailers);
  }

  respondOnly(headers: HeaderList): void {
    if (this.#isAnswered) return;
    this.#host.sendHeaders(this, this.#host.answers.opening(headers), true);
    this.isLocalDone = true;
    this.#finishAnswer();
  }

  exemptConnection(): void {
    this.#host.exempt();
  }

  cancel(): void {
    this.close(errorCode.cancel);
  }

  /** The header block behind the data. @param isValid whether it may be one */
  receiveTrailers(isValid: boolean): void {
    if (this.isRemoteDone) this.close(errorCode.streamClosed);
    else if (isValid) this.receiveEnd();
    else this.close(errorCode.protocol);
  }

  override receiveData(chunk: Buffer): number | undefined {
    this.#receivedBytes += chunk.byteLength;
    const announced = this.#announcedBytes;
    if (announced !== undefined && this.#receivedBytes > announced) return errorCode.protocol;
    return super.receiveData(chunk);
  }

  override receiveEnd(): void {
    const announced = this.#announcedBytes;
    if (announced !== undefined && this.#receivedBytes !== announced)
      this.close(errorCode.protocol);
    else super.receiveEnd();
  }

  override receiveReset(): void {
    this.finish();
  }

  override lose(): void {
    this.finish();
  }

  override noteSent(): void {
    if (this.isLocalDone) this.#finishAnswer();
  }

  protected override deliverData(chunk: Buffer): void {
    if (!this.#isDiscarding) this.#listener.onData(chunk);
  }

  protected override deliverEnd(): void {
    if (!this.#isDiscarding) this.#listener.onEnd();
    if (this.isLocalDone) this.finish();
  }

  protected override deliverDrain(): void {
    this.#listener.onDrain();
  }

  protected override deliverClose(): void {
    this.#listener.onClose();
  }

  get #isAnswered(): boolean {
    return this.isClosed || this.isLocalDone || this.isEnding;
  }

  /** The client is told that the rest of its request is not needed (RFC 9113, section 8.1). */
  #finishAnswer(): void {
    if (this.isRemoteDone) this.finish();
    else this.close(errorCode.none);
  }

  #discard(): void {
    this.#isDiscarding = true;
    this.resume();
  }
}
