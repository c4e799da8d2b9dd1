import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** Stands between a client and a server and, after so many bytes of answers, passes no more, without a word. */
export class StallingProxy implements AsyncDisposable {
  readonly url: string;
  readonly #close: () => Promise<void>;

  private constructor(url: string, close: () => Promise<void>) {
    this.url = url;
    this.#close = close;
  }

  /** @param url where to, as in `http://127.0.0.1:40412` */
  static async start(url: string, answerBytes: number): Promise<StallingProxy> {
    const { hostname, port } = new URL(url);
    const sockets = new Set<Socket>();
    const proxy = createServer((near) => {
      const far = connect(Number(port), hostname);
      for (const socket of [near, far]) {
        sockets.add(socket);
        socket.on("error", () => undefined);
        socket.on("close", () => [near, far].forEach((each) => each.destroy()));
      }
      near.pipe(far);
      let passed = 0;
      far.on("data", (bytes: Buffer) => {
        near.write(bytes.subarray(0, answerBytes - passed));
        passed += bytes.byteLength;
        if (passed >= answerBytes) far.pause();
      });
    });
    proxy.listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const { port: own } = proxy.address() as AddressInfo;
    return new StallingProxy(`http://127.0.0.1:${own}`, async () => {
      for (const socket of sockets) socket.destroy();
      proxy.close();
      await once(proxy, "close");
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}
