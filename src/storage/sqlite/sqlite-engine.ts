import { join } from "node:path";
import { CollectorError } from "../../errors.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import type { Limits } from "../../lib/limits.ts";
import { type Log, silentLog } from "../../lib/log.ts";
import type { RecordStore, StorageEngine, StoreLocation } from "../record-store.ts";
import type { StoreIntake } from "../store-copies.ts";
import type { StoreLayout } from "../store-layout.ts";
import { assertSqliteVersion } from "./connection.ts";
import { CopyProcesses } from "./copies/copy-processes.ts";
import { SqliteIntake } from "./copies/sqlite-intake.ts";
import { PointReads } from "./point-reads.ts";
import { ReaderPool } from "./reader/reader-pool.ts";
import { ScanPool } from "./reader/scan-pool.ts";
import { checkWanted } from "./search-tables.ts";
import { SqliteRecordStore, type StoreParts } from "./sqlite-record-store.ts";
import { StoreFolders } from "./store-folders.ts";
import { StoreGate } from "./store-gate.ts";
import { dataFileName, storeKeyOf } from "./store-paths.ts";
import { diskFull } from "./translate-error.ts";
import { WriteBack } from "./writeback/write-back.ts";
import { DiskReserve } from "./writer/disk-reserve.ts";
import { WriterPool } from "./writer/writer-pool.ts";

export interface SqliteEngineOptions {
  /** The stores are kept in its folder `stores`. It exists, and no other server uses it. */
  readonly dataFolder: string;
  readonly limits: Limits;
  readonly clock?: Clock;
  readonly log?: Log;
  /** Threads that write; each waits for its own disk writes. */
  readonly writerThreads?: number;
}

const defaultWriterThreads = 2;

interface EngineParts extends StoreParts {
  readonly folders: StoreFolders;
  readonly writeBack: WriteBack;
}

/**
 * Keeps each store in an SQLite file of its own, `stores/<store>/<generation>/data.sqlite`.
 *
 * Point reads run on the event loop, writes in a few threads, and whatever can take long in reader
 * processes, which can be ended at any moment. Threads and processes start when they are first used.
 */
export class SqliteEngine implements StorageEngine {
  readonly #parts: EngineParts;
  readonly #gates = new Map<string, StoreGate>();
  #closing: Promise<void> | undefined;

  private constructor(parts: EngineParts) {
    this.#parts = parts;
  }

  /** @throws {CollectorError} STORAGE_UNAVAILABLE, DISK_FULL */
  static async open(options: SqliteEngineOptions): Promise<SqliteEngine> {
    assertSqliteVersion();
    const { dataFolder, limits, clock = systemClock, log = silentLog } = options;
    const threads = options.writerThreads ?? defaultWriterThreads;
    const storesFolder = join(dataFolder, "stores");
    const folders = await StoreFolders.open(storesFolder);
    const pointReads = new PointReads({ storesFolder, handlesMax: limits.openStoresMax, clock });
    const readers = new ReaderPool({ storesFolder, limits, log });
    const scans = new ScanPool({ storesFolder, limits, log });
    const writers = new WriterPool({
      threads,
      log,
      writer: {
        storesFolder,
        limits,
        openStoresMax: Math.max(Math.floor(limits.openStoresMax / threads), 1),
      },
      beforeAnswers: () => pointReads.endTurn(),
      release: async (storeKey) => {
        pointReads.close(storeKey);
        await readers.release(storeKey);
      },
      writeBack: (storeKey) => engine.#writeBack(storeKey),
    });
    const engine: SqliteEngine = new SqliteEngine({
      storesFolder,
      folders,
      limits,
      clock,
      pointReads,
      writers,
      readers,
      scans,
      copies: new CopyProcesses(),
      reserve: new DiskReserve(storesFolder, limits.diskReserveBytes),
      files: new Map(),
      writeBack: new WriteBack(),
    });
    return engine;
  }

  async create(location: StoreLocation, layout: StoreLayout): Promise<void> {
    this.#checkOpen();
    checkLayout(layout);
    const key = storeKeyOf(location);
    const { folders, writers } = this.#parts;
    const path = folders.newPath();
    await writers.run(key, { task: "create", path, layout });
    await folders.adopt(path, key);
  }

  store(location: StoreLocation): RecordStore {
    const key = storeKeyOf(location);
    return new SqliteRecordStore(key, this.#gateOf(key), this.#parts);
  }

  async exists(location: StoreLocation): Promise<boolean> {
    this.#checkOpen();
    return this.#parts.folders.exists(storeKeyOf(location));
  }

  async drop(location: StoreLocation): Promise<void> {
    this.#checkOpen();
    const key = storeKeyOf(location);
    const { folders, pointReads, readers, writers, files } = this.#parts;
    const gate = this.#gateOf(key);
    await gate.close(new CollectorError("COLLECTION_NOT_FOUND", "the collection was deleted"));
    try {
      await writers.run(key, { task: "close", storeKey: key });
      pointReads.close(key);
      await readers.release(key);
      await folders.remove(key);
      this.#gates.delete(key);
      files.delete(key);
    } catch (error) {
      gate.open();
      throw error;
    }
  }

  async intake(): Promise<StoreIntake> {
    this.#checkOpen();
    const { folders, clock, reserve, copies: processes } = this.#parts;
    if (reserve.low) throw diskFull();
    return SqliteIntake.open({ folders, clock, processes });
  }

  async list(): Promise<readonly StoreLocation[]> {
    this.#checkOpen();
    return this.#parts.folders.list();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    const { pointReads, readers, scans, copies, writeBack, writers } = this.#parts;
    await Promise.all([...this.#gates.values()].map((gate) => gate.close(shuttingDown())));
    await Promise.all([readers.close(), scans.close(), copies.close(), writeBack.close()]);
    pointReads.closeAll();
    await writers.close();
  }

  async #writeBack(key: string): Promise<void> {
    const gate = this.#gateOf(key);
    // Whoever closes a store writes back what is left.
    if (gate.ending.aborted) return;
    const { storesFolder, writeBack } = this.#parts;
    await gate.use(() => writeBack.run(join(storesFolder, key, dataFileName)));
  }

  #gateOf(key: string): StoreGate {
    let gate = this.#gates.get(key);
    if (gate === undefined) {
      gate = new StoreGate();
      if (this.#closing !== undefined) void gate.close(shuttingDown());
      this.#gates.set(key, gate);
    }
    return gate;
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw shuttingDown();
  }
}

function checkLayout({ text, vectors, indexes }: StoreLayout): void {
  checkWanted({ text, vectors });
  const paths = new Set(indexes.map(({ path }) => path));
  if (paths.size < indexes.length || paths.has("")) {
    throw new CollectorError("INTERNAL", "a layout names an index twice, or one without a path");
  }
}

function shuttingDown(): CollectorError {
  return new CollectorError("SHUTTING_DOWN", "the server is shutting down");
}
