import type { Socket } from "node:net";
import { Duplex } from "node:stream";

type Done = (error?: Error | null) => void;

/** What may wait for the kernel: more than what a peer's window of 8 MiB lets out. */
const waitingBytesMax = 16 * 1024 * 1024;

/**
 * A socket whose writes are done as soon as they are taken over.
 *
 * An HTTP/2 session of Node reads nothing while a write is under way. Two such peers that send much to
 * each other fill the kernel's buffers and then wait for each other for ever. One that always reads
 * is enough to prevent that. What waits here is bounded by the window that the peer gives.
 */
export class UnblockedSocket extends Duplex {
  readonly #socket: Socket;
  #waiting: Done | undefined;

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
    socket.on("data", (chunk) => {
      if (!this.push(chunk)) socket.pause();
    });
    socket.on("end", () => this.push(null));
    socket.on("drain", () => this.#continue());
    socket.on("close", () => this.destroy());
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Uint8Array, _encoding: string, done: Done): void {
    this.#socket.write(chunk);
    this.#finish(done);
  }

  override _writev(chunks: readonly { readonly chunk: Uint8Array }[], done: Done): void {
    this.#socket.cork();
    for (const { chunk } of chunks) this.#socket.write(chunk);
    this.#socket.uncork();
    this.#finish(done);
  }

  override _final(done: Done): void {
    this.#socket.end();
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    this.#socket.destroy();
    done(error);
  }

  #finish(done: Done): void {
    if (this.#socket.writableLength < waitingBytesMax) done();
    else this.#waiting = done;
  }

  #continue(): void {
    const done = this.#waiting;
    this.#waiting = undefined;
    done?.();
  }
}
