import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionOptions,
  constants,
  connect as http2Connect,
  type OutgoingHttpHeaders,
  type SecureClientSessionOptions,
} from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";

/** A connection that was not used for so long is not trusted any more: something in between may have forgotten it. */
const idleMs = 15 * 60_000;

/** What Node says of a server that cannot be reached. */
const unreachable: ReadonlySet<string> = new Set([
  "EAI_AGAIN",
  "ECONNABORTED",
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTDOWN",
  "EHOSTUNREACH",
  "ENETDOWN",
  "ENETUNREACH",
  "ENOTFOUND",
  "EPIPE",
  "ETIMEDOUT",
]);

/**
 * One HTTP/2 connection, for the client's own calls and for connect-node's streams. It is opened by the first stream, and
 * again by the first one after it was lost, has said that it takes no more, or was idle for long; streams that it has go
 * on. It keeps the process alive while there are streams.
 */
export class Http2Connection {
  readonly authority: string;
  readonly #options: ClientSessionOptions | SecureClientSessionOptions;
  #session: ClientHttp2Session | undefined;
  #connecting: Promise<ClientHttp2Session> | undefined;
  #streams = 0;
  #usedMs = 0;

  constructor(url: string, options: ClientSessionOptions | SecureClientSessionOptions) {
    this.authority = new URL(url).origin;
    this.#options = options;
  }

  /**
   * A stream at once, if the connection is open.
   *
   * @param headers all of them, name and value in turns
   */
  openAtOnce(headers: readonly string[]): ClientHttp2Stream | undefined {
    const session = this.#usable();
    if (session === undefined) return undefined;
    try {
      return this.#count(session, session.request(headers));
    } catch (error) {
      if (!session.closed && !session.destroyed) throw error;
      return undefined;
    }
  }

  /** @throws {ConnectError} Unavailable if no server answers, Canceled if the connection is closed meanwhile */
  async request(
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
  ): Promise<ClientHttp2Stream> {
    for (;;) {
      const session = this.#usable() ?? (await this.#connect());
      try {
        const all = { ...headers, ":method": method, ":path": path };
        return this.#count(session, session.request(all));
      } catch (error) {
        // It has closed in this moment: another one is opened.
        if (!session.closed && !session.destroyed) throw error;
      }
    }
  }

  /** Part of what connect-node asks for; there is no keep-alive that it would put off. */
  notifyResponseByteRead(): void {
    this.#usedMs = performance.now();
  }

  /** Ends the connection and its streams. */
  abort(): void {
    const session = this.#session;
    this.#session = undefined;
    this.#connecting = undefined;
    session?.destroy(undefined, constants.NGHTTP2_CANCEL);
  }

  #usable(): ClientHttp2Session | undefined {
    const session = this.#session;
    if (session === undefined || session.connecting || session.closed || session.destroyed)
      return undefined;
    if (this.#streams > 0 || performance.now() - this.#usedMs < idleMs) return session;
    session.close();
    return undefined;
  }

  #connect(): Promise<ClientHttp2Session> {
    this.#connecting ??= this.#open();
    return this.#connecting;
  }

  #open(): Promise<ClientHttp2Session> {
    const session = http2Connect(this.authority, this.#options);
    this.#session = session;
    this.#streams = 0;
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        if (this.#session === session) this.#connecting = undefined;
      };
      session.once("connect", () => {
        settle();
        // Nobody waits for a connection without streams.
        if (this.#streams === 0) session.unref();
        this.#usedMs = performance.now();
        resolve(session);
      });
      session.on("error", (error) => {
        settle();
        reject(failureOf(error));
      });
      session.once("close", () => {
        const isOurs = this.#session !== session;
        settle();
        const code = isOurs ? Code.Canceled : Code.Unavailable;
        reject(new ConnectError("the connection was closed", code));
      });
    });
  }

  #count(session: ClientHttp2Session, stream: ClientHttp2Stream): ClientHttp2Stream {
    if (session !== this.#session) return stream;
    this.#streams += 1;
    if (this.#streams === 1) session.ref();
    stream.on("close", () => {
      if (session !== this.#session) return;
      this.#streams -= 1;
      if (this.#streams > 0) return;
      this.#usedMs = performance.now();
      if (!session.destroyed) session.unref();
    });
    return stream;
  }
}

function failureOf(error: Error): ConnectError {
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  const failure = ConnectError.from(
    error,
    unreachable.has(code) ? Code.Unavailable : Code.Internal,
  );
  failure.cause = error;
  return failure;
}
