import type { DatabaseSync } from "node:sqlite";
import { integerOf, malformedRow } from "../connection.ts";
import { rowsOf } from "../query/record-rows.ts";
import { bind, type SqlFragment, sql } from "../query/sql.ts";
import { prepared, preparedList } from "../query/statements.ts";
import { countText, matchingSql, type TextMatches, type TextMatchesInput } from "./text-matches.ts";

export interface TextHit {
  readonly seq: bigint;
  /** bm25, higher is better. */
  readonly score: number;
}

export interface RankedText {
  /** The best first; of equal score, in order of creation. */
  readonly hits: readonly TextHit[];
  /** How many were ranked. */
  readonly ranked: number;
  /** How many match, counted as far as it had to be known. */
  readonly count: number;
  /** True if more match than were ranked: the newest were. */
  readonly approximate: boolean;
}

/** The newest matches of a single term that are ranked if they are too many: about 40 ms of work. */
const newestMax = 50_000;
/** And of many terms, at least. */
const newestMin = 10_000;
/** All are ranked if they are at most so many times as many. */
const allFactor = 4;

/** Where a page of hits begins, and how long it is. */
interface HitPage {
  readonly limit: number;
  readonly offset: number;
}

/**
 * The best matches. Of very many, the newest are ranked, so that no word takes a query's time for being
 * common: see docs/decisions/0010-ranking-common-words.md.
 */
export function rankText(db: DatabaseSync, matches: TextMatches, page: HitPage): RankedText {
  const { terms } = matches.expression;
  const newest = Math.max(newestMin, Math.floor((2 * newestMax) / (1 + terms)));
  const row = prepared(db, "SELECT record_count / 2 AS half FROM meta").get();
  // What more than half of the records match says next to nothing of any of them.
  const most = Math.max(newest, Math.min(newest * allFactor, Number(integerOf(row, "half"))));
  if (matches.readsRecords) return rankInOnePass(db, matches, page, most);
  const count = countText(db, matches, most + 1);
  return count > most
    ? { hits: rankNewest(db, matches, page, newest), ranked: newest, count, approximate: true }
    : { hits: rankAll(db, matches, page), ranked: count, count, approximate: false };
}

// The unary plus in these statements keeps FTS5 from sorting by rank itself, which it does without ever
// calling alive().

function rankAll(db: DatabaseSync, { source }: TextMatches, page: HitPage): TextHit[] {
  const best = sql`SELECT t.rowid, t.rank ${source} ORDER BY +t.rank, t.rowid ${pageSql(page)}`;
  return readHits(db, best);
}

function rankNewest(
  db: DatabaseSync,
  { source }: TextMatches,
  page: HitPage,
  newest: number,
): TextHit[] {
  const some = sql`SELECT t.rowid AS seq, t.rank AS score ${source}
    ORDER BY t.rowid DESC LIMIT ${bind(BigInt(newest))}`;
  return readHits(db, sql`SELECT seq, score FROM (${some}) ORDER BY +score, seq ${pageSql(page)}`);
}

/** Counts and ranks in the same pass, where each match costs the reading of a record. */
function rankInOnePass(
  db: DatabaseSync,
  matches: TextMatches,
  page: HitPage,
  most: number,
): RankedText {
  const { sql: text, params } = sql`
    WITH hit AS MATERIALIZED (
      SELECT t.rowid AS seq, t.rank AS score ${matches.source}
      ORDER BY t.rowid DESC LIMIT ${bind(BigInt(most + 1))}
    )
    SELECT seq, score, (SELECT count(*) FROM hit) FROM hit ORDER BY +score, seq ${pageSql(page)}`;
  const hits: TextHit[] = [];
  let known: number | undefined;
  for (const [seq, score, counted] of rowsOf(preparedList(db, text).iterate(...params))) {
    if (typeof counted !== "bigint") throw malformedRow();
    known ??= Number(counted);
    hits.push(toHit(seq, score));
  }
  const isEmpty = page.offset === 0 && page.limit > 0;
  const count = known ?? (isEmpty ? 0 : countText(db, matches, most + 1));
  return { hits, ranked: count, count, approximate: count > most };
}

function pageSql({ limit, offset }: HitPage): SqlFragment {
  return sql`LIMIT ${bind(BigInt(limit))} OFFSET ${bind(BigInt(offset))}`;
}

function readHits(db: DatabaseSync, { sql: text, params }: SqlFragment): TextHit[] {
  const rows = rowsOf(preparedList(db, text).iterate(...params));
  return Array.from(rows, ([seq, score]) => toHit(seq, score));
}

/** The scores of some records, of those that match. */
export function scoresOf(
  input: Pick<TextMatchesInput, "db" | "number" | "expression">,
  seqs: readonly bigint[],
): Map<bigint, number> {
  const query = sql`SELECT t.rowid, t.rank FROM ${matchingSql(input)}
    AND +t.rowid IN (${seqList(seqs)})`;
  return new Map(readHits(input.db, query).map(({ seq, score }) => [seq, score]));
}

/** `SELECT seq …` of records that are known, however many, as one value of a statement. */
export function seqList(seqs: readonly bigint[]): SqlFragment {
  return sql`SELECT value AS seq FROM json_each(${bind(`[${seqs.join(",")}]`)})`;
}

function toHit(seq: unknown, score: unknown): TextHit {
  if (typeof seq !== "bigint" || typeof score !== "number") throw malformedRow();
  // FTS5 makes better matches smaller; and no match is no better than nothing.
  return { seq, score: Math.max(-score, 0) };
}

export const noText: RankedText = { hits: [], ranked: 0, count: 0, approximate: false };
