import type { DatabaseSync } from "node:sqlite";
import { malformedRow } from "../connection.ts";
import { rowsOf } from "../query/record-rows.ts";
import { bind, type SqlFragment, sql } from "../query/sql.ts";
import { preparedList } from "../query/statements.ts";
import { countText, matchingSql, type TextMatches, type TextMatchesInput } from "./text-matches.ts";

export interface TextHit {
  readonly seq: bigint;
  /** bm25, higher is better. */
  readonly score: number;
}

export interface RankedText {
  /** The best first; of equal score, in order of creation. */
  readonly hits: readonly TextHit[];
  /** How many match, counted a little further than were ranked. */
  readonly count: number;
  /** True if more match than were ranked: the newest were. */
  readonly approximate: boolean;
}

/** Matches of a single term that are ranked: about 50 ms of work. */
const rankedMax = 50_000;
/** And of many terms, at least. */
const rankedMin = 10_000;

/** How many matches are ranked: of more terms fewer, as each costs. See docs/decisions/0010. */
export function rankedMatchesMax(terms: number): number {
  return Math.max(rankedMin, Math.floor((2 * rankedMax) / (1 + terms)));
}

/**
 * The best matches. If there are more than can be ranked in a small part of a query's time, the newest
 * of them are ranked. Matches are counted in the same pass.
 */
export function rankText(
  db: DatabaseSync,
  matches: TextMatches,
  { limit, offset }: { readonly limit: number; readonly offset: number },
): RankedText {
  const most = rankedMatchesMax(matches.expression.terms);
  // The unary plus keeps FTS5 from sorting by rank itself, which it does without calling alive().
  const { sql: text, params } = sql`
    WITH hit AS MATERIALIZED (
      SELECT t.rowid AS seq, t.rank AS score ${matches.source}
      ORDER BY t.rowid DESC LIMIT ${bind(BigInt(most + 1))}
    )
    SELECT seq, score, (SELECT count(*) FROM hit) FROM hit
    ORDER BY +score, seq LIMIT ${bind(BigInt(limit))} OFFSET ${bind(BigInt(offset))}`;
  const hits: TextHit[] = [];
  let count: number | undefined;
  for (const [seq, score, counted] of rowsOf(preparedList(db, text).iterate(...params))) {
    if (typeof counted !== "bigint") throw malformedRow();
    count ??= Number(counted);
    hits.push(toHit(seq, score));
  }
  count ??= offset === 0 && limit > 0 ? 0 : countText(db, matches, most + 1);
  return { hits, count, approximate: count > most };
}

/** The scores of some records, of those that match. */
export function scoresOf(
  input: Pick<TextMatchesInput, "db" | "number" | "expression">,
  seqs: readonly bigint[],
): Map<bigint, number> {
  const { sql: text, params } = sql`SELECT t.rowid, t.rank FROM ${matchingSql(input)}
    AND +t.rowid IN (${seqList(seqs)})`;
  const scores = new Map<bigint, number>();
  for (const [seq, score] of rowsOf(preparedList(input.db, text).iterate(...params))) {
    const hit = toHit(seq, score);
    scores.set(hit.seq, hit.score);
  }
  return scores;
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

export const noText: RankedText = { hits: [], count: 0, approximate: false };
