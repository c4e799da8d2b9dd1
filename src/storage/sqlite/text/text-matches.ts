import type { DatabaseSync } from "node:sqlite";
import type { Condition } from "../../record-query.ts";
import { integerOf } from "../connection.ts";
import { type Candidates, candidateSeqs, candidatesOf, estimateMax } from "../query/candidates.ts";
import { liveSeqSql, type QueryContext } from "../query/condition-sql.ts";
import { andRest } from "../query/list-rows.ts";
import { bind, none, raw, type SqlFragment, sql } from "../query/sql.ts";
import { prepared } from "../query/statements.ts";
import { textTableName } from "../search-tables.ts";
import type { MatchExpression } from "./match-expression.ts";

/** The records whose text matches and that fulfil a condition. */
export interface TextMatches {
  readonly expression: MatchExpression;
  /** `FROM … WHERE …`, where `t.rowid` is the record's `seq` and `t.rank` its score. */
  readonly source: SqlFragment;
  /** True if a match is checked in its record. */
  readonly readsRecords: boolean;
  /** Names of the field indexes that are used. */
  readonly indexes: readonly string[];
  /** How the condition is looked at, for people; undefined without one. */
  readonly filter: string | undefined;
}

export interface TextMatchesInput {
  readonly db: DatabaseSync;
  /** Of the text index. */
  readonly number: bigint;
  readonly expression: MatchExpression;
  readonly where: Condition | undefined;
  readonly context: QueryContext;
}

/**
 * Calls `alive()` for one match in 32: for each, it would cost a quarter of what ranking does. The
 * choice is scattered, so that no pattern of writes makes records that are never chosen.
 */
const sometimesAlive = raw("((t.rowid * 40503 >> 8) & 31 OR alive())");

/** A set of records is put together if it is at most so many times as large as what the text matches. */
const setFactor = 4;

/**
 * Chooses how the condition is looked at. Always the text comes first, and its matches are gone
 * through: to look up one record after the other in the text index takes it milliseconds each if the
 * word is common. Each match is checked against a set that the field indexes gave, or by a look into
 * them, or in the record, in this order of preference.
 */
export function textMatches(input: TextMatchesInput): TextMatches {
  const { db, expression, where, context } = input;
  const matching = matchingSql(input);
  const live = liveSeqSql(context, "t.rowid");
  if (where === undefined) {
    const source = sql`FROM ${matching} AND ${sometimesAlive} ${live}`;
    return { expression, source, readsRecords: false, indexes: [], filter: undefined };
  }
  const candidates = candidatesOf(db, where, context);
  const asSet = candidates !== undefined && isWorthASet(input, candidates);
  const { byIndex, byRecord } = andRest(asSet ? candidates.rest : where, context, "t.rowid");
  const set = asSet ? sql`AND +t.rowid IN (${candidateSeqs(candidates)})` : none;
  const usesIndexes = asSet || byRecord.sql === "";
  const indexes = usesIndexes ? (candidates?.indexes ?? []) : [];
  if (byRecord.sql === "") {
    return {
      expression,
      source: sql`FROM ${matching} AND ${sometimesAlive} ${set} ${byIndex} ${live}`,
      readsRecords: false,
      indexes,
      filter: asSet ? "against the set of records that the indexes gave" : "by the indexes",
    };
  }
  return {
    expression,
    source: sql`FROM ${matchingSql(input, raw("CROSS JOIN record r ON r.seq = t.rowid"))}
      ${set} ${byIndex} AND alive() ${byRecord} ${live}`,
    readsRecords: true,
    indexes,
    filter: asSet ? "against the set that the indexes gave and in the record" : "in the record",
  };
}

/** `SELECT seq …` of what matches: of more than `limit`, the newest. */
export function newestSeqs({ source }: TextMatches, limit: number | undefined): SqlFragment {
  if (limit === undefined) return sql`SELECT t.rowid AS seq ${source}`;
  return sql`SELECT t.rowid AS seq ${source} ORDER BY t.rowid DESC LIMIT ${bind(BigInt(limit))}`;
}

/** How many match, counted up to `max`. */
export function countText(db: DatabaseSync, { source }: TextMatches, max: number): number {
  const { sql: text, params } =
    sql`SELECT count(*) AS count FROM (SELECT 1 ${source} LIMIT ${bind(BigInt(max))})`;
  return Number(integerOf(prepared(db, text).get(...params), "count"));
}

function isWorthASet(input: TextMatchesInput, { estimate }: Candidates): boolean {
  if (estimate >= estimateMax) return false;
  const few = Math.ceil(estimate / setFactor);
  const { sql: text, params } = sql`SELECT count(*) AS count FROM (
    SELECT 1 FROM ${matchingSql(input)} AND ${sometimesAlive} LIMIT ${bind(BigInt(few))}
  )`;
  return Number(integerOf(prepared(input.db, text).get(...params), "count")) >= few;
}

/** `text t … WHERE t MATCH ?`. The cross join keeps the text the outer loop. */
export function matchingSql(
  { number, expression }: Pick<TextMatchesInput, "number" | "expression">,
  joins: SqlFragment = none,
): SqlFragment {
  const table = raw(textTableName(number));
  return sql`${table} t ${joins} WHERE t.${table} MATCH ${bind(expression.text)}`;
}
