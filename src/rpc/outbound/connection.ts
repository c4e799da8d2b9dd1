import type { Socket } from "node:net";
import type { HeaderList } from "../grpc/server-stream.ts";
import { ClientSession } from "../http2/client-session.ts";
import type { ClientStream, ClientStreamListener } from "../http2/client-stream.ts";
import { errorCode } from "../http2/frames.ts";
import { localFailure } from "./failures.ts";

/** The window of a stream and of a connection: what may be on its way to us, in bytes. */
const windowBytes = 8 * 1024 * 1024;

/** What is held for the streams of one connection that are paused. */
const heldBytesMax = 64 * 1024 * 1024;

/** Streams at a time, where the peer allows more. */
const streamsMax = 1000;

/** How long a peer that is asked for a sign of life may take. */
const pingAnswerMs = 10_000;

const keepAliveMaxMs = 600_000;

export interface ConnectionOptions {
  readonly url: string;
  /** What each request begins with. */
  readonly baseHeaders: HeaderList;
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
  readonly #session: ClientSession;
  readonly #closed: Promise<void>;
  readonly #isOpen: Promise<boolean>;
  #active = 0;
  #isGone = false;
  #heardOf = true;
  #idleSinceMs = performance.now();
  #keepAliveMs: number;
  #watch: NodeJS.Timeout | undefined;

  private constructor(socket: Socket, options: ConnectionOptions) {
    this.#options = options;
    this.#keepAliveMs = options.keepAliveMs;
    const open = Promise.withResolvers<boolean>();
    const closed = Promise.withResolvers<void>();
    this.#isOpen = open.promise;
    this.#closed = closed.promise;
    this.#session = new ClientSession({
      socket,
      baseHeaders: options.baseHeaders,
      headerBytesMax: options.headerBytesMax,
      windowBytes,
      heldBytesMax,
      onReady: () => open.resolve(true),
      onGoAway: (code) => {
        if (code === errorCode.enhanceYourCalm) this.isPeerAnnoyed = true;
        this.#leave();
      },
      onClose: () => {
        open.resolve(false);
        clearInterval(this.#watch);
        this.#leave();
        options.onClose(this);
        closed.resolve();
      },
    });
  }

  /** Whether the peer has closed it for being asked too much. */
  isPeerAnnoyed = false;

  /** Speaks HTTP/2 on a socket that is connected. @throws {CallFailure} PEER_UNAVAILABLE */
  static async open(socket: Socket, options: ConnectionOptions): Promise<Connection> {
    const connection = new Connection(socket, options);
    let why = "it speaks no HTTP/2";
    const timer = setTimeout(() => {
      why = "no answer";
      connection.#session.destroy();
    }, options.connectMs);
    const isOpen = await connection.#isOpen;
    clearTimeout(timer);
    if (!isOpen) {
      throw localFailure("PEER_UNAVAILABLE", `${options.url} cannot be reached: ${why}`, false);
    }
    connection.#startWatch();
    return connection;
  }

  get active(): number {
    return this.#active;
  }

  /** Whether a stream can be opened at once. */
  get hasRoom(): boolean {
    if (this.#isGone || this.#session.isClosed) return false;
    return this.#active < Math.min(this.#session.streamsMax, streamsMax);
  }

  /** Whether the peer has provably not taken this stream. */
  neverSaw(stream: ClientStream): boolean {
    return this.#session.neverSaw(stream);
  }

  /**
   * Opens a stream; `closeStream` follows when it is closed.
   *
   * @param body all of the request's data, if it is known
   */
  openStream(
    path: string,
    headers: HeaderList,
    listener: ClientStreamListener,
    body?: Uint8Array,
  ): ClientStream {
    this.#active += 1;
    return this.#session.open(path, headers, listener, body);
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
    this.#session.close();
    this.#leave();
  }

  /** Ends every stream and closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#session.destroy();
    await this.#closed;
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
    const giveUp = setTimeout(() => this.#session.destroy(), pingAnswerMs);
    this.#session.ping((isAnswered) => {
      clearTimeout(giveUp);
      if (isAnswered) this.#heardOf = true;
    });
  }
}

/** How long to wait between pings with a peer that found them too many. */
export function calmer(keepAliveMs: number): number {
  return Math.min(keepAliveMaxMs, keepAliveMs * 2);
}
