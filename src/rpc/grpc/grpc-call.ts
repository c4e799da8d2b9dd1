import { Code, type ConnectError } from "@connectrpc/connect";
import { CollectorError } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import type { Call, RequestMetadata, ResponseMetadata } from "../call.ts";
import { toConnectError } from "../status.ts";
import type { MessageEncoding } from "./compression.ts";
import type { Inbound } from "./inbound.ts";
import { GrpcRequestMetadata, GrpcResponseMetadata } from "./metadata.ts";
import type { HeaderList, IncomingHeaders, ServerStream, StreamListener } from "./server-stream.ts";
import { okStatus, statusTrailers } from "./status-trailers.ts";
import { type TimerWheel, WheelEntry } from "./timer-wheel.ts";

/** A call's share of what may wait in memory; see {@link CallHost.openShare}. */
export interface ReceiveShare extends Disposable {
  /** @throws {CollectorError} OVERLOADED if there is no room for so many bytes */
  set(bytes: number): void;
}

/** What the calls of one server have in common. */
export interface CallHost {
  readonly limits: Limits;
  readonly wheel: TimerWheel;
  readonly log: Pick<Log, "error">;
  readonly newRequestId: () => string;
  readonly openShare: () => ReceiveShare;
  readonly onClose: (call: GrpcCall) => void;
}

export interface GrpcCallOptions {
  readonly host: CallHost;
  readonly stream: ServerStream;
  readonly headers: IncomingHeaders;
  readonly rawHeaders: HeaderList | undefined;
  readonly serviceName: string;
  readonly methodName: string;
}

/** A peer that owes bytes must send at least this many, or end a message, within the idle limit. */
const progressBytesMin = 1024;

/** Received bytes up to here are not worth asking the budget for. */
const freeBytes = 64 * 1024;

/** How often the bytes that the engine holds for a paused stream are counted. */
const pausedCheckMs = 100;

const plainHeaders: HeaderList = [":status", "200", "content-type", "application/grpc"];
const gzipHeaders: HeaderList = [...plainHeaders, "grpc-encoding", "gzip"];

/**
 * One gRPC call, from its headers to the close of its stream: its status is sent once, its deadline
 * and idle limits are watched, and what a handler may not need is made only when asked for.
 */
export class GrpcCall extends WheelEntry implements Call, StreamListener {
  readonly serviceName: string;
  readonly methodName: string;
  readonly protocol = "grpc";
  namespace = "";
  deadlineMs: number | undefined;
  /** How the messages of the answer may be packed. */
  answerEncoding: MessageEncoding = "identity";

  readonly #host: CallHost;
  readonly #stream: ServerStream;
  readonly #headers: IncomingHeaders;
  readonly #rawHeaders: HeaderList | undefined;
  #inbound: Inbound | undefined;
  #requestId: string | undefined;
  #controller: AbortController | undefined;
  #requestMetadata: RequestMetadata | undefined;
  #responseHeaders: GrpcResponseMetadata | undefined;
  #responseTrailers: GrpcResponseMetadata | undefined;
  #share: ReceiveShare | undefined;
  #onDrain: (() => void) | undefined;
  #onInterrupt: (() => void) | undefined;
  /** Why the call was ended from outside, if it was. */
  #interruption: CollectorError | undefined;
  #isAnswered = false;
  #isClosed = false;
  #areHeadersSent = false;

  #inputMarkMs = 0;
  #inputSinceMark = 0;
  #wasOwed = true;
  #writtenBytes = 0;
  #takenBytesSeen = 0;
  #outputMarkMs = 0;

