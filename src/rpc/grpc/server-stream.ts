/** Header values as an HTTP/2 engine hands them over; names are lower case. */
export type IncomingHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/** What goes out in a header block: name, value, name, value. Pseudo-headers come first. */
export type HeaderList = readonly string[];

/** What an engine tells about one stream, after {@link ServerStream.listen}. */
export interface StreamListener {
  /** Bytes of the request. The chunk may be a view of a larger receive buffer. */
  onData(chunk: Uint8Array): void;
  /** The peer has half-closed: no more data comes. */
  onEnd(): void;
  /** What was buffered has gone out. */
  onDrain(): void;
  /**
   * The stream is gone: finished, reset by either side, or lost with its connection. Always comes,
   * once, and last.
   */
  onClose(): void;
}

/**
 * One HTTP/2 stream, seen from the server: all that the gRPC adapter asks of an HTTP/2 engine.
 *
 * After the stream is gone every method is a no-op, so that a handler that answers late needs no
 * check of its own.
 */
export interface ServerStream {
  /** Address of the peer, `127.0.0.1:40412`. */
  readonly peer: string;
  /** Bytes written that the peer's window (or the socket) has not taken yet. */
  readonly bufferedBytes: number;
  /** Bytes received while paused and held by the engine. */
  readonly heldBytes: number;

  /** Starts delivery to `listener`, which is never called before this returns. */
  listen(listener: StreamListener): void;
  /** Lets the peer's window run out; what is in flight is held, see {@link heldBytes}. */
  pause(): void;
  resume(): void;

  /** Sends the header block that opens an answer. */
  respond(headers: HeaderList): void;
  /**
   * @param onLeft called once nothing reads the chunk any more; never if it was given up
   * @returns whether so much is buffered that {@link StreamListener.onDrain} will be called
   */
  write(chunk: Uint8Array, onLeft?: () => void): boolean;
  /** {@link write} for chunks that belong together. */
  writeAll(chunks: readonly Uint8Array[]): boolean;
  /** Ends an answer that {@link respond} began. What the peer still sends is discarded. */
  end(trailers: HeaderList): void;
  /** `respond`, `write` and `end` in one, for as few writes as the engine can make of it. */
  respondWith(headers: HeaderList, body: Uint8Array, trailers: HeaderList): void;
  /** Answers with one header block and nothing else. */
  respondOnly(headers: HeaderList): void;
  /** The connection is between linked collectors: limits of streams and connections do not count it. */
  exemptConnection(): void;
  /** Gives up at once, dropping what is buffered. The peer sees a cancelled stream. */
  cancel(): void;
}
