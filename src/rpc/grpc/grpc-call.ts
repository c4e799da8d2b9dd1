import { Code } from "@connectrpc/connect";
import { CollectorError } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import type { Via } from "../../mesh/links/link-calls.ts";
import { linkHeader } from "../../mesh/links/link-channel.ts";
import type { Call, RequestMetadata, ResponseMetadata } from "../call.ts";
import { toConnectError } from "../status.ts";
import { CallWatch, type ReceiveShare, type Watched } from "./call-watch.ts";
import type { MessageEncoding } from "./compression.ts";
import type { Inbound } from "./inbound.ts";
import { GrpcRequestMetadata, GrpcResponseMetadata } from "./metadata.ts";
import type { HeaderList, IncomingHeaders, ServerStream, StreamListener } from "./server-stream.ts";
import { okStatus, statusTrailers } from "./status-trailers.ts";
import type { TimerWheel } from "./timer-wheel.ts";

/** What the calls of one server have in common. */
export interface CallHost {
  readonly limits: Limits;
  readonly wheel: TimerWheel;
  readonly log: Pick<Log, "error">;
  readonly newRequestId: () => string;
  readonly openShare: () => ReceiveShare;
  /** The link that a call came over, if what it carries proves that. */
  readonly verifyLink: (credential: string) => Via | undefined;
  readonly onClose: (call: GrpcCall) => void;
}

export interface GrpcCallOptions {
  readonly host: CallHost;
  readonly stream: ServerStream;
  readonly headers: IncomingHeaders;
  readonly rawHeaders: HeaderList;
  readonly serviceName: string;
  readonly methodName: string;
}

const plainHeaders: HeaderList = [":status", "200", "content-type", "application/grpc"];
const gzipHeaders: HeaderList = [...plainHeaders, "grpc-encoding", "gzip"];

/**
 * One gRPC call, from its headers to the close of its stream: its status is sent once, its deadline
 * and idle limits are watched, and what a handler may not need is made only when asked for.
 */
export class GrpcCall implements Call, StreamListener, Watched {
  readonly serviceName: string;
  readonly methodName: string;
  readonly protocol = "grpc";
  namespace = "";
  executorId?: string;
  /** How the messages of the answer may be packed. */
  answerEncoding: MessageEncoding = "identity";
  /** Where its handler keeps it. */
  slot = -1;

  readonly #host: CallHost;
  readonly #stream: ServerStream;
  readonly #headers: IncomingHeaders;
  readonly #rawHeaders: HeaderList;
  readonly #watch: CallWatch;
  #inbound: Inbound | undefined;
  #requestId: string | undefined;
  #controller: AbortController | undefined;
  #requestMetadata: RequestMetadata | undefined;
  #via: { readonly link: Via | undefined } | undefined;
  #responseHeaders: GrpcResponseMetadata | undefined;
  #responseTrailers: GrpcResponseMetadata | undefined;
  #onDrain: (() => void) | undefined;
  #onCancel: ((reason: Error) => void)[] | undefined;
  /** Why the call was ended from outside, if it was. */
  #interruption: CollectorError | undefined;
  #isAnswered = false;
  #areHeadersSent = false;

  constructor(options: GrpcCallOptions) {
    const { host, stream } = options;
    this.#host = host;
    this.#stream = stream;
    this.#headers = options.headers;
    this.#rawHeaders = options.rawHeaders;
    this.serviceName = options.serviceName;
    this.methodName = options.methodName;
    const { wheel, openShare, limits } = host;
    const { streamIdleMs } = limits;
    this.#watch = new CallWatch({ call: this, stream, wheel, openShare, streamIdleMs });
  }

  get deadlineMs(): number | undefined {
    return this.#watch.deadlineMs;
  }

  set deadlineMs(value: number | undefined) {
    this.#watch.deadlineMs = value;
  }

  get peer(): string {
    return this.#stream.peer;
  }

  get requestId(): string {
    this.#requestId ??= this.#host.newRequestId();
    return this.#requestId;
  }

