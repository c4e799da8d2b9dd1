import { Code } from "@connectrpc/connect";
import { CallFailure, type CallOptions, type MetadataEntries } from "../../mesh/channel.ts";
import { passableHeaders } from "../grpc/metadata.ts";
import type { HeaderList } from "../grpc/server-stream.ts";
import { formatTimeout } from "../grpc/timeout.ts";
import { type TimerWheel, WheelEntry } from "../grpc/timer-wheel.ts";
import type { ClientStream, ClientStreamListener } from "../http2/client-stream.ts";
import { errorCode } from "../http2/frames.ts";
import { entriesOf, statusOf, valueOf } from "./answer-headers.ts";
import type { Connection } from "./connection.ts";
import { httpFailure, localFailure, ownFailure, resetFailure } from "./failures.ts";

/** What the calls of one channel have in common. */
export interface CallHost {
  readonly wheel: TimerWheel;
  readonly messageBytesMax: number;
  readonly streamBufferBytesMax: number;
  /** Why a connection was lost. */
  readonly lostReason: () => "PEER_UNAVAILABLE" | "SHUTTING_DOWN";
  /** The call waits no longer. */
  readonly forget: (call: OutboundCall) => void;
}

/**
 * One call to another server, from the wait for a stream to its end, which comes once: by the peer's
 * status, by the deadline, by the caller's signal, or with the connection.
 */
export abstract class OutboundCall extends WheelEntry implements ClientStreamListener {
  protected readonly host: CallHost;
  readonly #path: string;
  readonly #options: CallOptions;
  #connection: Connection | undefined;
  protected stream: ClientStream | undefined;
  #onAbort: (() => void) | undefined;
  #isOver = false;
  #rawHeaders: HeaderList = [];
  #isAnswered = false;
  /** Whether the answer's messages may be packed. */
  protected isPacked = false;
  /** The peer's status: undefined until it is known. */
  #status: { readonly failure: CallFailure | undefined; readonly raw: HeaderList } | undefined;

  constructor(host: CallHost, path: string, options: CallOptions) {
    super();
    this.host = host;
    this.#path = path;
    this.#options = options;
  }

  /** Bytes of the answer. @throws what ends the call */
  protected abstract take(chunk: Uint8Array): void;
  /** The answer has begun. */
  protected abstract onAnswer(): void;
  /** The answer has ended, with the peer's status: OK if `failure` is undefined. */
  protected abstract onStatus(failure: CallFailure | undefined): void;
  /** The call was ended from this side, or broke off. */
  protected abstract onFailure(failure: CallFailure): void;
  /** All of the request, framed, if it is known. */
  protected abstract wholeRequest(): Uint8Array | undefined;
  /** Begins to send a request that is not. */
  protected abstract send(stream: ClientStream): void;
  abstract onDrain(): void;

  get isOver(): boolean {
    return this.#isOver;
  }

