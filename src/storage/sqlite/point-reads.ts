import { existsSync } from "node:fs";
import { join } from "node:path";
import type { DatabaseSync, SQLOutputValue, StatementSync } from "node:sqlite";
import { CollectorError } from "../../errors.ts";
import type { Clock } from "../../lib/clock.ts";
import type { StoreStats } from "../record-store.ts";
import type { StoredRecord } from "../stored-record.ts";
import { integerOf, openForReading, textOf } from "./connection.ts";
import {
  checkSchemaVersion,
  countExpired,
  readMeta,
  readSchemaVersion,
  rebuildMark,
  schemaVersion,
} from "./schema.ts";
import { readSearchIndexes, shapeOf } from "./search-tables.ts";
import { dataFileName } from "./store-paths.ts";
import { recordColumns, toStoredRecord } from "./stored-record.ts";
import { isCannotOpen } from "./translate-error.ts";

/** How many handles to give up when the process has none left. */
const handlesToFree = 16;

/** The place of `expires_us` in a row of {@link ReadHandle.get}. */
const expiresColumn = recordColumns.split(",").length;

/** The store has an older schema: the writer has to open it before it can be read. */
export class OutdatedStoreError extends Error {}

/** A connection to one store for reads that take microseconds. */
export interface ReadHandle {
  readonly key: string;
  readonly db: DatabaseSync;
  /** Answers arrays: on the hottest path of all an object would cost a fifth more. `expires_us` is last. */
  readonly get: StatementSync;
  readonly begin: StatementSync;
  readonly commit: StatementSync;
  /** Records read since the event loop last turned; from the second on in one transaction. */
  readsInTurn: number;
  /** The store's; it cannot change while the file is open. */
  readonly incarnation: string;
}

/** The read connections of the event loop's thread: at most so many, the least used closed first. */
export class PointReads {
  readonly #storesFolder: string;
  readonly #handlesMax: number;
  readonly #clock: Clock;
  /** In order of use: the first was not used for longest. */
  readonly #handles = new Map<string, ReadHandle>();
  /** Those that were read in this turn of the event loop. */
  readonly #reading: ReadHandle[] = [];
  #latest: { readonly key: string; readonly handle: ReadHandle } | undefined;

  constructor(options: {
    readonly storesFolder: string;
    readonly handlesMax: number;
    readonly clock: Clock;
  }) {
    this.#clock = options.clock;
    this.#storesFolder = options.storesFolder;
    this.#handlesMax = Math.max(options.handlesMax, 1);
  }

  get size(): number {
    return this.#handles.size;
  }

  /**
   * The handle of a store; valid until the next turn of the event loop.
   *
   * @throws {CollectorError} STORAGE_CORRUPT if the file is missing or damaged.
   * @throws {OutdatedStoreError}
   * @throws what SQLite throws
   */
  use(key: string): ReadHandle {
    if (this.#latest?.key === key) return this.#latest.handle;
    let handle = this.#handles.get(key);
    if (handle === undefined) handle = this.#open(key);
    else this.#handles.delete(key);
    this.#handles.set(key, handle);
    this.#latest = { key, handle };
    return handle;
  }

  /**
   * Reads a record. The second read of a store within one turn of the event loop begins a transaction
   * that the turn's end, or {@link endTurn}, ends: taking SQLite's locks anew would cost each read as
   * much again as it does.
   */
  read(handle: ReadHandle, id: string): StoredRecord | undefined {
    handle.readsInTurn += 1;
    if (handle.readsInTurn === 1) {
      if (this.#reading.length === 0) setImmediate(() => this.endTurn());
      this.#reading.push(handle);
    } else if (handle.readsInTurn === 2) {
      handle.begin.run();
    }
    const row = handle.get.get(id) as unknown as SQLOutputValue[] | undefined;
    if (row === undefined) return undefined;
    const expiresUs = row[expiresColumn];
    if (typeof expiresUs === "bigint" && expiresUs <= this.#clock.nowUs()) return undefined;
    return toStoredRecord(row);
  }

  /** Lets reads see what was committed since; has to precede the word that it was. */
  endTurn(): void {
    for (const handle of this.#reading.splice(0)) {
      const isHeld = handle.readsInTurn > 1 && handle.db.isOpen;
      handle.readsInTurn = 0;
      if (isHeld) this.#endTransaction(handle);
    }
  }

  #endTransaction(handle: ReadHandle): void {
    try {
      handle.commit.run();
    } catch {
      // A connection that cannot let go of what it read is given up; the next read opens another.
      this.close(handle.key);
    }
  }

  close(key: string): void {
    const handle = this.#handles.get(key);
    this.#handles.delete(key);
    if (this.#latest?.key === key) this.#latest = undefined;
    handle?.db.close();
  }

  closeAll(): void {
    for (const key of this.#handles.keys()) this.close(key);
  }

  #open(key: string): ReadHandle {
    this.#closeDownTo(this.#handlesMax - 1);
    const path = join(this.#storesFolder, key, dataFileName);
    try {
      return openHandle(key, path);
    } catch (error) {
      if (!isCannotOpen(error)) throw error;
    }
    if (!existsSync(path)) {
      throw new CollectorError("STORAGE_CORRUPT", "the data of this collection is missing");
    }
    this.#closeDownTo(this.#handles.size - handlesToFree);
    return openHandle(key, path);
  }

  #closeDownTo(size: number): void {
    for (const key of this.#handles.keys()) {
      if (this.#handles.size <= Math.max(size, 0)) return;
      this.close(key);
    }
  }
}

function openHandle(key: string, path: string): ReadHandle {
  const db = openForReading(path);
  try {
    const version = readSchemaVersion(db);
    checkSchemaVersion(version);
    if (version < schemaVersion) throw new OutdatedStoreError();
    return {
      key,
      db,
      get: prepareGet(db),
      begin: db.prepare("BEGIN"),
      commit: db.prepare("COMMIT"),
      readsInTurn: 0,
      incarnation: textOf(db.prepare("SELECT incarnation FROM meta").get(), "incarnation"),
    };
  } catch (error) {
    db.close();
    throw error;
  }
}

function prepareGet(db: DatabaseSync): StatementSync {
  const statement = db.prepare(`SELECT ${recordColumns}, expires_us FROM record WHERE id = ?`);
  statement.setReturnArrays(true);
  return statement;
}

/** Everything but the size on disk, which the file system knows. */
export function readStats(handle: ReadHandle, nowUs: bigint): Omit<StoreStats, "sizeBytes"> {
  const { recordCount, revision, incarnation, durability } = readMeta(handle.db);
  const rows = handle.db
    .prepare("SELECT path, state FROM field_index WHERE state <> 'dropping' ORDER BY number")
    .all()
    .filter((row) => !textOf(row, "path").startsWith(rebuildMark));
  return {
    recordCount: recordCount - countExpired(handle.db, nowUs),
    revision,
    incarnation,
    durability,
    indexes: rows.map((row) => ({
      path: textOf(row, "path"),
      state: textOf(row, "state") === "ready" ? "ready" : "building",
    })),
    shape: shapeOf(readSearchIndexes(handle.db)),
  };
}

/** Pages in the database file times their size: the part of a store that is not in its log. */
export function readPageBytes(handle: ReadHandle): bigint {
  const pages = integerOf(handle.db.prepare("PRAGMA page_count").get(), "page_count");
  return pages * integerOf(handle.db.prepare("PRAGMA page_size").get(), "page_size");
}
