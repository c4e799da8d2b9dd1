import { stat } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate, setTimeout } from "node:timers/promises";
import { CollectorError } from "../../errors.ts";
import type { Clock } from "../../lib/clock.ts";
import { ContentList } from "../../lib/content-list.ts";
import type { Limits } from "../../lib/limits.ts";
import type {
  ListPage,
  ListQuery,
  Passage,
  PassageQuery,
  ReadOptions,
  RecordScan,
  SearchHits,
  SearchQuery,
} from "../record-query.ts";
import type {
  BuildOptions,
  ChangePage,
  RecordStore,
  StoreStats,
  Write,
  WriteOutcome,
} from "../record-store.ts";
import type { CopyOptions, SnapshotOptions, StoreChanges, StoreSnapshot } from "../store-copies.ts";
import type { IndexDefinition, StoreShape } from "../store-layout.ts";
import type { StoredRecord } from "../stored-record.ts";
import type { CopyProcesses } from "./copies/copy-processes.ts";
import { snapshotStore } from "./copies/snapshot-store.ts";
import { hasCode } from "./file-sync.ts";
import { SqliteStoreFiles } from "./files/sqlite-store-files.ts";
import { HeldChanges } from "./held-changes.ts";
import {
  OutdatedStoreError,
  type PointReads,
  type ReadHandle,
  readPageBytes,
  readStats,
} from "./point-reads.ts";
import type { ResultOf, SingleQuery } from "./reader/queries.ts";
import type { ReaderPool } from "./reader/reader-pool.ts";
import { unpackRecords } from "./reader/record-codec.ts";
import type { ScanPool } from "./reader/scan-pool.ts";
import { checkWanted, readSearchIndexes, shapeOf, type WantedSearch } from "./search-tables.ts";
import type { StoreGate } from "./store-gate.ts";
import { dataFileName } from "./store-paths.ts";
import { isBusy, isFatal, translateError } from "./translate-error.ts";
import type { DiskReserve } from "./writer/disk-reserve.ts";
import type { WriterTask } from "./writer/messages.ts";
import type { WriterPool } from "./writer/writer-pool.ts";

/** What the stores of one engine share. */
export interface StoreParts {
  readonly storesFolder: string;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly pointReads: PointReads;
  readonly writers: WriterPool;
  readonly reserve: DiskReserve;
  /** The files of each store that were asked for. */
  readonly files: Map<string, SqliteStoreFiles>;
  readonly readers: ReaderPool;
  readonly scans: ScanPool;
  readonly copies: CopyProcesses;
}

/** Records read before other work on the event loop gets its turn. */
const readsPerTurn = 200;

/** What part of a query's budget may go into counting what matches, and how long at most, in ms. */
const countShare = 0.1;
const countMsMax = 100;

const busyRetries = 20;
const busyRetryMs = 5;

/** One store, lent by its engine: it holds no connection of its own. */
export class SqliteRecordStore implements RecordStore {
  readonly #key: string;
  readonly #gate: StoreGate;
  readonly #parts: StoreParts;
  #shape: Promise<StoreShape> | undefined;

  constructor(key: string, gate: StoreGate, parts: StoreParts) {
    this.#key = key;
    this.#gate = gate;
    this.#parts = parts;
  }