  constructor(options: GrpcCallOptions) {
    super();
    this.#host = options.host;
    this.#stream = options.stream;
    this.#headers = options.headers;
    this.#rawHeaders = options.rawHeaders;
    this.serviceName = options.serviceName;
    this.methodName = options.methodName;
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

  get requestMetadata(): RequestMetadata {
    this.#requestMetadata ??= new GrpcRequestMetadata(this.#headers, this.#rawHeaders);
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
    const nowMs = performance.now();
    this.#inputMarkMs = nowMs;
    this.#outputMarkMs = nowMs;
    if (timeoutMs !== undefined) this.deadlineMs = nowMs + timeoutMs;
    this.#stream.listen(this);
    this.#scheduleCheck(nowMs, this.#host.limits.streamIdleMs);
  }

  /** Where the request goes. */
  receive(inbound: Inbound): void {
    if (this.#isAnswered) inbound.abort(this.#interruption);
    else this.#inbound = inbound;
  }

  /** Answers with one message, already framed, and status OK. */
  answer(frame: Uint8Array): void {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    this.#areHeadersSent = true;
    this.#writtenBytes = frame.byteLength;
    this.#stream.respondWith(this.#openingHeaders(), frame, this.#closingTrailers(okStatus));
    this.#release();
  }

  /** Writes one framed message; resolves when the next one may be written. */
  write(frame: Uint8Array): Promise<void> | undefined {
    if (this.#isAnswered) return undefined;
    this.#sendHeaders();
    this.#writtenBytes += frame.byteLength;
    this.#stream.write(frame);
    if (this.#stream.bufferedBytes < this.#host.limits.streamBufferBytesMax) return undefined;
    return new Promise((resolve) => {
      this.#onDrain = resolve;
    });
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
    const status = toConnectError(error, this.requestId);
    if (status.code === Code.Internal && status !== error) {
      const method = `${this.serviceName}/${this.methodName}`;
      this.#host.log.error({ err: error, requestId: this.requestId, method }, "call failed");
    }
    this.#sendStatus(status);
    this.#release();
  }

  /** Ends the call from outside: its handler is told by the signal. */
  interrupt(error: CollectorError): void {
    if (this.#isAnswered) return;
    this.#interruption = error;
    this.fail(error);
    this.#tellHandler(error);
  }

  /** Logs what a handler throws after the call has ended, when nobody else hears of it. */
  logLateFailure(error: unknown): void {
    if (error instanceof CollectorError) return;
    const method = `${this.serviceName}/${this.methodName}`;
    this.#host.log.error({ err: error, requestId: this.requestId, method }, "cleanup failed");
  }

  /** Calls `listener` when the call is interrupted; at once if it already is. */
  onInterrupt(listener: () => void): void {
    if (this.#interruption === undefined) this.#onInterrupt = listener;
    else listener();
  }

  /** The handler waits for the peer, so that from now on silence counts as idle. */
  noteWait(): void {
    this.#share?.set(this.#inbound?.bufferedBytes ?? 0);
    if (this.#wasOwed) return;
    this.#wasOwed = this.#inbound?.isOwed ?? false;
    this.#inputMarkMs = performance.now();
    this.#inputSinceMark = 0;
  }

  pauseInput(): void {
    this.#stream.pause();
    this.#scheduleCheck(performance.now(), pausedCheckMs);
  }

  resumeInput(): void {
    this.#stream.resume();
  }

  onData(chunk: Uint8Array): void {
    const inbound = this.#inbound;
    if (inbound === undefined || this.#isAnswered) return;
    try {
      inbound.push(chunk);
      const isOwed = inbound.isOwed;
      this.#inputSinceMark += chunk.byteLength;
      if (isOwed && (!this.#wasOwed || this.#inputSinceMark >= progressBytesMin)) {
        this.#inputMarkMs = performance.now();
        this.#inputSinceMark = 0;
      }
      this.#wasOwed = isOwed;
      if (this.#share !== undefined || inbound.bufferedBytes > freeBytes) this.#account(0);
    } catch (error) {
      this.#stop(error);
    }
  }

  onEnd(): void {
    try {
      this.#inbound?.end();
      this.#wasOwed = false;
      this.#share?.set(this.#inbound?.bufferedBytes ?? 0);
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
    this.#isClosed = true;
    this.#host.wheel.clear(this);
    if (!this.#isAnswered) {
      this.#isAnswered = true;
      this.#interruption = new CollectorError("CANCELLED", "the caller cancelled the call");
      this.#tellHandler(this.#interruption);
      this.#release();
    }
    this.onDrain();
    this.#host.onClose(this);
  }

  override onDue(nowMs: number): void {
    if (this.#isClosed) return;
    const idleMs = this.#host.limits.streamIdleMs;
    if (this.deadlineMs !== undefined && nowMs >= this.deadlineMs) {
      // An answer that the peer has not taken by its own deadline is of no use to it.
      if (this.#isAnswered) this.#stream.cancel();
      else this.interrupt(deadlineExceeded());
      this.deadlineMs = undefined;
      this.#host.wheel.set(this, nowMs + idleMs);
      return;
    }
    if (this.#isOutputStuck(nowMs, idleMs)) {
      this.interrupt(idle("took none of the bytes of the answer", idleMs));
      this.#stream.cancel();
      return;
    }
    if (!this.#isAnswered && this.#inbound?.isOwed && nowMs - this.#inputMarkMs >= idleMs) {
      this.interrupt(idle("sent no more of its request", idleMs));
    }
    const heldBytes = this.#stream.heldBytes;
    if (heldBytes > 0) this.#accountOrStop(heldBytes);
    this.#scheduleCheck(nowMs, heldBytes > 0 ? pausedCheckMs : this.#nextCheckMs(nowMs, idleMs));
  }

  #nextCheckMs(nowMs: number, idleMs: number): number {
    const sinceMarkMs = this.#wasOwed ? nowMs - this.#inputMarkMs : 0;
    return sinceMarkMs < idleMs ? idleMs - sinceMarkMs : idleMs;
  }

  #scheduleCheck(nowMs: number, afterMs: number): void {
    const dueMs = nowMs + afterMs;
    const deadlineMs = this.deadlineMs;
    this.#host.wheel.set(this, deadlineMs !== undefined && deadlineMs < dueMs ? deadlineMs : dueMs);
  }

  #isOutputStuck(nowMs: number, idleMs: number): boolean {
    const bufferedBytes = this.#stream.bufferedBytes;
    const takenBytes = this.#writtenBytes - bufferedBytes;
    if (bufferedBytes === 0 || takenBytes !== this.#takenBytesSeen) {
      this.#takenBytesSeen = takenBytes;
      this.#outputMarkMs = nowMs;
      return false;
    }
    return nowMs - this.#outputMarkMs >= idleMs;
  }

  #account(heldBytes: number): void {
    this.#share ??= this.#host.openShare();
    this.#share.set((this.#inbound?.bufferedBytes ?? 0) + heldBytes);
  }

  #accountOrStop(heldBytes: number): void {
    try {
      this.#account(heldBytes);
    } catch (error) {
      this.#stop(error);
    }
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

  #sendStatus(error: ConnectError): void {
    this.#isAnswered = true;
    const trailers = this.#closingTrailers(statusTrailers(error));
    if (this.#areHeadersSent) {
      this.#stream.end(trailers);
    } else if (this.#responseHeaders !== undefined) {
      this.#sendHeaders();
      this.#stream.end(trailers);
    } else {
      this.#areHeadersSent = true;
      this.#stream.respondOnly([...plainHeaders, ...trailers]);
    }
  }

  #tellHandler(error: CollectorError): void {
    this.#controller?.abort(error);
    const listener = this.#onInterrupt;
    this.#onInterrupt = undefined;
    listener?.();
  }

  /** Gives back what the request holds. */
  #release(): void {
    this.#inbound?.abort(this.#interruption);
    this.#share?.[Symbol.dispose]();
    this.#share = undefined;
  }
}

function deadlineExceeded(): CollectorError {
  return new CollectorError("DEADLINE_EXCEEDED", "the call's deadline has passed");
}

function idle(what: string, idleMs: number): CollectorError {
  return new CollectorError(
    "DEADLINE_EXCEEDED",
    `the caller ${what} for ${idleMs} ms, the limit (streamIdleMs)`,
  );
}
