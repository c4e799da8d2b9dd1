import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  connect as http2Connect,
} from "node:http2";
import type { Socket } from "node:net";
import type { HeaderList } from "../grpc/server-stream.ts";
import { localFailure } from "./failures.ts";
import { UnblockedSocket } from "./unblocked-socket.ts";

/** The window of a stream and of a connection: what may be on its way to us, in bytes. */
const windowBytes = 8 * 1024 * 1024;

/** What one session may hold, in MiB. */
const sessionMemoryMib = 64;

/** Streams at a time, where the peer allows more. */
const streamsMax = 1000;

/** How long a peer that is asked for a sign of life may take. */
const pingAnswerMs = 10_000;

const keepAliveMaxMs = 600_000;

export interface ConnectionOptions {
  readonly url: string;
  readonly headerBytesMax: number;
  /** Until the peer has sent its settings: before that it is not known to speak HTTP/2. */
  readonly connectMs: number;
  readonly idleMs: number;
  readonly keepAliveMs: number;
  /** A stream has ended, so there may be room for another. */
  readonly onRoom: () => void;
  /** It takes no more streams. Those that it has may go on. */
  readonly onLeave: (connection: Connection) => void;
  /** All of its streams have ended. */
  readonly onClose: (connection: Connection) => void;
}

/** One HTTP/2 connection to another server. */
export class Connection implements AsyncDisposable {
  readonly #options: ConnectionOptions;
  readonly #session: ClientHttp2Session;
  readonly #socket: Socket;
  readonly #closed: Promise<void>;
  #active = 0;
  #isGone = false;
  #isLost = false;
  #lastStreamId = Number.POSITIVE_INFINITY;
  #heardOf = true;
  #idleSinceMs = performance.now();
  #keepAliveMs: number;
  #watch: NodeJS.Timeout | undefined;

  private constructor(socket: Socket, options: ConnectionOptions) {
    this.#options = options;
    this.#socket = socket;
    this.#keepAliveMs = options.keepAliveMs;
    // Before the session adds its own: streams must find out that the connection is lost.
    socket.once("close", () => {
      this.#isLost = true;
    });
    const session = http2Connect(options.url, {
      createConnection: () => new UnblockedSocket(socket),
      maxSessionMemory: sessionMemoryMib,
      settings: {
        enablePush: false,
        initialWindowSize: windowBytes,
        maxHeaderListSize: options.headerBytesMax,
      },
    });
    this.#session = session;
    session.on("error", ignore);
    session.on("connect", () => session.setLocalWindowSize(windowBytes));
    session.on("goaway", (code: number, lastStreamId: number) => {
      this.#lastStreamId = Math.min(this.#lastStreamId, lastStreamId);
      if (code === constants.NGHTTP2_ENHANCE_YOUR_CALM) this.isPeerAnnoyed = true;
      this.#leave();
    });
    this.#closed = new Promise((resolve) => {
      session.once("close", () => {
        clearInterval(this.#watch);
        this.#leave();
        options.onClose(this);
        resolve();
      });
    });
  }

  /** Whether the peer has closed it for being asked too much. */
  isPeerAnnoyed = false;

  /** Speaks HTTP/2 on a socket that is connected. @throws {CallFailure} PEER_UNAVAILABLE */
  static open(socket: Socket, options: ConnectionOptions): Promise<Connection> {
    const connection = new Connection(socket, options);
    const session = connection.#session;
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => {
        clearTimeout(timer);
        session.destroy();
        reject(localFailure("PEER_UNAVAILABLE", `${options.url} cannot be reached: ${why}`, false));
      };
      const timer = setTimeout(fail, options.connectMs, "no answer");
      const onClose = (): void => fail("it speaks no HTTP/2");
      session.once("close", onClose);
      session.once("remoteSettings", () => {
        clearTimeout(timer);
        session.off("close", onClose);
        connection.#startWatch();
        resolve(connection);
      });
    });
  }

  get active(): number {
    return this.#active;
  }

  /** Whether a stream can be opened at once. */
  get hasRoom(): boolean {
    if (this.#isGone || this.#session.closed || this.#session.destroyed) return false;
    return this.#active < (this.#session.remoteSettings.maxConcurrentStreams ?? streamsMax);
  }

  /** Whether the peer says that it never looked at this stream. */
  neverSaw(stream: ClientHttp2Stream): boolean {
    return stream.id !== undefined && stream.id > this.#lastStreamId;
  }

  /** Whether the connection broke, so that how its streams ended says nothing. */
  get isLost(): boolean {
    return this.#isLost || this.#socket.destroyed;
  }

  /** Opens a stream; `closeStream` follows when it is closed. @throws if the headers cannot be sent */
  openStream(headers: HeaderList, endStream: boolean): ClientHttp2Stream {
    const stream = this.#session.request(headers, { endStream });
    this.#active += 1;
    return stream;
  }

  closeStream(): void {
    this.#active -= 1;
    if (this.#active === 0) this.#idleSinceMs = performance.now();
    this.#options.onRoom();
  }

  /** The peer has sent something. */
  noteLife(): void {
    this.#heardOf = true;
  }

  /** Takes no more streams; closes when those that it has are done. */
  retire(): void {
    if (!this.#session.closed && !this.#session.destroyed) this.#session.close();
    this.#leave();
  }

  /** Ends every stream and closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#break();
    await this.#closed;
  }

  /** A session that was leaving would otherwise wait for the peer to close. */
  #break(): void {
    this.#isLost = true;
    this.#session.destroy();
    this.#socket.destroy();
  }

  #leave(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#options.onLeave(this);
  }

  #startWatch(): void {
    const everyMs = Math.max(1, Math.min(this.#keepAliveMs, this.#options.idleMs));
    this.#watch = setInterval(() => this.#look(), everyMs).unref();
  }

  #look(): void {
    if (this.#active === 0) {
      if (performance.now() - this.#idleSinceMs >= this.#options.idleMs) this.retire();
      return;
    }
    if (this.#heardOf) {
      this.#heardOf = false;
      return;
    }
    this.#ping();
  }

  /** A connection that is half open says nothing by itself. */
  #ping(): void {
    if (this.#session.destroyed) return;
    const giveUp = setTimeout(() => this.#break(), pingAnswerMs);
    const isSent = this.#session.ping((error) => {
      clearTimeout(giveUp);
      if (error === null) this.#heardOf = true;
    });
    if (!isSent) clearTimeout(giveUp);
  }
}

/** How long to wait between pings with a peer that found them too many. */
export function calmer(keepAliveMs: number): number {
  return Math.min(keepAliveMaxMs, keepAliveMs * 2);
}

function ignore(): void {
  // A session that fails is closed, and that is what counts.
}
