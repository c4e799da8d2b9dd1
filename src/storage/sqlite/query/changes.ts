import type { DatabaseSync } from "node:sqlite";
import type { Change } from "../../record-store.ts";
import { integerOf, malformedRow, textOf } from "../connection.ts";
import { parseLabels } from "../labels.ts";
import { recordBytes, rowsOf, toRawRecord } from "./record-rows.ts";
import { prepared, preparedList } from "./statements.ts";

export interface ChangesRequest {
  readonly kind: "changes";
  readonly revision: bigint;
  readonly limit: number;
  readonly bytesMax: number;
}

export interface ChangesResult {
  readonly kind: "changes";
  readonly changes: readonly Change[];
  readonly more: boolean;
  readonly revision: bigint;
  readonly horizon: bigint;
}

export interface ExpiredRequest {
  readonly kind: "expired";
  readonly nowUs: bigint;
  readonly limit: number;
}

export interface ExpiredResult {
  readonly kind: "expired";
  readonly ids: readonly string[];
}

/**
 * What changed after a revision. A record whose time has come and that is not removed yet is shown as it
 * was written: its delete follows, as a change of its own.
 */
export function runChanges(db: DatabaseSync, request: ChangesRequest): ChangesResult {
  const meta = prepared(db, "SELECT revision, horizon FROM meta").get();
  const rows = preparedList(
    db,
    `SELECT r.seq, hit.id, hit.revision, r.created_us, hit.at_us, r.labels, r.data, json(r.document)
    FROM (
      SELECT * FROM (
        SELECT version AS revision, seq, id, updated_us AS at_us
        FROM record WHERE version > ?1 AND alive() ORDER BY version LIMIT ?2
      )
      UNION ALL
      SELECT * FROM (
        SELECT revision, NULL, id, at_us
        FROM tombstone WHERE revision > ?1 AND alive() ORDER BY revision LIMIT ?2
      )
      ORDER BY revision LIMIT ?2
    ) hit LEFT JOIN record r ON r.seq = hit.seq`,
  ).iterate(request.revision, BigInt(request.limit) + 1n);
  const changes: Change[] = [];
  let bytes = 0;
  let more = false;
  for (const row of rowsOf(rows)) {
    const change = toChange(row);
    bytes += bytesOf(change);
    more = changes.length === request.limit || (bytes > request.bytesMax && changes.length > 0);
    if (more) break;
    changes.push(change);
  }
  return {
    kind: "changes",
    changes,
    more,
    revision: integerOf(meta, "revision"),
    horizon: integerOf(meta, "horizon"),
  };
}

/** Ids of records whose time has come, first those that expired first. */
export function runExpired(db: DatabaseSync, { nowUs, limit }: ExpiredRequest): ExpiredResult {
  const rows = prepared(
    db,
    "SELECT id FROM record WHERE expires_us <= ? ORDER BY expires_us LIMIT ?",
  ).all(nowUs, BigInt(limit));
  return { kind: "expired", ids: rows.map((row) => textOf(row, "id")) };
}

function toChange(row: Parameters<typeof toRawRecord>[0]): Change {
  const [seq, id, revision, , atUs, , , document] = row;
  if (typeof id !== "string" || typeof revision !== "bigint" || typeof atUs !== "bigint") {
    throw malformedRow();
  }
  if (seq === null) return { revision, id, kind: "deleted", atUs, record: undefined };
  if (typeof seq !== "bigint" || typeof document !== "string") throw malformedRow();
  const { labels, ...raw } = toRawRecord(row);
  const record = { ...raw, labels: parseLabels(labels), document, createdRevision: seq };
  return { revision, id, kind: "written", atUs, record };
}

function bytesOf({ id, record }: Change): number {
  if (record === undefined) return id.length + 64;
  return recordBytes({ ...record, labels: JSON.stringify(record.labels) }) + record.document.length;
}
