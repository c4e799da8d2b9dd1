import { Writable } from "node:stream";
import type { ServerStream } from "../grpc/server-stream.ts";
import { connectionHeaders } from "../http2/request-headers.ts";

/** An answer over HTTP/2, in the form of Node's for HTTP/1.1. Closing it early resets the stream. */
export class StreamResponse extends Writable {
  headersSent = false;
  readonly #stream: ServerStream;
  readonly #headers = new Map<string, string>();
  #trailers: string[] = [];
  #onDrain: (() => void) | undefined;
  #isLost = false;

  constructor(stream: ServerStream) {
    super();
    this.#stream = stream;
  }

  /** A header that goes out with those of {@link writeHead}. */
  setHeader(name: string, value: string): void {
    this.#headers.set(name.toLowerCase(), value);
  }

  writeHead(status: number, headers: Readonly<Record<string, string | number>>): void {
    if (this.headersSent) throw new Error("the headers of this answer are sent already");
    for (const [name, value] of Object.entries(headers)) this.setHeader(name, String(value));
    const list = [":status", String(status)];
    for (const [name, value] of this.#headers) {
      if (!connectionHeaders.has(name)) list.push(name, value);
    }
    if (!this.#headers.has("date")) list.push("date", new Date().toUTCString());
    this.headersSent = true;
    this.#stream.respond(list);
  }

  /** Headers that follow the body. */
  addTrailers(trailers: Readonly<Record<string, string>>): void {
    this.#trailers = Object.entries(trailers).flatMap(([name, value]) => [
      name.toLowerCase(),
      value,
    ]);
  }

  /** What was written has gone out. */
  drain(): void {
    const resolve = this.#onDrain;
    this.#onDrain = undefined;
    resolve?.();
  }

  /** The stream is gone. */
  lose(): void {
    this.#isLost = true;
    this.destroy();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (this.#stream.write(chunk)) this.#onDrain = done;
    else done();
  }

  override _final(done: () => void): void {
    this.#stream.end(this.#trailers);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!this.#isLost && !this.writableFinished) this.#stream.cancel();
    done(error);
  }
}
