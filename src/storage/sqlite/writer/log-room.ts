import type { DatabaseSync } from "node:sqlite";

const mib = 1024n * 1024n;

/** What the file of a log keeps for the next pages. */
const keptBytes = 64n * mib;

/** What is given back at once of a longer one, or up to twice as much: half a gigabyte would take some 50 ms. */
const stepBytes = 16n * mib;

/** A page in the log: with its head, as long as databases have pages of 4 KiB. */
const framePageBytes = 4096n + 24n;

/**
 * Gives back the room of a log that had grown long, a little whenever it starts over: SQLite cuts the file down to
 * `journal_size_limit` with the first commit after that, which waits for it.
 */
export class LogRoom {
  readonly #db: DatabaseSync;
  #pages = 0n;
  #fileBytes = 0n;
  #limitBytes = keptBytes;

  constructor(db: DatabaseSync) {
    this.#db = db;
    this.#setLimit();
  }

  /** @param pages that the log has now */
  note(pages: bigint): void {
    const hasStartedOver = pages < this.#pages;
    this.#pages = pages;
    const bytes = pages * framePageBytes;
    if (hasStartedOver && this.#fileBytes > this.#limitBytes) this.#fileBytes = this.#limitBytes;
    if (bytes > this.#fileBytes) this.#fileBytes = bytes;
    const steps = this.#fileBytes / stepBytes - 1n;
    const limitBytes = steps * stepBytes > keptBytes ? steps * stepBytes : keptBytes;
    if (limitBytes === this.#limitBytes) return;
    this.#limitBytes = limitBytes;
    this.#setLimit();
  }

  #setLimit(): void {
    this.#db.exec(`PRAGMA journal_size_limit = ${this.#limitBytes}`);
  }
}
