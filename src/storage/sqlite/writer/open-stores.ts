import { join } from "node:path";
import { CollectorError } from "../../../errors.ts";
import type { LogLevel } from "../../../lib/log.ts";
import { dataFileName } from "../store-paths.ts";
import { translateError } from "../translate-error.ts";
import type { WriterOptions, WriterReport } from "./messages.ts";
import { StoreWriter } from "./store-writer.ts";

/** How long to wait before the next try to bring a failed store back, in ms. */
const recoverRetryMs = 500;

/** The stores that a writer thread has open, at most so many, and those whose disk has failed. */
export class OpenStores {
  readonly #options: WriterOptions;
  readonly #report: (report: WriterReport) => void;
  readonly #opened: (key: string, store: StoreWriter) => void;
  /** In order of use: the first was not used for longest. */
  readonly #open = new Map<string, StoreWriter>();
  /** Still open, so that what is committed can be put in order. */
  readonly #failed = new Map<string, StoreWriter>();
  readonly #retries = new Map<string, NodeJS.Timeout>();

  /** @param opened told of every store that is opened. */
  constructor(
    options: WriterOptions,
    report: (report: WriterReport) => void,
    opened: (key: string, store: StoreWriter) => void,
  ) {
    this.#options = options;
    this.#report = report;
    this.#opened = opened;
  }

  /** @throws {CollectorError} */
  use(key: string): StoreWriter {
    if (this.#failed.has(key)) {
      throw new CollectorError(
        "STORAGE_UNAVAILABLE",
        "the disk failed, and this collection takes no writes until it is found in order; try again",
        { retryAfterMs: recoverRetryMs },
      );
    }
    let store = this.#open.get(key);
    if (store === undefined) {
      this.#makeRoom();
      store = StoreWriter.open(this.#pathOf(key), this.#options.limits);
      this.#opened(key, store);
    } else {
      this.#open.delete(key);
    }
    this.#open.set(key, store);
    return store;
  }

  /** A store if it is open; that is no use of it. */
  find(key: string): StoreWriter | undefined {
    return this.#open.get(key);
  }

  /** Takes a store out of use after a failure, and brings it back once the disk works again. */
  fail(key: string, failure: CollectorError): void {
    const store = this.#open.get(key);
    if (store === undefined) return;
    this.#open.delete(key);
    const cause = failure.cause instanceof Error ? failure.cause.message : undefined;
    this.#log("error", { store: key, reason: failure.reason, cause }, "a store failed");
    if (failure.reason === "STORAGE_CORRUPT") {
      // There is nothing to put in order. It is opened anew when it is needed, and may fail again.
      this.#close(key, store);
      return;
    }
    this.#failed.set(key, store);
    this.#report({ kind: "release", storeKey: key });
  }

  /** The connections of others to a failed store are closed: tries to bring it back. */
  recover(key: string): void {
    const store = this.#failed.get(key);
    if (store === undefined) return;
    try {
      if (store.settle()) {
        this.#failed.delete(key);
        this.#close(key, store);
        this.#log("info", { store: key }, "a store that failed is in order and takes writes again");
        return;
      }
    } catch (error) {
      const { reason } = translateError(error);
      this.#log("warn", { store: key, reason }, "a store that failed is not in order yet");
    }
    const retry = setTimeout(() => {
      this.#retries.delete(key);
      this.#report({ kind: "release", storeKey: key });
    }, recoverRetryMs);
    this.#retries.set(key, retry);
  }

  close(key: string): void {
    clearTimeout(this.#retries.get(key));
    this.#retries.delete(key);
    for (const stores of [this.#open, this.#failed]) {
      const store = stores.get(key);
      stores.delete(key);
      if (store !== undefined) this.#close(key, store);
    }
  }

  closeAll(): void {
    for (const key of [...this.#open.keys(), ...this.#failed.keys()]) this.close(key);
  }

  #makeRoom(): void {
    for (const [key, store] of this.#open) {
      if (this.#open.size < this.#options.openStoresMax) return;
      this.#open.delete(key);
      this.#close(key, store);
    }
  }

  #close(key: string, store: StoreWriter): void {
    try {
      store.close();
    } catch (error) {
      // All that was acknowledged is in the WAL already; the next opening reads it from there.
      const { reason } = translateError(error);
      this.#log(
        "warn",
        { store: key, reason },
        "a store could not be tidied up when it was closed",
      );
    }
  }

  #pathOf(key: string): string {
    return join(this.#options.storesFolder, key, dataFileName);
  }

  #log(level: LogLevel, fields: object, message: string): void {
    this.#report({ kind: "log", level, fields, message });
  }
}
