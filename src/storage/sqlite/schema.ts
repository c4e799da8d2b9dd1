import { randomUUID } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import { CollectorError } from "../../errors.ts";
import type { StoreLayout } from "../record-store.ts";
import { integerOf, malformedRow, textOf } from "./connection.ts";

/** The version of the tables below, kept in each file's `user_version`. */
export const schemaVersion = 1n;

/**
 * The tables of one store.
 *
 * `seq` is the revision that created the record, so it is never used twice and orders by creation.
 * The big columns come last: a scan that needs the small ones does not read past them.
 */
const tables = `
  CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    incarnation TEXT NOT NULL,
    durability TEXT NOT NULL,
    text_fields TEXT NOT NULL,
    revision INTEGER NOT NULL,
    record_count INTEGER NOT NULL,
    horizon INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE record (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    labels TEXT NOT NULL,
    document BLOB NOT NULL,
    data BLOB NOT NULL
  ) STRICT;
  CREATE INDEX record_version ON record (version);

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
`;

/** Makes the tables of an empty store. */
export function createSchema(db: DatabaseSync, layout: StoreLayout): void {
  db.exec("BEGIN");
  db.exec(tables);
  if (layout.textFields.length > 0) db.exec(textTable(layout.textFields));
  db.prepare(`
    INSERT INTO meta (one, incarnation, durability, text_fields, revision, record_count, horizon)
    VALUES (1, ?, ?, ?, 0, 0, 0)
  `).run(randomUUID(), layout.durability, JSON.stringify(layout.textFields));
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

/** The column of a text field in the full-text table: prefixed, as FTS5 keeps some names to itself. */
export function textColumn(field: string): string {
  return `t_${field}`;
}

/** The table that holds `(value, seq)` for each value that a record has at the index's path. */
export function indexTableName(number: bigint): string {
  return `index_${number}`;
}

export function indexTable(number: bigint): string {
  return `
    CREATE TABLE ${indexTableName(number)} (
      value NOT NULL,
      seq INTEGER NOT NULL,
      PRIMARY KEY (value, seq)
    ) WITHOUT ROWID
  `;
}

/**
 * Holds no text of its own. It merges nothing by itself: merges come in small steps between writes,
 * so that no write waits for a large one.
 */
function textTable(fields: readonly string[]): string {
  return `
    CREATE VIRTUAL TABLE record_text USING fts5(
      ${fields.map(textColumn).join(", ")},
      content = '', contentless_delete = 1, prefix = '3',
      tokenize = "unicode61 remove_diacritics 2"
    );
    INSERT INTO record_text (record_text, rank) VALUES ('automerge', 0);
    INSERT INTO record_text (record_text, rank) VALUES ('crisismerge', 64);
  `;
}

/** What a store says about itself. */
export interface StoreMeta {
  readonly incarnation: string;
  readonly durability: StoreLayout["durability"];
  readonly textFields: readonly string[];
  readonly revision: bigint;
  readonly recordCount: bigint;
  readonly horizon: bigint;
  readonly tombstones: number;
}

/** @throws {CollectorError} STORAGE_CORRUPT */
export function readMeta(db: DatabaseSync): StoreMeta {
  const row = db
    .prepare(`
      SELECT incarnation, durability, text_fields AS textFields, revision,
        record_count AS recordCount, horizon, (SELECT count(*) FROM tombstone) AS tombstones
      FROM meta
    `)
    .get();
  const durability = textOf(row, "durability");
  if (durability !== "full" && durability !== "relaxed") throw malformedRow();
  return {
    incarnation: textOf(row, "incarnation"),
    durability,
    textFields: JSON.parse(textOf(row, "textFields")) as string[],
    revision: integerOf(row, "revision"),
    recordCount: integerOf(row, "recordCount"),
    horizon: integerOf(row, "horizon"),
    tombstones: Number(integerOf(row, "tombstones")),
  };
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
