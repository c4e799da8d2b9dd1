import { constants, open } from "node:fs";
import { Socket } from "node:net";
import { addAbortSignal } from "node:stream";
import { promisify } from "node:util";
import { pause } from "./pause.ts";
import type { Sink } from "./sink.ts";

/** How often it is looked whether somebody reads. */
const lookMs = 20;

/**
 * A named pipe on its way to whoever reads it. Waiting for readers, to come or to go on, takes no thread of Node, which
 * could not be ended then.
 */
export class NamedPipeSink implements Sink {
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    // The write that it comes from tells of it.
    socket.on("error", () => undefined);
  }

  static async open(path: string, signal: AbortSignal | undefined): Promise<NamedPipeSink> {
    const fd = await openForWriting(path, signal);
    const socket = new Socket({ fd, readable: false, writable: true });
    const sink = new NamedPipeSink(socket);
    if (signal !== undefined) addAbortSignal(signal, socket);
    return sink;
  }

  async write(bytes: Uint8Array): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#socket.write(bytes, (error) => {
      if (error === null || error === undefined) resolve();
      else reject(error);
    });
    await promise;
  }

  async finish(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#socket.once("error", reject).end(resolve);
    await promise;
  }

  async discard(): Promise<void> {
    this.#socket.destroy();
  }
}

async function openForWriting(path: string, signal: AbortSignal | undefined): Promise<number> {
  const flags = constants.O_WRONLY | constants.O_NONBLOCK;
  for (;;) {
    try {
      return await promisify(open)(path, flags);
    } catch (error) {
      const isUnread = error instanceof Error && "code" in error && error.code === "ENXIO";
      if (!isUnread) throw error;
    }
    await pause(lookMs, signal);
  }
}
