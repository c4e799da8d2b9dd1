import { CollectorError } from "../errors.ts";
import type {
  ListPage,
  ListQuery,
  Passage,
  PassageQuery,
  ReadOptions,
  RecordScan,
  SearchHits,
  SearchQuery,
} from "../storage/record-query.ts";
import type {
  ChangePage,
  RecordStore,
  StoreStats,
  Write,
  WriteOutcome,
} from "../storage/record-store.ts";
import type { StoreChanges, StoreSnapshot } from "../storage/store-copies.ts";
import type { StoreFiles } from "../storage/store-files.ts";
import type { StoreShape } from "../storage/store-layout.ts";

/** Milliseconds without a call after which nobody is in the middle of using a replaced store. */
const quietMs = 2_000;
/** How often is looked whether a replaced store is quiet, in milliseconds. */
const lookMs = 250;
/** Longest that a replaced store is kept for those who still use it, in milliseconds. */
const keptMsMax = 600_000;

/**
 * A store whose data can be replaced by another one's. Who uses it then may finish on the old data; it is
 * let go of when nobody has called it for a while.
 */
export class ReplaceableStore implements RecordStore {
  readonly files: StoreFiles;
  readonly #store: RecordStore;
  readonly #fullName: () => string;
  /** When it was called last, by a clock that never goes back; undefined until it is replaced. */
  #usedMs: number | undefined;
  #isGone = false;

  constructor(store: RecordStore, fullName: () => string) {
    this.#store = store;
    this.#fullName = fullName;
    this.files = this.#watched(store.files);
  }

  /** Resolves when nobody is in the middle of using it; late calls fail with COLLECTION_REPLACED then. */
  async retire(): Promise<void> {
    const beginMs = performance.now();
    this.#usedMs = beginMs;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setInterval(() => {
      const nowMs = performance.now();
      if (nowMs - (this.#usedMs ?? 0) < quietMs && nowMs - beginMs < keptMsMax) return;
      clearInterval(timer);
      resolve();
    }, lookMs);
    timer.unref();
    await promise;
    this.#isGone = true;
  }

  get(...args: Parameters<RecordStore["get"]>): ReturnType<RecordStore["get"]> {
    return this.#use() ?? this.#store.get(...args);
  }

  write(write: Write): Promise<WriteOutcome> {
    return this.#use() ?? this.#store.write(write);
  }

  list(query: ListQuery, options?: ReadOptions): Promise<ListPage> {
    return this.#use() ?? this.#store.list(query, options);
  }

  search(query: SearchQuery, options?: ReadOptions): Promise<SearchHits> {
    return this.#use() ?? this.#store.search(query, options);
  }

  passages(query: PassageQuery, options?: ReadOptions): Promise<readonly (readonly Passage[])[]> {
    return this.#use() ?? this.#store.passages(query, options);
  }

  scan(...args: Parameters<RecordStore["scan"]>): Promise<RecordScan> {
    return this.#use() ?? this.#store.scan(...args);
  }

  expired(limit: number): Promise<readonly string[]> {
    return this.#use() ?? this.#store.expired(limit);
  }

  changes(revision: bigint, limit: number, options?: ReadOptions): Promise<ChangePage> {
    return this.#use() ?? this.#store.changes(revision, limit, options);
  }

  stats(): Promise<StoreStats> {
    return this.#use() ?? this.#store.stats();
  }

  addIndex(...args: Parameters<RecordStore["addIndex"]>): Promise<void> {
    return this.#use() ?? this.#store.addIndex(...args);
  }

  dropIndex(path: string): Promise<void> {
    return this.#use() ?? this.#store.dropIndex(path);
  }

  rebuildIndex(...args: Parameters<RecordStore["rebuildIndex"]>): Promise<void> {
    return this.#use() ?? this.#store.rebuildIndex(...args);
  }

  dropRebuild(path: string): Promise<void> {
    return this.#use() ?? this.#store.dropRebuild(path);
  }

  shape(): Promise<StoreShape> {
    return this.#use() ?? this.#store.shape();
  }

  reshape(...args: Parameters<RecordStore["reshape"]>): Promise<StoreShape> {
    return this.#use() ?? this.#store.reshape(...args);
  }

  completeShape(): Promise<StoreShape> {
    return this.#use() ?? this.#store.completeShape();
  }

  snapshot(...args: Parameters<RecordStore["snapshot"]>): Promise<StoreSnapshot> {
    return this.#use() ?? this.#store.snapshot(...args);
  }

  changesSince(...args: Parameters<RecordStore["changesSince"]>): Promise<StoreChanges> {
    return this.#use() ?? this.#store.changesSince(...args);
  }

  /** Notes a call. @returns what it has to be refused with, if it has. */
  #use(): Promise<never> | undefined {
    if (this.#usedMs === undefined) return undefined;
    this.#usedMs = performance.now();
    return this.#isGone ? Promise.reject(replacedCollection(this.#fullName())) : undefined;
  }

  #watched(files: StoreFiles): StoreFiles {
    const use = (): Promise<never> | undefined => this.#use();
    return {
      begin: () => use() ?? files.begin(),
      put: (...args) => use() ?? files.put(...args),
      stat: (...args) => use() ?? files.stat(...args),
      list: (...args) => use() ?? files.list(...args),
      remove: (...args) => use() ?? files.remove(...args),
      stats: () => use() ?? files.stats(),
      hold: () => files.hold(),
      sweep: () => use() ?? files.sweep(),
      replaceAll: (...args) => use() ?? files.replaceAll(...args),
      async *read(...args) {
        await use();
        for await (const chunk of files.read(...args)) {
          await use();
          yield chunk;
        }
      },
    };
  }
}

/** A failure that goes away when the call is made again. */
export function replacedCollection(fullName: string): CollectorError {
  return new CollectorError(
    "COLLECTION_REPLACED",
    `the data of collection ${fullName} was replaced as a whole meanwhile; try again`,
    { subject: { collection: fullName }, retryAfterMs: 0 },
  );
}
