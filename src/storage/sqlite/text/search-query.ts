import type { DatabaseSync } from "node:sqlite";
import {
  type Condition,
  countCap,
  type FacetCounts,
  type QueryRun,
  type SearchQuery,
  type TextMatch,
} from "../../record-query.ts";
import { aliveOf } from "../query/alive.ts";
import { readContext } from "../query/condition-sql.ts";
import { missingIndexes, RunLog } from "../query/query-run.ts";
import { rawColumns, recordBytes, rowsOf, toRawRecord } from "../query/record-rows.ts";
import { preparedList } from "../query/statements.ts";
import { type PackedRecords, packRecords, type RawRecord } from "../reader/record-codec.ts";
import { browse } from "./browse.ts";
import { countFacets } from "./facets.ts";
import { findByBoth, findByText, findByVector } from "./find-matches.ts";
import type { Found, FoundHit, SearchScope, WantedText } from "./found.ts";
import { matchExpression } from "./match-expression.ts";
import { readyTextIndex } from "./ready-indexes.ts";

export interface SearchRequest {
  readonly kind: "search";
  readonly query: SearchQuery;
  readonly nowUs: bigint;
  readonly bytesMax: number;
  /** How long the matches may be counted where that is work of its own. */
  readonly countMs: number;
}

export interface SearchResult {
  readonly kind: "search";
  readonly records: PackedRecords;
  /** One per record, as are the two below. */
  readonly scores: readonly number[];
  readonly textScores: readonly (number | undefined)[];
  readonly distances: readonly (number | undefined)[];
  readonly totalCount: bigint;
  readonly totalCapped: boolean;
  readonly approximate: boolean;
  readonly facets: readonly FacetCounts[];
  readonly run: QueryRun;
}

/** @throws {CollectorError} QUERY_INVALID for an index that is not ready, or a field that is not there */
export function runSearch(db: DatabaseSync, request: SearchRequest): SearchResult {
  const { query, bytesMax } = request;
  const log = new RunLog();
  const context = readContext(db, request.nowUs);
  const where = effective(query.where);
  const { countMs } = request;
  const scope: SearchScope = { db, query, where, context, log, countMs };
  const found = find(scope);
  const { hits, records } = takeRecords(db, found.hits, bytesMax);
  const facets = countFacets(db, query.facets ?? [], found.matches, context);
  if (facets.length > 0) {
    log.step("counted the values of facets");
    log.useIndexes((query.facets ?? []).map(({ index }) => index));
  }
  return {
    kind: "search",
    records: packRecords(records),
    scores: hits.map(({ score }) => score),
    textScores: hits.map(({ textScore }) => textScore),
    distances: hits.map(({ distance }) => distance),
    totalCount: BigInt(Math.min(found.count, countCap)),
    totalCapped: found.countCapped || found.count > countCap,
    approximate: found.approximate,
    facets,
    run: log.finish({
      rowsVisited: aliveOf(db).rowsVisited + found.rowsVisited,
      answered: records.length,
      wanted: missingIndexes(where, query.order?.[0]?.source, context),
    }),
  };
}

function find(scope: SearchScope): Found {
  const { text, near } = scope.query;
  if (text === undefined) return near === undefined ? browse(scope) : findByVector(scope, near);
  const wanted = wantedText(scope.db, text);
  if (wanted === undefined) scope.log.step("found no word in the text");
  return near === undefined ? findByText(scope, wanted) : findByBoth(scope, wanted, near);
}

function wantedText(db: DatabaseSync, match: TextMatch): WantedText | undefined {
  const index = readyTextIndex(db);
  const expression = matchExpression(match, index.definition);
  return expression && { number: index.number, expression };
}

function effective(where: Condition | undefined): Condition | undefined {
  return where?.kind === "always" ? undefined : where;
}

/** Reads the records of hits, as many as the answer has room for, but at least one. */
function takeRecords(
  db: DatabaseSync,
  hits: readonly FoundHit[],
  bytesMax: number,
): { readonly hits: readonly FoundHit[]; readonly records: readonly RawRecord[] } {
  const get = preparedList(db, `SELECT ${rawColumns} FROM record r WHERE seq = ?`);
  const taken: FoundHit[] = [];
  const records: RawRecord[] = [];
  let bytes = 0;
  for (const hit of hits) {
    for (const row of rowsOf(get.iterate(hit.seq))) {
      const record = toRawRecord(row);
      bytes += recordBytes(record);
      if (bytes > bytesMax && records.length > 0) return { hits: taken, records };
      taken.push(hit);
      records.push(record);
    }
  }
  return { hits: taken, records };
}