  get answerHeaders(): MetadataEntries {
    return entriesOf(this.#rawHeaders);
  }

  get answerTrailers(): MetadataEntries {
    return entriesOf(this.#status?.raw ?? []);
  }

  /** Watches the deadline and the signal. @returns whether the call may go on */
  start(): boolean {
    const { deadlineMs, onCancel } = this.#options;
    if (onCancel === undefined) this.#watchSignal(this.#options.signal);
    else onCancel((reason) => this.fail(ownFailure(reason, this.mayHaveRun)));
    if (this.#isOver) return false;
    if (deadlineMs !== undefined) {
      if (deadlineMs <= performance.now()) {
        this.onDue();
        return false;
      }
      this.host.wheel.set(this, deadlineMs);
    }
    return true;
  }

  #watchSignal(signal: AbortSignal | undefined): void {
    if (signal === undefined) return;
    this.#onAbort = () => this.fail(ownFailure(signal.reason, this.mayHaveRun));
    if (signal.aborted) this.#onAbort();
    else signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** Opens a stream; the connection has room for it. */
  attach(connection: Connection): void {
    this.#connection = connection;
    const whole = this.wholeRequest();
    const stream = connection.openStream(this.#path, this.#requestHeaders(), this, whole);
    this.stream = stream;
    if (whole === undefined) this.send(stream);
  }

  override onDue(): void {
    this.fail(localFailure("DEADLINE_EXCEEDED", "the call's deadline has passed", this.mayHaveRun));
  }

  /** Ends the call from this side; does nothing once it has ended. */
  fail(failure: CallFailure): void {
    if (this.#isOver) return;
    this.#finish();
    const { stream } = this;
    if (stream === undefined) this.host.forget(this);
    this.onFailure(failure);
    stream?.close(errorCode.cancel);
  }

  /** Whether the peer may have begun to work on it. */
  protected get mayHaveRun(): boolean {
    return this.stream !== undefined;
  }

  onHeaders(headers: HeaderList): void {
    this.#connection?.noteLife();
    if (this.#isOver) return;
    this.#isAnswered = true;
    const status = Number(valueOf(headers, ":status"));
    const isGrpc = /^application\/grpc(?:[+;\s]|$)/i.test(valueOf(headers, "content-type") ?? "");
    if (status !== 200 || !isGrpc) {
      this.fail(status === 200 ? notGrpc() : httpFailure(status));
      return;
    }
    this.isPacked = valueOf(headers, "grpc-encoding") === "gzip";
    if (valueOf(headers, "grpc-status") !== undefined) {
      this.#status = { failure: statusOf(headers), raw: headers };
      return;
    }
    this.#rawHeaders = headers;
    this.onAnswer();
  }

  onTrailers(trailers: HeaderList): void {
    this.#status ??= { failure: statusOf(trailers, this.answerHeaders), raw: trailers };
  }

  onData(chunk: Uint8Array): void {
    this.#connection?.noteLife();
    if (this.#isOver) return;
    try {
      this.take(chunk);
    } catch (error) {
      this.fail(ownFailure(error, true));
    }
  }

  onEnd(): void {
    if (this.#isOver) return;
    this.#finish();
    if (this.#status !== undefined) this.onStatus(this.#status.failure);
    else this.onFailure(withoutStatus());
  }

  onClose(): void {
    const connection = this.#connection;
    const stream = this.stream;
    if (connection === undefined) return;
    if (!this.#isOver) {
      this.#finish();
      if (this.#status !== undefined) this.onStatus(this.#status.failure);
      else if (stream !== undefined) this.onFailure(this.#broken(connection, stream));
    }
    connection.closeStream();
  }

  #finish(): void {
    this.#isOver = true;
    this.host.wheel.clear(this);
    if (this.#onAbort !== undefined) {
      this.#options.signal?.removeEventListener("abort", this.#onAbort);
    }
  }

  #broken(connection: Connection, stream: ClientStream): CallFailure {
    if (stream.problem !== undefined) return badHeaders(stream.problem);
    if (connection.neverSaw(stream)) {
      const text = "the peer has closed the connection before it took the call";
      return localFailure("PEER_UNAVAILABLE", text, false);
    }
    const { resetCode } = stream;
    if (resetCode === undefined) {
      const reason = this.host.lostReason();
      const text =
        reason === "SHUTTING_DOWN"
          ? "this server is shutting down"
          : "the connection was lost during the call";
      return localFailure(reason, text, true);
    }
    const isEndless = resetCode === errorCode.none && this.#isAnswered;
    return isEndless ? withoutStatus() : resetFailure(resetCode);
  }

  #requestHeaders(): HeaderList {
    const { deadlineMs, metadata } = this.#options;
    const passed = metadata === undefined ? noHeaders : passableHeaders(metadata);
    if (deadlineMs === undefined) return passed;
    return ["grpc-timeout", formatTimeout(deadlineMs - performance.now()), ...passed];
  }
}

const noHeaders: HeaderList = [];

function notGrpc(): CallFailure {
  return new CallFailure("the peer answers with something that is no gRPC", {
    code: Code.Unknown,
    mayHaveRun: true,
  });
}

function withoutStatus(): CallFailure {
  return new CallFailure("the peer has ended its answer without a status", {
    code: Code.Unknown,
    mayHaveRun: true,
  });
}

function badHeaders(problem: "malformed" | "too large"): CallFailure {
  const isLarge = problem === "too large";
  const text = isLarge
    ? "the headers of the peer's answer are larger than the limit (headerBytesMax)"
    : "the headers of the peer's answer are none of HTTP/2";
  return new CallFailure(text, {
    code: isLarge ? Code.ResourceExhausted : Code.Internal,
    mayHaveRun: true,
  });
}
