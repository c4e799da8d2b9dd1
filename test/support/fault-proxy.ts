import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** From the one that connects to the one behind the proxy, or back. */
export type Direction = "up" | "down";

interface Pair {
  readonly near: Socket;
  readonly far: Socket;
}

/** Stands between two servers and does to their connections what networks do. */
export class FaultProxy implements AsyncDisposable {
  readonly address: string;
  readonly #pairs = new Set<Pair>();
  /** Sockets whose other side is gone without a word. */
  readonly #orphans = new Set<Socket>();
  readonly #frozen = new Set<Direction>();
  #delayMs = 0;
  readonly #close: () => Promise<void>;

  private constructor(address: string, close: () => Promise<void>) {
    this.address = address;
    this.#close = close;
  }

  /** @param target `host:port`; asked for each connection, as it may change */
  static async start(target: () => string): Promise<FaultProxy> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const proxy = new FaultProxy(`127.0.0.1:${port}`, async () => {
      proxy.cut();
      server.close();
      await once(server, "close");
    });
    server.on("connection", (near) => proxy.#join(near, target()));
    return proxy;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** Nothing gets through in a direction any more, and nobody is told. */
  freeze(...directions: readonly Direction[]): void {
    for (const direction of directions) this.#frozen.add(direction);
    for (const pair of this.#pairs) this.#applyTo(pair);
  }

  /** From now on all that gets through takes so much longer, in each direction. */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  /** What was held back goes on, and half-open connections are over. */
  thaw(): void {
    this.#frozen.clear();
    this.#endOrphans();
    for (const pair of this.#pairs) this.#applyTo(pair);
  }

  /** Breaks every connection; both sides are told. */
  cut(): void {
    for (const { near, far } of this.#pairs) {
      near.destroy();
      far.destroy();
    }
    this.#endOrphans();
  }

  /** Ends every connection at the far side; the near side is not told: it is half open. */
  abandon(): void {
    for (const pair of this.#pairs) {
      this.#pairs.delete(pair);
      this.#orphans.add(pair.near);
      pair.near.removeAllListeners("data");
      pair.near.pause();
      pair.far.removeAllListeners("close");
      pair.far.destroy();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }

  #endOrphans(): void {
    for (const socket of this.#orphans) socket.destroy();
    this.#orphans.clear();
  }

  #join(near: Socket, target: string): void {
    const [host = "", port = ""] = target.split(":");
    const far = connect(Number(port), host);
    const pair = { near, far };
    this.#pairs.add(pair);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on("data", (bytes: Buffer) => {
        if (this.#delayMs > 0) {
          // In order, as timers of one length are.
          setTimeout(() => to.write(bytes), this.#delayMs);
          return;
        }
        if (to.write(bytes)) return;
        from.pause();
        to.once("drain", () => this.#applyTo(pair));
      });
      from.on("error", () => to.destroy());
      from.on("close", () => {
        this.#pairs.delete(pair);
        to.destroy();
      });
    }
    this.#applyTo(pair);
  }

  #applyTo({ near, far }: Pair): void {
    if (this.#frozen.has("up")) near.pause();
    else near.resume();
    if (this.#frozen.has("down")) far.pause();
    else far.resume();
  }
}
