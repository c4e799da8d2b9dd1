import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { TextIndexDefinition } from "../../store-layout.ts";
import { indexTableName } from "../schema.ts";
import { textColumns, textTableName } from "../search-tables.ts";

/**
 * What a writer does to a store's tables, prepared once. Values are bound by position: by name costs
 * a microsecond more per statement.
 */
export interface WriteStatements {
  readonly find: StatementSync;
  readonly insert: StatementSync;
  readonly replace: StatementSync;
  readonly relabel: StatementSync;
  readonly derive: StatementSync;
  readonly remove: StatementSync;
  readonly document: StatementSync;
  readonly insertTombstone: StatementSync;
  readonly removeTombstone: StatementSync;
  readonly nthTombstone: StatementSync;
  readonly trimTombstones: StatementSync;
  readonly findRequest: StatementSync;
  readonly insertRequest: StatementSync;
  readonly trimRequests: StatementSync;
  readonly saveMeta: StatementSync;
  readonly filesOf: StatementSync;
  readonly removeFiles: StatementSync;
}

/** Of one text index. */
export interface TextStatements {
  readonly insert: StatementSync;
  readonly remove: StatementSync;
}

/** Of one index. */
export interface IndexStatements {
  readonly insert: StatementSync;
  readonly remove: StatementSync;
}

export function prepareWriteStatements(db: DatabaseSync): WriteStatements {
  return {
    find: db.prepare(`
      SELECT seq, version, created_us AS createdUs, updated_us AS updatedUs,
        expires_us AS expiresUs, labels
      FROM record WHERE id = ?
    `),
    // Where it conflicts it changes nothing, so it needs no look-up before it.
    insert: db.prepare(`
      INSERT INTO record (seq, id, version, created_us, updated_us, expires_us, labels, document, data)
      VALUES (?, ?, ?, ?, ?, ?, ?, jsonb(?), ?)
      ON CONFLICT (id) DO NOTHING
    `),
    replace: db.prepare(`
      UPDATE record
      SET version = ?2, updated_us = ?3, expires_us = ?4, labels = ?5, document = jsonb(?6), data = ?7
      WHERE seq = ?1
    `),
    relabel: db.prepare(`
      UPDATE record SET version = ?2, updated_us = ?3, labels = ?4 WHERE seq = ?1
    `),
    derive: db.prepare("UPDATE record SET expires_us = ?2, document = jsonb(?3) WHERE seq = ?1"),
    remove: db.prepare("DELETE FROM record WHERE seq = ?"),
    document: db.prepare("SELECT json(document) AS document FROM record WHERE seq = ?"),
    insertTombstone: db.prepare(
      "INSERT OR REPLACE INTO tombstone (revision, id, at_us) VALUES (?, ?, ?)",
    ),
    removeTombstone: db.prepare("DELETE FROM tombstone WHERE id = ?"),
    nthTombstone: db.prepare("SELECT revision FROM tombstone ORDER BY revision LIMIT 1 OFFSET ?"),
    trimTombstones: db.prepare("DELETE FROM tombstone WHERE revision <= ?"),
    findRequest: db.prepare("SELECT fingerprint, at_us AS atUs, answer FROM request WHERE id = ?"),
    insertRequest: db.prepare(
      "INSERT OR REPLACE INTO request (id, fingerprint, at_us, answer) VALUES (?, ?, ?, ?)",
    ),
    trimRequests: db.prepare(`
      DELETE FROM request
      WHERE id IN (SELECT id FROM request WHERE at_us <= ? ORDER BY at_us LIMIT 64)
    `),
    saveMeta: db.prepare(`
      UPDATE meta
      SET revision = ?, record_count = ?, horizon = ?, file_count = ?, file_bytes = ?
    `),
    filesOf: db.prepare(`
      SELECT count(*) AS count, coalesce(sum(size), 0) AS bytes FROM file WHERE owner = ?
    `),
    removeFiles: db.prepare("DELETE FROM file WHERE owner = ?"),
  };
}

export function prepareIndexStatements(db: DatabaseSync, number: bigint): IndexStatements {
  const table = indexTableName(number);
  return {
    insert: db.prepare(`INSERT OR IGNORE INTO ${table} (value, seq) VALUES (?, ?)`),
    remove: db.prepare(`DELETE FROM ${table} WHERE value = ? AND seq = ?`),
  };
}

export function prepareTextStatements(
  db: DatabaseSync,
  number: bigint,
  definition: TextIndexDefinition,
): TextStatements {
  const table = textTableName(number);
  const columns = textColumns(definition);
  const places = columns.map(() => "?").join(", ");
  return {
    insert: db.prepare(`INSERT INTO ${table} (rowid, ${columns.join(", ")}) VALUES (?, ${places})`),
    remove: db.prepare(`DELETE FROM ${table} WHERE rowid = ?`),
  };
}
