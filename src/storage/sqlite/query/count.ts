import type { DatabaseSync } from "node:sqlite";
import { type Condition, countCap } from "../../record-query.ts";
import { integerOf } from "../connection.ts";
import { aliveOf } from "./alive.ts";
import { type Candidates, candidateSeqs, candidatesOf, estimateMax } from "./candidates.ts";
import { conditionSql, liveSql, type QueryContext } from "./condition-sql.ts";
import { remembered } from "./count-cache.ts";
import { andRest } from "./list-rows.ts";
import { bind, type SqlFragment, sql } from "./sql.ts";
import { prepared } from "./statements.ts";

export interface Total {
  readonly count: bigint;
  /** True if there are more, or there was no time to count them. */
  readonly capped: boolean;
}

/** How many records there are. */
export function countAll(db: DatabaseSync, context: QueryContext): bigint {
  const rows = prepared(db, "SELECT record_count AS count FROM meta").get();
  return integerOf(rows, "count") - countExpiredRows(db, context);
}

/** How many records have expired that are not yet removed. */
export function countExpiredRows(db: DatabaseSync, { expires, nowUs }: QueryContext): bigint {
  if (!expires) return 0n;
  const expired = prepared(db, "SELECT count(*) AS count FROM record WHERE expires_us <= ?");
  return integerOf(expired.get(nowUs), "count");
}

export interface CountInput {
  readonly db: DatabaseSync;
  readonly where: Condition;
  readonly context: QueryContext;
  /** What {@link candidatesOf} says of `where`. */
  readonly candidates: Candidates | undefined;
  /** Longest run time. */
  readonly ms: number;
  /** What was counted before, of the records up to this `seq`. */
  readonly counted?: { readonly seq: bigint; readonly count: number } | undefined;
}

/** Counts what fulfils a condition, up to the cap and as far as the time goes. */
export function countMatches(input: CountInput): Total {
  const { db, where, context, ms, counted = { seq: 0n, count: 0 } } = input;
  let { candidates } = input;
  if (candidates?.rest === undefined && candidates?.repeats === false && !context.expires) {
    // Planning has counted it already, unless it did not need to know so exactly.
    candidates = candidatesOf(db, where, context) ?? candidates;
    return totalOf(candidates.estimate, candidates.estimate >= estimateMax);
  }
  const counting = countSql(where, context, candidates, counted.seq);
  let inTime = true;
  const max = countCap - counted.count;
  const count = remembered(db, counting, () => {
    const found = aliveOf(db).count({ max, ms }, () =>
      prepared(db, counting.sql).get(...counting.params),
    );
    inTime = !found.capped || found.count >= max;
    const lasting = inTime && !context.expires;
    return { count: found.capped && inTime ? max + 1 : found.count, lasting };
  });
  return totalOf(counted.count + count, !inTime || count > max);
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
  from: bigint,
): SqlFragment {
  const live = liveSql(context);
  if (candidates === undefined) {
    const condition = conditionSql(where);
    return sql`SELECT count(tally()) FROM record r
      WHERE r.seq > ${bind(from)} AND alive() AND ${condition} ${live}`;
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
