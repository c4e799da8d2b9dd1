import {
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from "node:http2";
import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  decodeBinaryHeader,
  type Transport,
  type UnaryResponse,
} from "@connectrpc/connect";
import { StatusSchema } from "../gen/google/rpc/status_pb.ts";
import { type ClientError, connectionBroken } from "./client-error.ts";
import { Deadlines, type Due } from "./deadlines.ts";
import type { Http2Connection } from "./http2-connection.ts";

type HeadersInit = ConstructorParameters<typeof Headers>[0];

export interface GrpcUnaryOptions {
  /** Of the server, for messages. */
  readonly url: string;
  readonly connection: Http2Connection;
  /** Sent with every call that does not have them. */
  readonly headers: Readonly<Record<string, string>>;
  /** Deadline of calls that set none. */
  readonly timeoutMs: number;
  readonly messageBytesMax: number;
  readonly state: { readonly isClosed: boolean };
}

/** A flag and four bytes of length before a message. */
const prefixBytes = 5;

/** The last of gRPC's codes. */
const codeMax = 16;

/** What a proxy's HTTP status means, where no gRPC server has answered. */
const codeByHttpStatus: Readonly<Record<number, Code>> = {
  400: Code.Internal,
  401: Code.Unauthenticated,
  403: Code.PermissionDenied,
  404: Code.Unimplemented,
  429: Code.Unavailable,
  502: Code.Unavailable,
  503: Code.Unavailable,
  504: Code.Unavailable,
};

/**
 * Unary gRPC calls with little around them: most of what a client does are these. What they throw is a ConnectError,
 * or a ClientError if the connection broke.
 */
export function grpcUnary(options: GrpcUnaryOptions): Transport["unary"] {
  const { url, messageBytesMax, state } = options;
  const opener = new StreamOpener(options.connection, options.headers);
  const deadlines = new Deadlines();
  return <I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: HeadersInit | undefined,
    input: MessageInitShape<I>,
  ): Promise<UnaryResponse<I, O>> =>
    new Promise((resolve, reject) => {
      if (state.isClosed) throw new ConnectError("the client is closed", Code.Canceled);
      const request = toBinary(method.input, create(method.input, input));
      const deadlineMs = timeoutMs ?? options.timeoutMs;
      const call = new UnaryCall({
        url,
        signal,
        timeoutMs: deadlineMs,
        deadlines,
        bytesMax: messageBytesMax,
        resolve: (message) => resolve(new Answer(method, fromBinary(method.output, message), call)),
        reject,
      });
      call.run(opener, method, header, request);
    });
}

/** Opens the streams of calls, with what all of them send. */
class StreamOpener {
  readonly #connection: Http2Connection;
  readonly #headers: Readonly<Record<string, string>>;
  /** The same and what HTTP/2 asks for, name and value in turns. */
  readonly #list: readonly string[];
  /** The headers of the calls of a method that have the same timeout as its last one. */
  readonly #lists = new WeakMap<DescMethodUnary, MethodHeaders>();