  set requestId(value: string) {
    this.#requestId = value;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#interruption !== undefined) this.#controller.abort(this.#interruption);
    }
    return this.#controller.signal;
  }

  get via(): Via | undefined {
    const credential = this.#headers[linkHeader];
    if (typeof credential !== "string") return undefined;
    // Looked at once: the link may be down before the call is.
    this.#via ??= { link: this.#host.verifyLink(credential) };
    return this.#via.link;
  }

  exemptConnection(): void {
    this.#stream.exemptConnection();
  }

  get requestMetadata(): RequestMetadata {
    this.#requestMetadata ??= new GrpcRequestMetadata(
      this.#headers,
      this.#rawHeaders,
      this.via !== undefined,
    );
    return this.#requestMetadata;
  }

  get responseHeaders(): ResponseMetadata {
    if (this.#responseHeaders === undefined) {
      this.#responseHeaders = new GrpcResponseMetadata();
      if (this.#areHeadersSent) this.#responseHeaders.seal();
    }
    return this.#responseHeaders;
  }

  get responseTrailers(): ResponseMetadata {
    if (this.#responseTrailers === undefined) {
      this.#responseTrailers = new GrpcResponseMetadata();
      if (this.#isAnswered) this.#responseTrailers.seal();
    }
    return this.#responseTrailers;
  }

  /** Whether the status is sent, or nobody is there to take it. */
  get isOver(): boolean {
    return this.#isAnswered;
  }

  /**
   * Starts to listen to the stream and to watch its limits; {@link receive} follows at once.
   *
   * @param timeoutMs until the call ends with DEADLINE_EXCEEDED; undefined for no deadline
   */
  start(timeoutMs: number | undefined): void {
    this.#watch.start(timeoutMs);
    this.#stream.listen(this);
  }

  /** Where the request goes. */
  receive(inbound: Inbound): void {
    if (this.#isAnswered) {
      inbound.abort(this.#interruption);
      return;
    }
    this.#inbound = inbound;
    this.#watch.watchInput(inbound);
  }

  /** Answers with one message, already framed, and status OK. */
  answer(frame: Uint8Array): void {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    this.#areHeadersSent = true;
    this.#watch.noteWritten(frame.byteLength);
    this.#stream.respondWith(this.#openingHeaders(), frame, this.#closingTrailers(okStatus));
    this.#release();
  }

  /**
   * Writes one framed message; resolves when the next one may be written.
   *
   * @param onLeft called once the frame has left, and its memory may be used again
   */
  write(frame: Uint8Array, onLeft?: () => void): Promise<void> | undefined {
    if (this.#isAnswered) return undefined;
    this.#sendHeaders();
    this.#watch.noteWritten(frame.byteLength);
    return this.#untilDrained(this.#stream.write(frame, onLeft));
  }

  /** The same for a frame in pieces. */
  writeAll(parts: readonly Uint8Array[]): Promise<void> | undefined {
    if (this.#isAnswered) return undefined;
    this.#sendHeaders();
    for (const { byteLength } of parts) this.#watch.noteWritten(byteLength);
    return this.#untilDrained(this.#stream.writeAll(parts));
  }

  #untilDrained(willDrain: boolean): Promise<void> | undefined {
    const { streamBufferBytesMax } = this.#host.limits;
    if (!willDrain || this.#stream.bufferedBytes < streamBufferBytesMax) return undefined;
    return new Promise((resolve) => {
      this.#onDrain = resolve;
    });
  }

  flushHeaders(): void {
    if (!this.#isAnswered) this.#sendHeaders();
  }

  /** Ends a streaming answer with status OK. */
  end(): void {
    if (this.#isAnswered) return;
    this.#sendHeaders();
    this.#isAnswered = true;
    this.#stream.end(this.#closingTrailers(okStatus));
    this.#release();
  }

  /** Ends the call with the status of `error`, whatever it is; does nothing once it has ended. */
  fail(error: unknown): void {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    const trailers = this.#closingTrailers(this.#statusOf(error));
    if (this.#areHeadersSent) {
      this.#stream.end(trailers);
    } else if (this.#responseHeaders !== undefined) {
      this.#sendHeaders();
      this.#stream.end(trailers);
    } else {
      this.#areHeadersSent = true;
      this.#stream.respondOnly([...plainHeaders, ...trailers]);
    }
    this.#release();
  }

  /** Ends the call from outside: its handler is told by the signal. */
  interrupt(error: CollectorError): void {
    if (this.#isAnswered) return;
    this.#interruption = error;
    this.fail(error);
    this.#tellHandler(error);
  }

  /** Logs what a handler throws when its call has ended, and nobody else hears of it. */
  logLateFailure(error: unknown): void {
    if (!(error instanceof CollectorError)) this.#log(error, "cleanup after a call failed");
  }

  /** Calls `listener` when the call is interrupted; at once if it already is. */
  onCancel(listener: (reason: Error) => void): void {
    if (this.#interruption !== undefined) listener(this.#interruption);
    else if (this.#onCancel === undefined) this.#onCancel = [listener];
    else this.#onCancel.push(listener);
  }

  /** The handler waits for the peer. */
  noteWait(): void {
    this.#watch.noteWait();
  }

  pauseInput(): void {
    this.#stream.pause();
    this.#watch.notePause();
  }

  resumeInput(): void {
    this.#stream.resume();
  }

  onData(chunk: Uint8Array): void {
    const inbound = this.#inbound;
    if (inbound === undefined || this.#isAnswered) return;
    try {
      inbound.push(chunk);
      this.#watch.noteReceived(inbound, chunk.byteLength);
    } catch (error) {
      this.#stop(error);
    }
  }

  onEnd(): void {
    try {
      this.#inbound?.end();
    } catch (error) {
      this.#stop(error);
    }
  }

  onDrain(): void {
    const resolve = this.#onDrain;
    this.#onDrain = undefined;
    resolve?.();
  }

  onClose(): void {
    this.#watch.stop();
    if (!this.#isAnswered) {
      this.#isAnswered = true;
      this.#interruption = new CollectorError("CANCELLED", "the caller cancelled the call");
      this.#tellHandler(this.#interruption);
      this.#release();
    }
    this.onDrain();
    this.#host.onClose(this);
  }

  #stop(error: unknown): void {
    if (error instanceof CollectorError) this.interrupt(error);
    else this.fail(error);
  }

  #sendHeaders(): void {
    if (this.#areHeadersSent) return;
    this.#areHeadersSent = true;
    this.#stream.respond(this.#openingHeaders());
  }

  #openingHeaders(): HeaderList {
    const base = this.answerEncoding === "gzip" ? gzipHeaders : plainHeaders;
    if (this.#responseHeaders === undefined) return base;
    this.#responseHeaders.seal();
    return [...base, ...this.#responseHeaders.list];
  }

  #closingTrailers(status: HeaderList): HeaderList {
    if (this.#responseTrailers === undefined) return status;
    this.#responseTrailers.seal();
    return [...status, ...this.#responseTrailers.list];
  }

  #statusOf(error: unknown): HeaderList {
    try {
      const status = toConnectError(error, this.requestId);
      if (status.code === Code.Internal && status !== error) this.#log(error, "call failed");
      return statusTrailers(status);
    } catch (cause) {
      // Such as details that are no valid messages: a bug in who made the error.
      this.#log(new Error("a status cannot be sent", { cause }), "call failed");
      return ["grpc-status", String(Code.Internal)];
    }
  }

  #log(error: unknown, message: string): void {
    const method = `${this.serviceName}/${this.methodName}`;
    this.#host.log.error({ err: error, requestId: this.requestId, method }, message);
  }

  #tellHandler(error: CollectorError): void {
    this.#controller?.abort(error);
    const listeners = this.#onCancel ?? [];
    this.#onCancel = undefined;
    for (const listener of listeners) listener(error);
  }

  /** Gives back what the request holds. */
  #release(): void {
    this.#inbound?.abort(this.#interruption);
    this.#watch.release();
  }
}
