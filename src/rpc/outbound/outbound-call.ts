import { type ClientHttp2Stream, constants, type IncomingHttpHeaders } from "node:http2";
import { Code } from "@connectrpc/connect";
import { CallFailure, type CallOptions, type MetadataEntries } from "../../mesh/channel.ts";
import { passableHeaders } from "../grpc/metadata.ts";
import type { HeaderList } from "../grpc/server-stream.ts";
import { formatTimeout } from "../grpc/timeout.ts";
import { type TimerWheel, WheelEntry } from "../grpc/timer-wheel.ts";
import { entriesOf, statusOf } from "./answer-headers.ts";
import type { Connection } from "./connection.ts";
import { httpFailure, localFailure, ownFailure, resetFailure } from "./failures.ts";

/** What the calls of one channel have in common. */
export interface CallHost {
  readonly wheel: TimerWheel;
  readonly messageBytesMax: number;
  readonly streamBufferBytesMax: number;
  /** What each request begins with; its path and metadata follow. */
  readonly baseHeaders: HeaderList;
  /** Why a connection was lost. */
  readonly lostReason: () => "PEER_UNAVAILABLE" | "SHUTTING_DOWN";
  /** The call waits no longer. */
  readonly forget: (call: OutboundCall) => void;
}

/**
 * One call to another server, from the wait for a stream to its end, which comes once: by the peer's
 * status, by the deadline, by the caller's signal, or with the connection.
 */
export abstract class OutboundCall extends WheelEntry {
  protected readonly host: CallHost;
  readonly #path: string;
  readonly #options: CallOptions;
  #connection: Connection | undefined;
  protected stream: ClientHttp2Stream | undefined;
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
  protected abstract onData(chunk: Uint8Array): void;
  /** The answer has begun. */
  protected abstract onHeaders(): void;
  /** The answer has ended, with the peer's status: OK if `failure` is undefined. */
  protected abstract onStatus(failure: CallFailure | undefined): void;
  /** The call was ended from this side, or broke off. */
  protected abstract onFailure(failure: CallFailure): void;
  /** Sends the request, or begins to. */
  protected abstract send(stream: ClientHttp2Stream): void;

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
    const { deadlineMs, signal } = this.#options;
    if (signal !== undefined) {
      if (signal.aborted) {
        this.fail(ownFailure(signal.reason, false));
        return false;
      }
      this.#onAbort = () => this.fail(ownFailure(signal.reason, this.mayHaveRun));
      signal.addEventListener("abort", this.#onAbort, { once: true });
    }
    if (deadlineMs !== undefined) {
      if (deadlineMs <= performance.now()) {
        this.onDue();
        return false;
      }
      this.host.wheel.set(this, deadlineMs);
    }
    return true;
  }

