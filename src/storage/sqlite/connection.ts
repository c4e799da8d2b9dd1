import { DatabaseSync, type SQLOutputValue } from "node:sqlite";
import { pathToFileURL } from "node:url";
import { CollectorError } from "../../errors.ts";
import type { StoreLayout } from "../store-layout.ts";

/** A row as it leaves the database: nothing in it is checked yet. */
export type Row = Record<string, SQLOutputValue>;

/**
 * The oldest SQLite this server runs on: earlier ones lose a WAL when it is reset under a reader,
 * and overflow on crafted full-text tables.
 */
export const sqliteVersionMin = "3.53.2";

/** How long a connection waits for a lock of another, in ms. The event loop must not wait long. */
const writerBusyMs = 5000;
const readerBusyMs = 50;

/** Memory for pages of one store that is being written, in KiB. It is only used when needed. */
const writerCacheKib = 8192;

/** @throws {CollectorError} STORAGE_UNAVAILABLE if this Node comes with an SQLite that is too old. */
export function assertSqliteVersion(): void {
  const db = new DatabaseSync(":memory:");
  try {
    const version = textOf(db.prepare("SELECT sqlite_version() AS version").get(), "version");
    if (compareVersions(version, sqliteVersionMin) < 0) {
      throw new CollectorError(
        "STORAGE_UNAVAILABLE",
        `this Node has SQLite ${version}; Collector needs ${sqliteVersionMin} or newer: update Node within the 24 line`,
      );
    }
  } finally {
    db.close();
  }
}

/** Opens a store to write to it. The file must exist. */
export function openForWriting(path: string, durability: StoreLayout["durability"]): DatabaseSync {
  return open(path, "rw", writerBusyMs, (db) => {
    db.exec(`
      PRAGMA trusted_schema = OFF;
      PRAGMA temp_store = MEMORY;
      PRAGMA cache_size = -${writerCacheKib};
      PRAGMA wal_autocheckpoint = 0;
    `);
    setSynchronous(db, durability);
  });
}

/** Opens a store to read it. The file must exist. */
export function openForReading(path: string, busyMs: number = readerBusyMs): DatabaseSync {
  return open(path, "ro", busyMs, (db) => {
    db.exec(`
      PRAGMA trusted_schema = OFF;
      PRAGMA temp_store = MEMORY;
      PRAGMA query_only = ON;
    `);
  });
}

/** Sets when a commit waits for the disk, and makes sure that it is set. */
export function setSynchronous(db: DatabaseSync, durability: StoreLayout["durability"]): void {
  const wanted = durability === "full" ? 2n : 1n;
  db.exec(`PRAGMA synchronous = ${wanted}`);
  const row = db.prepare("PRAGMA synchronous").get();
  if (row?.["synchronous"] !== wanted) {
    throw new CollectorError("STORAGE_UNAVAILABLE", "the database refused its durability setting");
  }
}

/** Reads a text column, or says that the file is not what it should be. */
export function textOf(row: Row | undefined, column: string): string {
  const value = row?.[column];
  if (typeof value !== "string") throw malformedRow();
  return value;
}

/** Reads an integer column, or says that the file is not what it should be. */
export function integerOf(row: Row | undefined, column: string): bigint {
  const value = row?.[column];
  if (typeof value !== "bigint") throw malformedRow();
  return value;
}

export function malformedRow(): CollectorError {
  return new CollectorError("STORAGE_CORRUPT", "the data of this collection is damaged");
}

function open(
  path: string,
  mode: "ro" | "rw",
  timeout: number,
  configure: (db: DatabaseSync) => void,
): DatabaseSync {
  // Given as a URL because only so can SQLite be told not to make a missing file.
  const url = pathToFileURL(path);
  url.searchParams.set("mode", mode);
  const db = new DatabaseSync(url, { readBigInts: true, defensive: true, timeout });
  try {
    configure(db);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split(".").map(Number));
  for (let part = 0; part < 3; part++) {
    const difference = (left?.[part] ?? 0) - (right?.[part] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
