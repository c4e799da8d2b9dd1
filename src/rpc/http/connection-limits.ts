import type { Socket } from "node:net";
import type { Limits } from "../../lib/limits.ts";

/** Connections of a linked collector that do not count: one each way, and some that are on the wane. */
const connectionsPerPeerMax = 8;

/** Counts the connections that are open, in all and per address. */
export class ConnectionLimits {
  readonly #limits: Limits;
  readonly #sockets = new Set<Socket>();
  /** Those that do not count. */
  readonly #exempt = new Set<Socket>();
  readonly #byAddress = new Map<string, number>();

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  get sockets(): Iterable<Socket> {
    return this.#sockets;
  }

  get count(): number {
    return this.#sockets.size - this.#exempt.size;
  }

  /** Counts the socket until it closes. @returns why it is one too many, if it is; then it is not counted */
  admit(socket: Socket): string | undefined {
    const address = socket.remoteAddress ?? "unknown";
    const count = this.#byAddress.get(address) ?? 0;
    const { connectionsMax, connectionsPerAddressMax } = this.#limits;
    if (this.count >= connectionsMax) {
      return `${this.count} connections are open, the limit connectionsMax`;
    }
    if (count >= connectionsPerAddressMax) {
      return `${count} connections of ${address} are open, the limit connectionsPerAddressMax`;
    }
    this.#sockets.add(socket);
    this.#byAddress.set(address, count + 1);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      if (!this.#exempt.delete(socket)) this.#forgetOne(address);
    });
    return undefined;
  }

  /** Counts an open socket no longer, if not too many others are let off already. */
  exempt(socket: Socket): void {
    if (!this.#sockets.has(socket) || this.#exempt.has(socket)) return;
    if (this.#exempt.size >= this.#limits.meshPeersMax * connectionsPerPeerMax) return;
    this.#exempt.add(socket);
    this.#forgetOne(socket.remoteAddress ?? "unknown");
  }

  #forgetOne(address: string): void {
    const left = (this.#byAddress.get(address) ?? 1) - 1;
    if (left > 0) this.#byAddress.set(address, left);
    else this.#byAddress.delete(address);
  }
}