  /** Opens a stream; the connection has room for it. */
  attach(connection: Connection): void {
    let stream: ClientHttp2Stream;
    try {
      stream = connection.openStream(this.#requestHeaders(), false);
    } catch (error) {
      this.fail(ownFailure(error, false));
      return;
    }
    this.#connection = connection;
    this.stream = stream;
    calls.set(stream, this);
    stream.on("response", onResponse);
    stream.on("trailers", onTrailers);
    stream.on("end", onEnd);
    stream.on("close", onClose);
    stream.on("error", ignore);
    this.send(stream);
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
    else if (!stream.destroyed) {
      stream.resume();
      stream.close(constants.NGHTTP2_CANCEL);
    }
    this.onFailure(failure);
  }

  /** Whether the peer may have begun to work on it. */
  protected get mayHaveRun(): boolean {
    return this.stream !== undefined;
  }

  /** For the engine's events. */
  noteResponse(headers: IncomingHttpHeaders, raw: HeaderList): void {
    this.#connection?.noteLife();
    // Not sooner: the engine would let data that came with the headers overtake them.
    this.stream?.on("data", onData);
    if (this.#isOver) return;
    this.#isAnswered = true;
    const status = Number(headers[":status"]);
    const isGrpc = /^application\/grpc(?:[+;\s]|$)/i.test(headers["content-type"] ?? "");
    if (status !== 200 || !isGrpc) {
      this.fail(status === 200 ? notGrpc() : httpFailure(status));
      return;
    }
    this.isPacked = headers["grpc-encoding"] === "gzip";
    if (headers["grpc-status"] !== undefined) {
      this.#status = { failure: statusOf(headers, raw), raw };
      return;
    }
    this.#rawHeaders = raw;
    this.onHeaders();
  }

  noteTrailers(headers: IncomingHttpHeaders, raw: HeaderList): void {
    this.#status ??= { failure: statusOf(headers, raw), raw };
  }

  noteData(chunk: Uint8Array): void {
    this.#connection?.noteLife();
    if (this.#isOver) return;
    try {
      this.onData(chunk);
    } catch (error) {
      this.fail(ownFailure(error, true));
    }
  }

  noteEnd(): void {
    // A stream that was reset ends too; what that means is known when it is closed.
    if (this.#isOver || this.#status === undefined) return;
    this.#finish();
    this.onStatus(this.#status.failure);
  }

  noteClose(): void {
    const connection = this.#connection;
    const stream = this.stream;
    if (connection === undefined || stream === undefined) return;
    connection.closeStream();
    if (this.#isOver) return;
    this.#finish();
    if (this.#status !== undefined) this.onStatus(this.#status.failure);
    else this.onFailure(this.#broken(connection, stream));
  }

  #finish(): void {
    this.#isOver = true;
    this.host.wheel.clear(this);
    if (this.#onAbort !== undefined) {
      this.#options.signal?.removeEventListener("abort", this.#onAbort);
    }
  }

  #broken(connection: Connection, stream: ClientHttp2Stream): CallFailure {
    if (connection.neverSaw(stream)) {
      const text = "the peer has closed the connection before it took the call";
      return localFailure("PEER_UNAVAILABLE", text, false);
    }
    if (connection.isLost) {
      const reason = this.host.lostReason();
      const text =
        reason === "SHUTTING_DOWN"
          ? "this server is shutting down"
          : "the connection was lost during the call";
      return localFailure(reason, text, true);
    }
    if (stream.rstCode === constants.NGHTTP2_NO_ERROR && this.#isAnswered) {
      return new CallFailure("the peer has ended its answer without a status", {
        code: Code.Unknown,
        mayHaveRun: true,
      });
    }
    return resetFailure(stream.rstCode ?? constants.NGHTTP2_INTERNAL_ERROR);
  }

  #requestHeaders(): HeaderList {
    const { deadlineMs, metadata } = this.#options;
    const headers = [...this.host.baseHeaders, ":path", this.#path];
    if (deadlineMs !== undefined) {
      headers.push("grpc-timeout", formatTimeout(deadlineMs - performance.now()));
    }
    if (metadata !== undefined) headers.push(...passableHeaders(metadata));
    return headers;
  }
}

function notGrpc(): CallFailure {
  return new CallFailure("the peer answers with something that is no gRPC", {
    code: Code.Unknown,
    mayHaveRun: true,
  });
}

const calls = new WeakMap<object, OutboundCall>();

function onResponse(
  this: ClientHttp2Stream,
  headers: IncomingHttpHeaders,
  _flags: number,
  raw: string[],
): void {
  calls.get(this)?.noteResponse(headers, raw);
}

function onTrailers(
  this: ClientHttp2Stream,
  headers: IncomingHttpHeaders,
  _flags: number,
  raw: string[],
): void {
  calls.get(this)?.noteTrailers(headers, raw);
}

function onData(this: ClientHttp2Stream, chunk: Uint8Array): void {
  calls.get(this)?.noteData(chunk);
}

function onEnd(this: ClientHttp2Stream): void {
  calls.get(this)?.noteEnd();
}

function onClose(this: ClientHttp2Stream): void {
  calls.get(this)?.noteClose();
}

function ignore(): void {
  // "close" follows, and knows more.
}
