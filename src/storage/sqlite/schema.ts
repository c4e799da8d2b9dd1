import type { DatabaseSync } from "node:sqlite";
import { CollectorError } from "../../errors.ts";
import type { StoreLayout } from "../store-layout.ts";
import { integerOf, malformedRow, textOf } from "./connection.ts";
import { addTextIndex, addVectorIndex } from "./search-tables.ts";

/** The version of the tables below, kept in each file's `user_version`. */
export const schemaVersion = 2n;

/** Not INSERT OR IGNORE: an upsert that fires the trigger would put its own policy in that place. */
const noteGarbage = `
    INSERT INTO file_garbage (sha256) SELECT OLD.sha256
    WHERE NOT EXISTS (SELECT 1 FROM file_garbage WHERE sha256 = OLD.sha256);
`;

/**
 * The tables of one store.
 *
 * `seq` is the revision that created the record, so it is never used twice and orders by creation.
 * The big columns come last: a scan that needs the small ones does not read past them.
 *
 * `file_garbage` holds content that has lost a name, and that goes unless it has another.
 *
 * `record_count` counts rows, also of records whose time has come and that are not removed yet.
 */
const tables = `
  CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    incarnation TEXT NOT NULL,
    durability TEXT NOT NULL,
    shape INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    record_count INTEGER NOT NULL,
    horizon INTEGER NOT NULL,
    file_count INTEGER NOT NULL,
    file_bytes INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE record (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    expires_us INTEGER,
    labels TEXT NOT NULL,
    document BLOB NOT NULL,
    data BLOB NOT NULL
  ) STRICT;
  CREATE INDEX record_version ON record (version);
  CREATE INDEX record_expires ON record (expires_us) WHERE expires_us IS NOT NULL;

  CREATE TABLE tombstone (
    revision INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    at_us INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE request (
    id TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    answer TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX request_at ON request (at_us);

  CREATE TABLE field_index (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT UNIQUE,
    state TEXT NOT NULL,
    built_to INTEGER NOT NULL,
    build_until INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE search_index (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    definition TEXT NOT NULL,
    state TEXT NOT NULL
  ) STRICT;

  CREATE TABLE file (
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    PRIMARY KEY (owner, name)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX file_sha256 ON file (sha256);

  CREATE TABLE file_garbage (
    sha256 TEXT PRIMARY KEY
  ) STRICT, WITHOUT ROWID;
  CREATE TRIGGER file_removed AFTER DELETE ON file BEGIN
    ${noteGarbage}
  END;
  CREATE TRIGGER file_replaced AFTER UPDATE OF sha256 ON file WHEN OLD.sha256 <> NEW.sha256 BEGIN
    ${noteGarbage}
  END;
`;

/** The shape of a new store. */
const firstShape = 1n;

/**
 * Makes the tables of an empty store.
 *
 * @param incarnation tells its revisions from those of any other
 */
export function createSchema(db: DatabaseSync, layout: StoreLayout, incarnation: string): void {
  db.exec("BEGIN");
  db.exec(tables);
  db.prepare(`
    INSERT INTO meta (
      one, incarnation, durability, shape, revision, record_count, horizon, file_count, file_bytes
    )
    VALUES (1, ?, ?, ?, 0, 0, 0, 0, 0)
  `).run(incarnation, layout.durability, firstShape);
  if (layout.text !== undefined) addTextIndex(db, layout.text, "ready");
  for (const vector of layout.vectors) addVectorIndex(db, vector, "ready");
  const addIndex = db.prepare(`
    INSERT INTO field_index (path, state, built_to, build_until) VALUES (?, 'ready', 0, 0)
    RETURNING number
  `);
  for (const { path } of layout.indexes) {
    db.exec(indexTable(integerOf(addIndex.get(path), "number")));
  }
  db.exec(`PRAGMA user_version = ${schemaVersion}`);
  db.exec("COMMIT");
}

/**
 * The table that holds `(value, seq)` for each value that a record has at the index's path, and
 * {@link noValue} for a record that has none: so the table orders all records.
 */
export function indexTableName(number: bigint): string {
  return `index_${number}`;
}

/**
 * Stands before the path in the row of an index that is being built to take the place of one that
 * serves: no path begins so.
 */
export const rebuildMark = "+";

export function indexTable(number: bigint): string {
  return `
    CREATE TABLE ${indexTableName(number)} (
      value NOT NULL,
      seq INTEGER NOT NULL,
      PRIMARY KEY (value, seq)
    ) WITHOUT ROWID
  `;
}

/** Stands in an index for a record without a value. It sorts after every number and text. */
export const noValue: Uint8Array = new Uint8Array(0);

/** What a store says about itself. */
export interface StoreMeta {
  readonly incarnation: string;
  readonly durability: StoreLayout["durability"];
  readonly shape: bigint;
  readonly revision: bigint;
  /** Rows: {@link countExpired} of them are no records any more. */
  readonly recordCount: bigint;
  readonly horizon: bigint;
  readonly fileCount: bigint;
  readonly fileBytes: bigint;
  readonly tombstones: number;
}

/** @throws {CollectorError} STORAGE_CORRUPT */
export function readMeta(db: DatabaseSync): StoreMeta {
  const row = db
    .prepare(`
      SELECT incarnation, durability, shape, revision, record_count AS recordCount, horizon,
        file_count AS fileCount, file_bytes AS fileBytes,
        (SELECT count(*) FROM tombstone) AS tombstones
      FROM meta
    `)
    .get();
  const durability = textOf(row, "durability");
  if (durability !== "full" && durability !== "relaxed") throw malformedRow();
  return {
    incarnation: textOf(row, "incarnation"),
    durability,
    shape: integerOf(row, "shape"),
    revision: integerOf(row, "revision"),
    recordCount: integerOf(row, "recordCount"),
    horizon: integerOf(row, "horizon"),
    fileCount: integerOf(row, "fileCount"),
    fileBytes: integerOf(row, "fileBytes"),
    tombstones: Number(integerOf(row, "tombstones")),
  };
}

/** Records whose time has come, but whose rows are still there. */
export function countExpired(db: DatabaseSync, nowUs: bigint): bigint {
  const row = db.prepare("SELECT count(*) AS count FROM record WHERE expires_us <= ?").get(nowUs);
  return integerOf(row, "count");
}

/** The schema version of an open store. */
export function readSchemaVersion(db: DatabaseSync): bigint {
  return integerOf(db.prepare("PRAGMA user_version").get(), "user_version");
}

/** @throws {CollectorError} STORAGE_UNAVAILABLE if a newer server wrote the store. */
export function checkSchemaVersion(version: bigint, known: bigint = schemaVersion): void {
  if (version > known) {
    throw new CollectorError(
      "STORAGE_UNAVAILABLE",
      `the data of this collection has format ${version}, this server knows up to ${known}: start a newer server`,
    );
  }
}
