import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface CuttingProxyOptions {
  /** Where to, as in `http://127.0.0.1:40412`. */
  readonly url: string;
  /** The direction whose bytes count. */
  readonly direction: "up" | "down";
  /** Connections are cut when so many bytes have passed; one number for each of the first ones. */
  readonly cutAfter: readonly number[];
}

interface ProxyState {
  cuts: number;
  passedBytes: number;
  readonly sockets: Set<Socket>;
}

/** Stands between a client and a server and breaks their connections. */
export class CuttingProxy implements AsyncDisposable {
  readonly url: string;
  readonly #state: ProxyState;
  readonly #close: () => Promise<void>;

  private constructor(url: string, state: ProxyState, close: () => Promise<void>) {
    this.url = url;
    this.#state = state;
    this.#close = close;
  }

  static async start({ url, direction, cutAfter }: CuttingProxyOptions): Promise<CuttingProxy> {
    const { hostname, port } = new URL(url);
    const state: ProxyState = { cuts: 0, passedBytes: 0, sockets: new Set<Socket>() };
    const left = [...cutAfter];
    const proxy = createServer((near) => {
      const far = connect(Number(port), hostname);
      const budget = left.shift() ?? Number.POSITIVE_INFINITY;
      let passed = 0;
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        state.sockets.add(from);
        const counts = direction === "up" ? from === near : from === far;
        from.on("data", (bytes: Buffer) => {
          if (counts) {
            passed += bytes.byteLength;
            state.passedBytes += bytes.byteLength;
          }
          if (passed > budget) {
            if (!from.destroyed) state.cuts += 1;
            near.destroy();
            far.destroy();
          } else if (!to.write(bytes)) {
            from.pause();
            to.once("drain", () => from.resume());
          }
        });
        from.on("error", () => to.destroy());
        from.on("close", () => {
          state.sockets.delete(from);
          to.destroy();
        });
      }
    });
    proxy.listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const { port: own } = proxy.address() as AddressInfo;
    return new CuttingProxy(`http://127.0.0.1:${own}`, state, async () => {
      for (const socket of state.sockets) socket.destroy();
      proxy.close();
      await once(proxy, "close");
    });
  }

  /** Connections that were cut. */
  get cuts(): number {
    return this.#state.cuts;
  }

  /** Bytes that came in the direction that counts. */
  get passedBytes(): number {
    return this.#state.passedBytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}
