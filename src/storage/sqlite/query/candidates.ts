import type { DatabaseSync } from "node:sqlite";
import { type Condition, countCap } from "../../record-query.ts";
import { integerOf } from "../connection.ts";
import {
  bareTermSql,
  type IndexRows,
  indexRowsOf,
  type QueryContext,
  type Term,
} from "./condition-sql.ts";
import { remembered } from "./count-cache.ts";
import { bind, join, raw, type SqlFragment, sql } from "./sql.ts";
import { prepared } from "./statements.ts";
import { isMultiple } from "./value-source.ts";

/** Records found by indexes, among which are all that fulfil a condition. */
export interface Candidates {
  /** `SELECT seq …`, once per part; a record can be in several. */
  readonly parts: readonly SqlFragment[];
  /** The rows of the one index, if that is all. */
  readonly rows: IndexRows | undefined;
  /** True if a record can be found twice. */
  readonly repeats: boolean;
  /** What else a candidate has to fulfil; undefined: nothing. */
  readonly rest: Condition | undefined;
  /** How many, up to the number that was asked for. */
  readonly estimate: number;
  /** True if there can be more. */
  readonly more: boolean;
  /** Names of the field indexes that are used. */
  readonly indexes: readonly string[];
}

/** Sets are measured up to here at most: so a count up to the cap comes for free. */
export const estimateMax: number = countCap + 1;
/** What is fewer than this is few: of several sets, others need not be measured any further. */
const fewMax = 200;
/** Parts of an `or` that are looked up one by one; of more, the records are gone through. */
const partsMax = 16;

const none: Candidates = {
  parts: [],
  rows: undefined,
  repeats: false,
  rest: undefined,
  estimate: 0,
  more: false,
  indexes: [],
};

/**
 * What indexes say about a condition; undefined if they cannot say where to look.
 *
 * @param max how far sets are measured.
 */
export function candidatesOf(
  db: DatabaseSync,
  condition: Condition,
  context: QueryContext,
  max: number = estimateMax,
): Candidates | undefined {
  switch (condition.kind) {
    case "and":
      return fewestOf(db, condition.conditions, context, max);
    case "or":
      return unionOf(db, condition.conditions, context, max);
    case "never":
      return none;
    case "always":
    case "not":
      return undefined;
    default:
      return termCandidates(db, condition, context, max);
  }
}

/** `SELECT seq …`: each candidate once, in no order. */
export function candidateSeqs({ parts, repeats }: Candidates): SqlFragment {
  if (parts.length === 0) return raw("SELECT 0 AS seq WHERE 0");
  const all = join(parts, " UNION ALL ");
  return repeats ? sql`SELECT DISTINCT seq FROM (${all})` : all;
}

function fewestOf(
  db: DatabaseSync,
  conditions: readonly Condition[],
  context: QueryContext,
  max: number,
): Candidates | undefined {
  const setsUpTo = (limit: number): (Candidates | undefined)[] =>
    conditions.map((part) => candidatesOf(db, part, context, limit));
  let sets = setsUpTo(conditions.length > 1 ? Math.min(fewMax, max) : max);
  if (!sets.some((set) => set !== undefined && set.estimate < fewMax)) sets = setsUpTo(max);
  let fewest: Candidates | undefined;
  let position = 0;
  for (const [at, set] of sets.entries()) {
    if (set === undefined || (fewest !== undefined && set.estimate >= fewest.estimate)) continue;
    fewest = set;
    position = at;
  }
  if (fewest === undefined) return undefined;
  const rest = conditions.flatMap((part, at) => (at === position ? (fewest.rest ?? []) : part));
  const [only] = rest;
  return {
    ...fewest,
    rest: rest.length > 1 ? { kind: "and", conditions: rest } : only,
  };
}

function unionOf(
  db: DatabaseSync,
  conditions: readonly Condition[],
  context: QueryContext,
  max: number,
): Candidates | undefined {
  if (conditions.length === 0) return none;
  if (conditions.length > partsMax) return undefined;
  const sets: Candidates[] = [];
  for (const part of conditions) {
    const set = candidatesOf(db, part, context, max);
    if (set === undefined) return undefined;
    sets.push(set);
  }
  const [only] = sets;
  if (sets.length === 1 && only !== undefined) return only;
  const sum = sets.reduce((all, { estimate }) => all + estimate, 0);
  return {
    parts: sets.flatMap(({ parts }) => parts),
    rows: undefined,
    repeats: true,
    rest: sets.every(({ rest }) => rest === undefined) ? undefined : { kind: "or", conditions },
    estimate: Math.min(sum, max),
    more: sum >= max,
    indexes: [...new Set(sets.flatMap(({ indexes }) => indexes))],
  };
}

function termCandidates(
  db: DatabaseSync,
  term: Term,
  context: QueryContext,
  max: number,
): Candidates | undefined {
  const rows = indexRowsOf(term, context);
  if (rows !== undefined) {
    const one = rows.values?.length === 1;
    const size = measure(db, sql`SELECT 1 FROM ${rows.table} WHERE ${rows.range}`, max);
    return {
      parts: [sql`SELECT seq FROM ${rows.table} WHERE ${rows.range} AND alive()`],
      rows,
      repeats: isMultiple(term.source) && !one,
      rest: rows.exact ? undefined : term,
      estimate: size,
      more: size >= max,
      indexes: [rows.index],
    };
  }
  const { source } = term;
  // These two columns have indexes of their own.
  if (source.kind !== "meta" || (source.name !== "id" && source.name !== "version")) {
    return undefined;
  }
  if (term.kind === "substring" || term.kind === "exists") return undefined;
  const test = bareTermSql(term);
  const size = measure(db, sql`SELECT 1 FROM record r WHERE ${test}`, max);
  return {
    parts: [sql`SELECT seq FROM record r WHERE ${test} AND alive()`],
    rows: undefined,
    repeats: false,
    rest: undefined,
    estimate: size,
    more: size >= max,
    indexes: [],
  };
}

function measure(db: DatabaseSync, rows: SqlFragment, max: number): number {
  const counting = sql`SELECT count(*) AS count FROM (${rows} LIMIT ${bind(BigInt(max))})`;
  return remembered(db, counting, () => {
    const row = prepared(db, counting.sql).get(...counting.params);
    return { count: Number(integerOf(row, "count")), lasting: true };
  });
}
