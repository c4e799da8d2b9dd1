import { constants, type Http2Session, type ServerHttp2Stream } from "node:http2";
import type { HeaderList, ServerStream, StreamListener } from "./server-stream.ts";
import { okStatus } from "./status-trailers.ts";

const withTrailers = { waitForTrailers: true, sendDate: false };
const withoutBody = { endStream: true, sendDate: false };

/** A stream of `node:http2` as the gRPC adapter sees it. */
export class NodeHttp2Stream implements ServerStream {
  readonly #stream: ServerHttp2Stream;
  readonly #session: Http2Session | undefined;
  readonly exemptConnection: (() => void) | undefined;
  #trailers: HeaderList = [];
  #inputEnded = false;
  #discarding = false;
  #listener: StreamListener | undefined;

  /** @param exemptConnection what takes the connection out of the limits */
  constructor(stream: ServerHttp2Stream, exemptConnection?: () => void) {
    this.#stream = stream;
    this.exemptConnection = exemptConnection;
    this.#session = stream.session;
    // A stream that fails emits "error" and then "close", and "close" is all a listener wants.
    stream.on("error", ignore);
  }

  get peer(): string {
    return this.#session === undefined ? "unknown" : peerOf(this.#session);
  }

  get bufferedBytes(): number {
    return this.#stream.writableLength;
  }

  get heldBytes(): number {
    return this.#stream.readableLength;
  }

  listen(listener: StreamListener): void {
    const stream = this.#stream;
    stream.on("close", () => {
      listener.onClose();
      // Through its listeners a closed stream would be kept by the one before it, see decision 0024.
      // Without the engine's own of this name first, each of them would be told that it goes.
      stream.removeAllListeners("removeListener").removeAllListeners();
      stream.on("error", ignore);
    });
    this.#listener = listener;
    stream.on("end", () => {
      this.#inputEnded = true;
      if (!this.#discarding) listener.onEnd();
    });
    stream.on("data", (chunk: Uint8Array) => {
      if (!this.#discarding) listener.onData(chunk);
    });
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  respond(headers: HeaderList): void {
    if (this.#isGone) return;
    const stream = this.#stream;
    stream.on("wantTrailers", () => this.#sendTrailers());
    stream.respond(headers, withTrailers);
  }

  write(chunk: Uint8Array, onLeft?: () => void): boolean {
    const stream = this.#stream;
    if (this.#isGone) return false;
    const isTaken =
      onLeft === undefined
        ? stream.write(chunk)
        : stream.write(chunk, (error) => {
            if (error === undefined || error === null) onLeft();
          });
    if (isTaken) return false;
    // A unary answer never gets here, so it does not pay for the listener.
    if (stream.listenerCount("drain") === 0) {
      stream.once("drain", () => this.#listener?.onDrain());
    }
    return true;
  }

  writeAll(chunks: readonly Uint8Array[]): boolean {
    if (this.#isGone) return false;
    const stream = this.#stream;
    stream.cork();
    let willDrain = false;
    for (const chunk of chunks) willDrain = this.write(chunk) || willDrain;
    stream.uncork();
    return willDrain;
  }

  end(trailers: HeaderList): void {
    if (this.#isGone) return;
    this.#trailers = trailers;
    this.#stream.end();
    this.#discardInput();
  }

  respondWith(headers: HeaderList, body: Uint8Array, trailers: HeaderList): void {
    if (this.#isGone) return;
    this.#trailers = trailers;
    this.respond(headers);
    this.#stream.end(body);
    this.#discardInput();
  }

  respondOnly(headers: HeaderList): void {
    if (this.#isGone) return;
    const stream = this.#stream;
    stream.respond(headers, withoutBody);
    this.#discardInput();
    if (!this.#inputEnded) this.#stopPeer();
  }

  cancel(): void {
    this.#discardInput();
    this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  get #isGone(): boolean {
    return this.#stream.destroyed || this.#stream.closed;
  }

  #sendTrailers(): void {
    if (this.#isGone) return;
    const stream = this.#stream;
    // It copies what it is given.
    stream.sendTrailers(this.#trailers === okStatus ? okTrailers : toObject(this.#trailers));
    if (!this.#inputEnded) this.#stopPeer();
  }

  /** A stream whose input nobody reads would never close. */
  #discardInput(): void {
    if (this.#inputEnded) return;
    this.#discarding = true;
    this.#stream.resume();
  }

  /** RST_STREAM(NO_ERROR) after the answer: the peer need not send the rest of its request. */
  #stopPeer(): void {
    // `sendTrailers` submits in an immediate of its own; the reset must not overtake it.
    setImmediate(() => {
      if (!this.#inputEnded && !this.#stream.destroyed) {
        this.#stream.close(constants.NGHTTP2_NO_ERROR);
      }
    });
  }
}

const okTrailers = toObject(okStatus);

const peers = new WeakMap<Http2Session, string>();

/** `session.socket` is a proxy and slow to ask, so each session is asked once. */
function peerOf(session: Http2Session): string {
  let peer = peers.get(session);
  if (peer === undefined) {
    const socket = session.destroyed ? undefined : session.socket;
    const { remoteAddress = "unknown", remotePort = 0 } = socket ?? {};
    peer = remoteAddress.includes(":")
      ? `[${remoteAddress}]:${remotePort}`
      : `${remoteAddress}:${remotePort}`;
    peers.set(session, peer);
  }
  return peer;
}

/** `sendTrailers` takes no list. A repeated name becomes an array of its values. */
function toObject(list: HeaderList): Record<string, string | string[]> {
  const result: Record<string, string | string[]> = {};
  for (let i = 0; i + 1 < list.length; i += 2) {
    const name = list[i] ?? "";
    const value = list[i + 1] ?? "";
    const before = result[name];
    if (before === undefined) result[name] = value;
    else if (typeof before === "string") result[name] = [before, value];
    else before.push(value);
  }
  return result;
}

function ignore(): void {
  // See the constructor.
}
