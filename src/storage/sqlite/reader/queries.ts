import type { DatabaseSync } from "node:sqlite";
import { countCap } from "../../record-query.ts";
import type { Change } from "../../record-store.ts";
import { integerOf, malformedRow, type Row, textOf } from "../connection.ts";
import { readMeta } from "../schema.ts";
import { readSearchIndexes, textTableName } from "../search-tables.ts";
import { type PackedRecords, packRecords, type RawRecord } from "./record-codec.ts";

/** What a reader can be asked for. */
export type ReaderQuery =
  | {
      readonly kind: "list";
      readonly limit: number;
      /** The `seq` of the last record of the page before. */
      readonly after: bigint;
      readonly bytesMax: number;
    }
  | {
      readonly kind: "searchText";
      readonly words: readonly string[];
      readonly limit: number;
      readonly offset: number;
      readonly bytesMax: number;
    }
  | { readonly kind: "changes"; readonly revision: bigint; readonly limit: number };

export interface ListResult {
  readonly kind: "list";
  readonly records: PackedRecords;
  /** The `seq` to go on after; undefined on the last page. */
  readonly next: bigint | undefined;
  readonly totalCount: bigint;
}

export interface SearchResult {
  readonly kind: "searchText";
  readonly records: PackedRecords;
  readonly scores: readonly number[];
  readonly totalCount: bigint;
  readonly totalCapped: boolean;
}

export interface ChangesResult {
  readonly kind: "changes";
  readonly changes: readonly Change[];
  readonly revision: bigint;
  readonly horizon: bigint;
}

export type ReaderResult = ListResult | SearchResult | ChangesResult;

/** What a record costs in a page besides its own bytes, about. */
const recordOverheadBytes = 128;

const columns = "r.seq, r.id, r.version, r.created_us, r.updated_us, r.labels, r.data";

/**
 * Runs a query in one read transaction, so that all of its answer is of one moment.
 *
 * The connection has a function `alive()`, which throws once the query is to stop. It stands in
 * every WHERE clause that can pass over many rows before it finds one.
 */
export function runQuery(db: DatabaseSync, query: ReaderQuery): ReaderResult {
  db.exec("BEGIN");
  try {
    if (query.kind === "list") return runList(db, query);
    if (query.kind === "searchText") return runSearch(db, query);
    return runChanges(db, query);
  } finally {
    if (db.isTransaction) db.exec("ROLLBACK");
  }
}

function runList(db: DatabaseSync, query: ReaderQuery & { kind: "list" }): ListResult {
  const { recordCount } = readMeta(db);
  const rows = db
    .prepare(`SELECT ${columns} FROM record r WHERE seq > ? AND alive() ORDER BY seq LIMIT ?`)
    .iterate(query.after, BigInt(query.limit) + 1n);
  const page = takePage(rows, query.limit, query.bytesMax);
  return {
    kind: "list",
    records: packRecords(page.records),
    next: page.more ? page.lastSeq : undefined,
    totalCount: recordCount,
  };
}

function runSearch(db: DatabaseSync, query: ReaderQuery & { kind: "searchText" }): SearchResult {
  const index = readSearchIndexes(db).texts.find(({ state }) => state === "ready");
  if (index === undefined) {
    const records = packRecords([]);
    return { kind: "searchText", records, scores: [], totalCount: 0n, totalCapped: false };
  }
  const match = matchAll(query.words);
  const table = textTableName(index.number);
  // The unary plus keeps FTS5 from sorting by rank itself, which it does without ever calling
  // alive(); the cross join keeps the match the outer loop.
  const rows = db
    .prepare(`
      SELECT ${columns}, hit.score
      FROM (
        SELECT rowid AS seq, rank AS score FROM ${table}
        WHERE ${table} MATCH ? AND alive()
        ORDER BY +rank, rowid LIMIT ? OFFSET ?
      ) hit CROSS JOIN record r ON r.seq = hit.seq
    `)
    .iterate(match, BigInt(query.limit), BigInt(query.offset));
  const scores: number[] = [];
  const page = takePage(keepScores(rows, scores), query.limit, query.bytesMax);
  const count = integerOf(
    db
      .prepare(`
        SELECT count(*) AS count
        FROM (SELECT 1 FROM ${table} WHERE ${table} MATCH ? AND alive() LIMIT ?)
      `)
      .get(match, BigInt(countCap) + 1n),
    "count",
  );
  const totalCapped = count > BigInt(countCap);
  return {
    kind: "searchText",
    records: packRecords(page.records),
    scores: scores.slice(0, page.records.length),
    totalCount: totalCapped ? BigInt(countCap) : count,
    totalCapped,
  };
}

function runChanges(db: DatabaseSync, query: ReaderQuery & { kind: "changes" }): ChangesResult {
  const { revision, horizon } = readMeta(db);
  const limit = BigInt(query.limit);
  const rows = db
    .prepare(`
      SELECT * FROM (
        SELECT version AS revision, id, 'written' AS kind, updated_us AS at_us
        FROM record WHERE version > ?1 AND alive() ORDER BY version LIMIT ?2
      )
      UNION ALL
      SELECT * FROM (
        SELECT revision, id, 'deleted', at_us
        FROM tombstone WHERE revision > ?1 AND alive() ORDER BY revision LIMIT ?2
      )
      ORDER BY revision LIMIT ?2
    `)
    .all(query.revision, limit);
  return {
    kind: "changes",
    changes: rows.map((row) => ({
      revision: integerOf(row, "revision"),
      id: textOf(row, "id"),
      kind: textOf(row, "kind") === "deleted" ? "deleted" : "written",
      atUs: integerOf(row, "at_us"),
      record: undefined,
    })),
    revision,
    horizon,
  };
}

/** Every word as a phrase of its own: whatever is in it, it cannot be syntax. */
function matchAll(words: readonly string[]): string {
  return words.map((word) => `"${word.replaceAll("\0", " ").replaceAll('"', '""')}"`).join(" ");
}

/** Takes rows up to a number and a size, whichever comes first, but at least one. */
function takePage(
  rows: Iterable<Row>,
  limit: number,
  bytesMax: number,
): { readonly records: readonly RawRecord[]; readonly lastSeq: bigint; readonly more: boolean } {
  const records: RawRecord[] = [];
  let lastSeq = 0n;
  let bytes = 0;
  for (const row of rows) {
    const record = toRawRecord(row);
    bytes += record.data.byteLength + record.labels.length + record.id.length + recordOverheadBytes;
    if (records.length === limit || (bytes > bytesMax && records.length > 0)) {
      return { records, lastSeq, more: true };
    }
    records.push(record);
    lastSeq = integerOf(row, "seq");
  }
  return { records, lastSeq, more: false };
}

function* keepScores(rows: Iterable<Row>, scores: number[]): Iterable<Row> {
  for (const row of rows) {
    const { score } = row;
    if (typeof score !== "number") throw malformedRow();
    // FTS5 makes better matches smaller.
    scores.push(-score);
    yield row;
  }
}

function toRawRecord(row: Row): RawRecord {
  const { data } = row;
  if (!(data instanceof Uint8Array)) throw malformedRow();
  return {
    id: textOf(row, "id"),
    version: integerOf(row, "version"),
    createdUs: integerOf(row, "created_us"),
    updatedUs: integerOf(row, "updated_us"),
    labels: textOf(row, "labels"),
    data,
  };
}