  async get(ids: readonly string[]): Promise<readonly (StoredRecord | undefined)[]> {
    if (ids.length <= readsPerTurn) return this.#getSome(ids);
    const found: (StoredRecord | undefined)[] = [];
    for (let from = 0; from < ids.length; from += readsPerTurn) {
      if (from > 0) await setImmediate();
      found.push(...(await this.#getSome(ids.slice(from, from + readsPerTurn))));
    }
    return found;
  }

  async write(write: Write): Promise<WriteOutcome> {
    const { writers, clock } = this.#parts;
    try {
      const done = await this.#gate.use(() => writers.write(this.#key, write, clock.nowUs()));
      if (done.outcomes.some(({ change }) => change === "deleted")) this.files.noteRemoved();
      return done;
    } catch (error) {
      if (isShapeOutdated(error)) this.#shape = undefined;
      throw error;
    }
  }

  shape(): Promise<StoreShape> {
    this.#shape ??= this.#readShape();
    return this.#shape;
  }

  async reshape(wanted: WantedSearch): Promise<StoreShape> {
    checkWanted(wanted);
    return this.#changeShape({ task: "reshape", storeKey: this.#key, wanted });
  }

  completeShape(): Promise<StoreShape> {
    return this.#changeShape({ task: "completeShape", storeKey: this.#key });
  }

  get files(): SqliteStoreFiles {
    const { files, storesFolder, clock, writers, reserve } = this.#parts;
    let found = files.get(this.#key);
    if (found === undefined) {
      const gate = this.#gate;
      const key = this.#key;
      const read = <T>(work: (handle: ReadHandle) => T): Promise<T> => this.#read(work);
      found = new SqliteStoreFiles({ storesFolder, key, gate, clock, writers, reserve, read });
      files.set(key, found);
    }
    return found;
  }

  async passages(
    query: PassageQuery,
    options: ReadOptions = {},
  ): Promise<readonly (readonly Passage[])[]> {
    if (query.texts.length === 0) return [];
    return (await this.#query({ kind: "passages", query }, options)).passages;
  }

  async list(query: ListQuery, options: ReadOptions = {}): Promise<ListPage> {
    const { where, order = [], limit, after } = query;
    const countMs = this.#countMs(options);
    const nowUs = this.#parts.clock.nowUs();
    const bytesMax = this.#pageBytesMax;
    const { records, next, totalCount, totalCapped, run } = await this.#query(
      { kind: "list", where, order, limit, after, nowUs, bytesMax, countMs },
      options,
    );
    return { records: unpackRecords(records), next, totalCount, totalCapped, run };
  }

  async search(query: SearchQuery, options: ReadOptions = {}): Promise<SearchHits> {
    const nowUs = this.#parts.clock.nowUs();
    const bytesMax = this.#pageBytesMax;
    const countMs = this.#countMs(options);
    const result = await this.#query({ kind: "search", query, nowUs, bytesMax, countMs }, options);
    const { kind: _, records, scores, textScores, distances, ...rest } = result;
    const hits = unpackRecords(records).map((record, at) => ({
      record,
      score: scores[at] ?? 0,
      textScore: textScores[at],
      distance: distances[at],
    }));
    return { hits, ...rest };
  }

  async changes(revision: bigint, limit: number, options: ReadOptions = {}): Promise<ChangePage> {
    const bytesMax = this.#pageBytesMax;
    const query = { kind: "changes", revision, limit, bytesMax } as const;
    const { kind: _, ...page } = await this.#query(query, options);
    return page;
  }

  async expired(limit: number): Promise<readonly string[]> {
    const nowUs = this.#parts.clock.nowUs();
    return (await this.#query({ kind: "expired", nowUs, limit }, {})).ids;
  }

  async scan(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<RecordScan> {
    await this.#read(() => undefined);
    const gate = this.#gate;
    const signals = options.signal === undefined ? [] : [options.signal];
    const signal = AbortSignal.any([gate.ending, ...signals]);
    const { scans, clock } = this.#parts;
    const scan = await gate.use(() => scans.start(this.#key, clock.nowUs(), signal));
    // The store counts as used until the scan has let go of it.
    void gate.use(() => scan.ended).catch(() => undefined);
    return scan;
  }

  async snapshot(options: SnapshotOptions): Promise<StoreSnapshot> {
    const { sizeBytes } = await this.stats();
    const gate = this.#gate;
    const signals = options.signal === undefined ? [] : [options.signal];
    const signal = AbortSignal.any([gate.ending, ...signals]);
    const { storesFolder, clock, copies: processes } = this.#parts;
    const path = join(storesFolder, this.#key, dataFileName);
    const source = { path, sizeBytes, files: this.files, nowUs: clock.nowUs(), processes };
    return gate.use(() => snapshotStore(source, { ...options, signal }));
  }

  async changesSince(
    revision: bigint,
    { files, signal, onProgress }: CopyOptions & { readonly files: boolean },
  ): Promise<StoreChanges> {
    await this.#read(() => undefined);
    const gate = this.#gate;
    const ending = AbortSignal.any([gate.ending, ...(signal === undefined ? [] : [signal])]);
    const { scans, clock } = this.#parts;
    const since = { revision, nowUs: clock.nowUs(), files };
    // Before the moment that is read, so that all contents of that moment stay.
    const held = files ? this.files.hold() : undefined;
    try {
      const delta = await gate.use(() => scans.startDelta(this.#key, since, ending));
      // The store counts as used until the process has let go of it.
      void gate.use(() => delta.ended).catch(() => undefined);
      const list = ContentList.of(files ? delta.names : []);
      const contents = { list, folder: this.files.contentsFolder };
      return new HeldChanges({ delta, contents, held, onProgress });
    } catch (error) {
      held?.[Symbol.dispose]();
      throw error;
    }
  }

  async stats(): Promise<StoreStats> {
    const { pageBytes, ...stats } = await this.#read((handle) => ({
      ...readStats(handle, this.#parts.clock.nowUs()),
      pageBytes: readPageBytes(handle),
    }));
    return { ...stats, sizeBytes: pageBytes + (await this.#logBytes()) };
  }

  addIndex({ path }: IndexDefinition, options: BuildOptions = {}): Promise<void> {
    const storeKey = this.#key;
    return this.#runOnIndex({ task: "addIndex", storeKey, path, rebuild: false }, options);
  }

  rebuildIndex({ path }: IndexDefinition, options: BuildOptions = {}): Promise<void> {
    const storeKey = this.#key;
    return this.#runOnIndex({ task: "addIndex", storeKey, path, rebuild: true }, options);
  }

  dropIndex(path: string): Promise<void> {
    const storeKey = this.#key;
    return this.#runOnIndex({ task: "dropIndex", storeKey, path, rebuild: false }, {});
  }

  dropRebuild(path: string): Promise<void> {
    const storeKey = this.#key;
    return this.#runOnIndex({ task: "dropIndex", storeKey, path, rebuild: true }, {});
  }

  /** Work on an index ends when the store is closed; it goes on where it stopped. */
  async #runOnIndex(task: WriterTask, options: BuildOptions): Promise<void> {
    const gate = this.#gate;
    const signals = options.signal === undefined ? [] : [options.signal];
    const signal = AbortSignal.any([gate.ending, ...signals]);
    const { onProgress } = options;
    try {
      await gate.use(() => this.#parts.writers.run(this.#key, task, { signal, onProgress }));
    } catch (error) {
      gate.check();
      throw error;
    }
  }

  async #readShape(): Promise<StoreShape> {
    try {
      return await this.#read(({ db }) => shapeOf(readSearchIndexes(db)));
    } catch (error) {
      this.#shape = undefined;
      throw error;
    }
  }

  async #changeShape(
    task: WriterTask & { readonly task: "reshape" | "completeShape" },
  ): Promise<StoreShape> {
    try {
      return await this.#gate.use(() => this.#parts.writers.run(this.#key, task));
    } finally {
      this.#shape = undefined;
    }
  }

  /** Runs a query on a reader, once it is known that the store can be read. */
  async #query<Q extends SingleQuery>(query: Q, options: ReadOptions): Promise<ResultOf<Q>> {
    await this.#read(() => undefined);
    return this.#gate.use(() => this.#parts.readers.run(this.#key, query, options));
  }

  #countMs({ budgetMs = this.#parts.limits.queryBudgetMs }: ReadOptions): number {
    return Math.min(budgetMs * countShare, countMsMax);
  }

  /** A page has to fit into a message together with what is said about each record. */
  get #pageBytesMax(): number {
    return Math.floor(this.#parts.limits.messageBytesMax / 2);
  }

  #getSome(ids: readonly string[]): Promise<readonly (StoredRecord | undefined)[]> {
    const { pointReads } = this.#parts;
    return this.#read((handle) => ids.map((id) => pointReads.read(handle, id)));
  }

  /** Reads, if need be after waiting for a lock or for the store's upgrade. */
  async #read<T>(read: (handle: ReadHandle) => T): Promise<T> {
    this.#gate.check();
    const { pointReads, writers } = this.#parts;
    let failed = false;
    for (let attempt = 1; ; attempt++) {
      try {
        return read(pointReads.use(this.#key));
      } catch (error) {
        if (error instanceof OutdatedStoreError && attempt === 1) {
          const task = { task: "open", storeKey: this.#key } as const;
          await this.#gate.use(() => writers.run(this.#key, task));
        } else if (isBusy(error) && attempt < busyRetries) {
          await setTimeout(busyRetryMs);
        } else {
          // A new connection may do better: what it reads is not in its cache.
          pointReads.close(this.#key);
          if (failed || !isFatal(error)) throw translateError(error);
          failed = true;
        }
      }
      this.#gate.check();
    }
  }

  async #logBytes(): Promise<bigint> {
    try {
      const path = join(this.#parts.storesFolder, this.#key, `${dataFileName}-wal`);
      return BigInt((await stat(path)).size);
    } catch (error) {
      if (hasCode(error, "ENOENT")) return 0n;
      throw translateError(error);
    }
  }
}

function isShapeOutdated(error: unknown): boolean {
  return error instanceof CollectorError && error.reason === "SHAPE_OUTDATED";
}
