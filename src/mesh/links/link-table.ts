import { CollectorError } from "../../errors.ts";
import type { Link } from "./link.ts";

/** The links of this collector: one at most to each other collector. */
export class LinkTable {
  readonly #byId = new Map<string, Link>();
  readonly #byPeer = new Map<string, Link>();
  readonly #listeners = new Set<() => void>();

  /** Counts links that are not established yet, too. */
  get size(): number {
    return this.#byId.size;
  }

  byId(id: string): Link | undefined {
    return this.#byId.get(id);
  }

  byPeer(collectorId: string): Link | undefined {
    return this.#byPeer.get(collectorId);
  }

  /** The link whose other end is known to be at an address. */
  byAddress(address: string): Link | undefined {
    return this.all().find(
      ({ isSource, connection, live, offer }) =>
        (isSource && connection.address === address) ||
        (live?.dialled() !== undefined && offer?.address === address),
    );
  }

  /** By id. */
  all(): Link[] {
    return [...this.#byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** The ones that there are for others: without those that are only just being accepted. */
  settled(): Link[] {
    return this.all().filter(({ isSettled }) => isSettled);
  }

  add(link: Link): void {
    this.#byId.set(link.id, link);
    this.#byPeer.set(link.peerId, link);
    this.#tell();
  }

  remove(link: Link): void {
    if (this.#byId.get(link.id) === link) this.#byId.delete(link.id);
    if (this.#byPeer.get(link.peerId) === link) this.#byPeer.delete(link.peerId);
    this.#tell();
  }

  /** Tells when links come and go. */
  subscribe(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

export function linkNotFound(id: string): CollectorError {
  return new CollectorError("LINK_NOT_FOUND", "there is no link of this id", {
    subject: { connection: id.slice(0, 64) },
  });
}
