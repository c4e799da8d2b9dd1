import type { StoreWriter } from "./store-writer.ts";

/** How long a store has to have been without writes, in ms. */
const quietMs = 500;

/** Between two steps, whatever they took, in ms. */
const restMs = 20;

/** Steps leave the disk and the processor this many times as long as they take. */
const restShare = 3;

export interface QuietMergesOptions {
  /** A store if it is open and may grow; that is no use of it. */
  readonly find: (storeKey: string) => StoreWriter | undefined;
  /** Tidies a store up, which is a step of its own. @returns true if there was something to do. */
  readonly tidy: (storeKey: string, store: StoreWriter) => boolean;
  readonly onFailure: (storeKey: string, error: unknown) => void;
  /** In ms. */
  readonly now?: () => number;
}

/**
 * Puts the text indexes of stores in order while nobody writes to them: what would have kept writes waiting. A
 * write that comes during a step waits for its end.
 */
export class QuietMerges {
  readonly #options: QuietMergesOptions;
  readonly #now: () => number;
  /** When each store with something to do may be looked at. */
  readonly #due = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: QuietMergesOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** A group was written. */
  noteGroup(storeKey: string, store: StoreWriter): void {
    if (store.search.untidy) this.#due.set(storeKey, this.#now() + quietMs);
    else this.#due.delete(storeKey);
    this.#arm();
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#due.size === 0) return;
    const waitMs = Math.min(...this.#due.values()) - this.#now();
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#step();
        this.#arm();
      },
      Math.max(waitMs, restMs),
    ).unref();
  }

  #step(): void {
    const startMs = this.#now();
    const next = [...this.#due].find(([, dueMs]) => dueMs <= startMs);
    if (next === undefined) return;
    const [storeKey] = next;
    this.#due.delete(storeKey);
    try {
      const store = this.#options.find(storeKey);
      // It may have been closed, and opened again by work that is no write.
      if (store?.search.untidy !== true) return;
      const hasTidied = this.#options.tidy(storeKey, store);
      if (!hasTidied) store.transact(() => store.search.mergeQuietly());
      if (!store.search.untidy) return;
      const nowMs = this.#now();
      this.#due.set(storeKey, nowMs + restShare * (nowMs - startMs));
    } catch (error) {
      this.#options.onFailure(storeKey, error);
    }
  }
}
