import { existsSync } from "node:fs";
import { join } from "node:path";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { CollectorError } from "../../errors.ts";
import type { StoredRecord, StoreStats } from "../record-store.ts";
import { integerOf, openForReading, textOf } from "./connection.ts";
import { checkSchemaVersion, readMeta, readSchemaVersion, schemaVersion } from "./schema.ts";
import { dataFileName } from "./store-paths.ts";
import { recordColumns, toStoredRecord } from "./stored-record.ts";
import { isCannotOpen } from "./translate-error.ts";

/** How many handles to give up when the process has none left. */
const handlesToFree = 16;

/** The store has an older schema: the writer has to open it before it can be read. */
export class OutdatedStoreError extends Error {}

/** A connection to one store for reads that take microseconds. */
export interface ReadHandle {
  readonly db: DatabaseSync;
  readonly get: StatementSync;
  /** The store's; it cannot change while the file is open. */
  readonly incarnation: string;
}

/** The read connections of the event loop's thread: at most so many, the least used closed first. */
export class PointReads {
  readonly #storesFolder: string;
  readonly #handlesMax: number;
  /** In order of use: the first was not used for longest. */
  readonly #handles = new Map<string, ReadHandle>();
  #latest: { readonly key: string; readonly handle: ReadHandle } | undefined;

  constructor(options: { readonly storesFolder: string; readonly handlesMax: number }) {
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
      return openHandle(path);
    } catch (error) {
      if (!isCannotOpen(error)) throw error;
    }
    if (!existsSync(path)) {
      throw new CollectorError("STORAGE_CORRUPT", "the data of this collection is missing");
    }
    this.#closeDownTo(this.#handles.size - handlesToFree);
    return openHandle(path);
  }

  #closeDownTo(size: number): void {
    for (const key of this.#handles.keys()) {
      if (this.#handles.size <= Math.max(size, 0)) return;
      this.close(key);
    }
  }
}

function openHandle(path: string): ReadHandle {
  const db = openForReading(path);
  try {
    const version = readSchemaVersion(db);
    checkSchemaVersion(version);
    if (version < schemaVersion) throw new OutdatedStoreError();
    return {
      db,
      get: db.prepare(`SELECT ${recordColumns} FROM record WHERE id = ?`),
      incarnation: textOf(db.prepare("SELECT incarnation FROM meta").get(), "incarnation"),
    };
  } catch (error) {
    db.close();
    throw error;
  }
}

export function readRecord(handle: ReadHandle, id: string): StoredRecord | undefined {
  const row = handle.get.get(id);
  return row === undefined ? undefined : toStoredRecord(row);
}

/** Everything but the size on disk, which the file system knows. */
export function readStats(handle: ReadHandle): Omit<StoreStats, "sizeBytes"> {
  const { recordCount, revision, incarnation, durability } = readMeta(handle.db);
  const rows = handle.db
    .prepare("SELECT path, state FROM field_index WHERE state <> 'dropping' ORDER BY number")
    .all();
  return {
    recordCount,
    revision,
    incarnation,
    durability,
    indexes: rows.map((row) => ({
      path: textOf(row, "path"),
      state: textOf(row, "state") === "ready" ? "ready" : "building",
    })),
  };
}

/** Pages in the database file times their size: the part of a store that is not in its log. */
export function readPageBytes(handle: ReadHandle): bigint {
  const pages = integerOf(handle.db.prepare("PRAGMA page_count").get(), "page_count");
  return pages * integerOf(handle.db.prepare("PRAGMA page_size").get(), "page_size");
}
