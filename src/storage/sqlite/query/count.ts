import type { DatabaseSync } from "node:sqlite";
import { type Condition, countCap } from "../../record-query.ts";
import { integerOf } from "../connection.ts";
import { aliveOf } from "./alive.ts";
import { type Candidates, candidateSeqs, candidatesOf, estimateMax } from "./candidates.ts";
import { conditionSql, liveSql, type QueryContext } from "./condition-sql.ts";
import { andRest } from "./list-rows.ts";
import { type SqlFragment, sql } from "./sql.ts";
import { prepared } from "./statements.ts";

export interface Total {
  readonly count: bigint;
  /** True if there are more, or there was no time to count them. */
  readonly capped: boolean;
}

/** How many records there are. */
export function countAll(db: DatabaseSync, { expires, nowUs }: QueryContext): bigint {
  const all = integerOf(prepared(db, "SELECT record_count AS count FROM meta").get(), "count");
  if (!expires) return all;
  const expired = prepared(db, "SELECT count(*) AS count FROM record WHERE expires_us <= ?");
  return all - integerOf(expired.get(nowUs), "count");
}

export interface CountInput {
  readonly db: DatabaseSync;
  readonly where: Condition;
  readonly context: QueryContext;
  /** What {@link candidatesOf} says of `where`. */
  readonly candidates: Candidates | undefined;
  /** Longest run time. */
  readonly ms: number;
}

/** Counts what fulfils a condition, up to the cap and as far as the time goes. */
export function countMatches(input: CountInput): Total {
  const { db, where, context, candidates, ms } = input;
  if (candidates?.rest === undefined && candidates?.repeats === false && !context.expires) {
    // It was counted already, to plan the query.
    return totalOf(candidates.estimate, candidates.estimate >= estimateMax);
  }
  const { sql: text, params } = countSql(where, context, candidates);
  const { count, capped } = aliveOf(db).count({ max: countCap, ms }, () =>
    prepared(db, text).get(...params),
  );
  return totalOf(count, capped);
}

/** Counts up to the cap, without a budget of its own. */
export function countWhere(
  db: DatabaseSync,
  where: Condition | undefined,
  context: QueryContext,
): Total {
  if (where === undefined) return { count: countAll(db, context), capped: false };
  const candidates = candidatesOf(db, where, context);
  return countMatches({ db, where, context, candidates, ms: Number.POSITIVE_INFINITY });
}

/** `tally()` is no part of a WHERE clause: there it may be called before what takes longer to know. */
/** What is selected is looked at after all conditions; a function among them could come first. */
function countSql(
  where: Condition,
  context: QueryContext,
  candidates: Candidates | undefined,
): SqlFragment {
  const live = liveSql(context);
  if (candidates === undefined) {
    const condition = conditionSql(where);
    return sql`SELECT count(tally()) FROM record r WHERE alive() AND ${condition} ${live}`;
  }
  const seqs = candidateSeqs(candidates);
  const { byIndex, byRecord } = andRest(candidates.rest, context, "c.seq");
  if (byRecord.sql === "" && !context.expires) {
    return sql`SELECT count(tally()) FROM (${seqs}) c WHERE 1 ${byIndex}`;
  }
  return sql`SELECT count(tally()) FROM (${seqs}) c CROSS JOIN record r ON r.seq = c.seq
    WHERE 1 ${byIndex} ${byRecord} ${live}`;
}

function totalOf(count: number, capped: boolean): Total {
  return { count: BigInt(Math.min(count, countCap)), capped };
}
