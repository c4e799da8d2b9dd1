import type { DatabaseSync } from "node:sqlite";
import { countCap } from "../../record-query.ts";
import { integerOf, malformedRow } from "../connection.ts";
import {
  type ListRow,
  rawColumnCount,
  rawColumns,
  rowsOf,
  takePage,
} from "../query/record-rows.ts";
import { readSearchIndexes, textTableName } from "../search-tables.ts";
import { type PackedRecords, packRecords } from "./record-codec.ts";

export interface SearchWordsRequest {
  readonly kind: "searchText";
  readonly words: readonly string[];
  readonly limit: number;
  readonly offset: number;
  readonly bytesMax: number;
}

export interface SearchWordsResult {
  readonly kind: "searchText";
  readonly records: PackedRecords;
  readonly scores: readonly number[];
  readonly totalCount: bigint;
  readonly totalCapped: boolean;
}

export function runSearchWords(db: DatabaseSync, query: SearchWordsRequest): SearchWordsResult {
  const index = readSearchIndexes(db).texts.find(({ state }) => state === "ready");
  if (index === undefined) {
    const records = packRecords([]);
    return { kind: "searchText", records, scores: [], totalCount: 0n, totalCapped: false };
  }
  const match = matchAll(query.words);
  const table = textTableName(index.number);
  // The unary plus keeps FTS5 from sorting by rank itself, which it does without ever calling
  // alive(); the cross join keeps the match the outer loop.
  const statement = db.prepare(`
      SELECT ${rawColumns}, hit.score
      FROM (
        SELECT rowid AS seq, rank AS score FROM ${table}
        WHERE ${table} MATCH ? AND alive()
        ORDER BY +rank, rowid LIMIT ? OFFSET ?
      ) hit CROSS JOIN record r ON r.seq = hit.seq
    `);
  statement.setReturnArrays(true);
  const rows = rowsOf(statement.iterate(match, BigInt(query.limit), BigInt(query.offset)));
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

/** Every word as a phrase of its own: whatever is in it, it cannot be syntax. */
function matchAll(words: readonly string[]): string {
  return words.map((word) => `"${word.replaceAll("\0", " ").replaceAll('"', '""')}"`).join(" ");
}

function* keepScores(rows: Iterable<ListRow>, scores: number[]): Iterable<ListRow> {
  for (const row of rows) {
    const score = row[rawColumnCount];
    if (typeof score !== "number") throw malformedRow();
    // FTS5 makes better matches smaller.
    scores.push(-score);
    yield row;
  }
}