  constructor(connection: Http2Connection, headers: Readonly<Record<string, string>>) {
    this.#connection = connection;
    this.#headers = {
      te: "trailers",
      "content-type": "application/grpc",
      "user-agent": "collector-client",
      ...headers,
    };
    const { host, protocol } = new URL(connection.authority);
    const first = [":method", "POST", ":scheme", protocol.slice(0, -1), ":authority", host];
    this.#list = [...first, ...Object.entries(this.#headers).flat()];
  }

  /** Undefined if there is no connection yet. */
  atOnce(method: DescMethodUnary, timeoutMs: number): ClientHttp2Stream | undefined {
    let known = this.#lists.get(method);
    if (known?.timeoutMs !== timeoutMs) {
      const list = [...this.#list, ":path", pathOf(method)];
      if (timeoutMs > 0) list.push("grpc-timeout", `${Math.ceil(timeoutMs)}m`);
      known = { timeoutMs, list };
      this.#lists.set(method, known);
    }
    return this.#connection.openAtOnce(known.list);
  }

  /** Over a connection that is opened for it, or with headers of the call's own. @throws {ConnectError} */
  async open(
    method: DescMethodUnary,
    header: HeadersInit | undefined,
    timeoutMs: number,
  ): Promise<ClientHttp2Stream> {
    const headers: OutgoingHttpHeaders = { ...this.#headers };
    if (timeoutMs > 0) headers["grpc-timeout"] = `${Math.ceil(timeoutMs)}m`;
    if (header !== undefined)
      for (const [name, value] of new Headers(header)) headers[name] = value;
    return await this.#connection.request("POST", pathOf(method), headers);
  }
}

interface MethodHeaders {
  readonly timeoutMs: number;
  readonly list: readonly string[];
}

function pathOf({ parent, name }: DescMethodUnary): string {
  return `/${parent.typeName}/${name}`;
}

/** What a call answers; headers are made of what came when they are asked for, which is seldom. */
class Answer<I extends DescMessage, O extends DescMessage> implements UnaryResponse<I, O> {
  readonly stream = false;
  readonly method: DescMethodUnary<I, O>;
  readonly message: MessageShape<O>;
  readonly #call: UnaryCall;

  constructor(method: DescMethodUnary<I, O>, message: MessageShape<O>, call: UnaryCall) {
    this.method = method;
    this.message = message;
    this.#call = call;
  }

  get service(): UnaryResponse<I, O>["service"] {
    return this.method.parent;
  }

  get header(): Headers {
    return toHeaders(this.#call.headers);
  }

  get trailer(): Headers {
    return toHeaders(this.#call.trailers);
  }
}

interface UnaryCallOptions {
  readonly url: string;
  readonly signal: AbortSignal | undefined;
  /** None if it is 0. */
  readonly timeoutMs: number;
  readonly deadlines: Deadlines;
  readonly bytesMax: number;
  /** Takes the one message of the answer. */
  readonly resolve: (message: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
}

/** One call, from its request to its end, which comes once. */
class UnaryCall implements Due {
  headers: IncomingHttpHeaders = {};
  trailers: IncomingHttpHeaders = {};
  dueMs = 0;
  place = -1;
  readonly #options: UnaryCallOptions;
  /** What has come, if anything: most answers come in one piece. */
  #chunks: Buffer[] | undefined;
  #received = 0;
  #stream: ClientHttp2Stream | undefined;
  #onAbort: (() => void) | undefined;
  #isOver = false;
  #broken: unknown;

  constructor(options: UnaryCallOptions) {
    this.#options = options;
  }

  /** @throws {ConnectError} if the signal has fired before */
  run(
    opener: StreamOpener,
    method: DescMethodUnary,
    header: HeadersInit | undefined,
    request: Uint8Array,
  ): void {
    const { signal, timeoutMs, deadlines } = this.#options;
    if (signal !== undefined) {
      if (signal.aborted) throw ConnectError.from(signal.reason, Code.Canceled);
      this.#onAbort = () => this.#fail(ConnectError.from(signal.reason, Code.Canceled));
      signal.addEventListener("abort", this.#onAbort, { once: true });
    }
    if (timeoutMs > 0) {
      this.dueMs = performance.now() + timeoutMs;
      deadlines.add(this);
    }
    try {
      const stream = header === undefined ? opener.atOnce(method, timeoutMs) : undefined;
      if (stream === undefined) void this.#open(opener.open(method, header, timeoutMs), request);
      else this.#begin(stream, request);
    } catch (error) {
      this.#finish();
      throw error;
    }
  }

  onDue(): void {
    this.#fail(new ConnectError("the operation timed out", Code.DeadlineExceeded));
  }

  /** Nobody watches it any more. */
  #finish(): void {
    this.#isOver = true;
    const { signal, timeoutMs, deadlines } = this.#options;
    if (timeoutMs > 0) deadlines.remove(this);
    if (this.#onAbort !== undefined) signal?.removeEventListener("abort", this.#onAbort);
  }

  async #open(opened: Promise<ClientHttp2Stream>, request: Uint8Array): Promise<void> {
    let stream: ClientHttp2Stream;
    try {
      stream = await opened;
    } catch (error) {
      this.#fail(ConnectError.from(error));
      return;
    }
    if (!this.#isOver) {
      this.#begin(stream, request);
      return;
    }
    stream.on("error", ignore);
    stream.close(constants.NGHTTP2_CANCEL);
  }

  #begin(stream: ClientHttp2Stream, request: Uint8Array): void {
    this.#stream = stream;
    const { session } = stream;
    stream.on("response", (received) => {
      this.headers = received;
    });
    stream.on("trailers", (received) => {
      this.trailers = received;
    });
    stream.on("data", (chunk: Buffer) => this.#onData(chunk));
    stream.on("end", () => this.#onEnd());
    stream.on("error", (error) => {
      this.#broken = error;
    });
    stream.on("close", () => {
      if (!this.#isOver) this.#fail(this.#lost(stream.rstCode, session?.destroyed !== false));
      // Through its listeners a closed stream would be kept by the one before it, see decision 0024.
      stream.removeAllListeners("removeListener").removeAllListeners();
      stream.on("error", ignore);
    });
    stream.end(frameOf(request));
  }

  #onData(chunk: Buffer): void {
    this.#received += chunk.byteLength;
    const { bytesMax } = this.#options;
    if (this.#received > bytesMax + prefixBytes) {
      const limit = `the answer is larger than the limit of ${bytesMax} bytes`;
      this.#fail(new ConnectError(limit, Code.ResourceExhausted));
      return;
    }
    if (this.#chunks === undefined) this.#chunks = [chunk];
    else this.#chunks.push(chunk);
  }

  #onEnd(): void {
    if (this.#isOver) return;
    const failure = statusOf(this.headers, this.trailers);
    if (failure === "none") return;
    if (failure !== undefined) {
      this.#fail(failure);
      return;
    }
    const chunks = this.#chunks ?? [];
    const bytes = chunks.length < 2 ? chunks[0] : Buffer.concat(chunks);
    const problem = problemOf(bytes);
    if (bytes === undefined || problem !== undefined) {
      this.#fail(new ConnectError(problem ?? "no message came", Code.Internal));
      return;
    }
    this.#finish();
    try {
      this.#options.resolve(bytes.subarray(prefixBytes));
    } catch (error) {
      this.#options.reject(error);
    }
  }

  /** Ends the call from this side; does nothing once it has ended. */
  #fail(error: ConnectError | ClientError): void {
    if (this.#isOver) return;
    this.#finish();
    const stream = this.#stream;
    if (stream !== undefined && !stream.destroyed) {
      stream.resume();
      stream.close(constants.NGHTTP2_CANCEL);
    }
    this.#options.reject(error);
  }

  /** Why a stream has ended without a status. */
  #lost(rstCode: number | undefined, isLost: boolean): ConnectError | ClientError {
    const httpStatus = Number(this.headers[":status"] ?? 200);
    if (httpStatus !== 200) {
      return new ConnectError(`HTTP ${httpStatus}`, codeByHttpStatus[httpStatus] ?? Code.Unknown);
    }
    const { NGHTTP2_REFUSED_STREAM, NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM } = constants;
    if (rstCode === NGHTTP2_REFUSED_STREAM)
      return new ConnectError("the server takes no more calls", Code.Unavailable);
    if (rstCode === NGHTTP2_ENHANCE_YOUR_CALM)
      return new ConnectError("the server is asked too much", Code.ResourceExhausted);
    if (rstCode === NGHTTP2_CANCEL && !isLost)
      return new ConnectError("the server gave the call up", Code.Canceled);
    // Nobody can tell whether the call was run.
    return connectionBroken(this.#options.url, this.#broken);
  }
}

function frameOf(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(prefixBytes + message.byteLength);
  frame[0] = 0;
  frame.writeUInt32BE(message.byteLength, 1);
  frame.set(message, prefixBytes);
  return frame;
}

/** What is wrong with the body of an answer that should be one message. */
function problemOf(bytes: Buffer | undefined): string | undefined {
  if (bytes === undefined || bytes.byteLength < prefixBytes) return "the answer holds no message";
  const { byteLength } = bytes;
  const declared = bytes.readUInt32BE(1);
  if (bytes[0] !== 0) return "the answer is compressed although that was not asked for";
  if (declared === byteLength - prefixBytes) return undefined;
  return `the answer should be one message of ${declared} bytes, and has ${byteLength - prefixBytes}`;
}

/** The failure that the server tells of; undefined for OK, `none` if it says nothing. */
function statusOf(
  headers: IncomingHttpHeaders,
  trailers: IncomingHttpHeaders,
): ConnectError | undefined | "none" {
  const source = trailers["grpc-status"] === undefined ? headers : trailers;
  const text = source["grpc-status"];
  if (text === undefined) return "none";
  if (text === "0") return undefined;
  const number = Number(text);
  const code = Number.isInteger(number) && number > 0 && number <= codeMax ? number : Code.Unknown;
  const details = source["grpc-status-details-bin"];
  const message = decodeMessage(String(source["grpc-message"] ?? ""));
  const error = new ConnectError(message, code, toHeaders(source));
  if (typeof details === "string") {
    const status = decodeBinaryHeader(details, StatusSchema);
    error.details = status.details.map(({ typeUrl, value }) => ({
      type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
      value,
    }));
  }
  return error;
}

/** What cannot be decoded is shown as it came. */
function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function toHeaders(received: IncomingHttpHeaders): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(received)) {
    if (name.startsWith(":") || value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) headers.append(name, one);
  }
  return headers;
}

function ignore(): void {
  // The call has ended before its stream was there.
}
