import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import type { Condition, FieldValue, OrderKey } from "../../record-query.ts";
import { integerOf, textOf } from "../connection.ts";
import { renewCounts } from "./count-cache.ts";
import { bind, join, joinTruths, none, raw, type SqlFragment, sql } from "./sql.ts";
import { prepared } from "./statements.ts";
import { anyPlace, hasFixedType, onlyPlace, orderValue, type Place } from "./value-source.ts";

/** What conditions have to know of the store they are for. */
export interface QueryContext {
  /** The numbers of the field indexes that are ready, by name. */
  readonly indexes: ReadonlyMap<string, bigint>;
  readonly nowUs: bigint;
  /** True if a record has expired that is not yet removed. */
  readonly expires: boolean;
}

type CompareOperator = Extract<Condition, { kind: "compare" }>["operator"];
/** A condition on the values of one source. */
export type Term = Extract<Condition, { source: unknown }>;

const operatorSql: Record<CompareOperator, SqlFragment> = {
  eq: raw("="),
  lt: raw("<"),
  le: raw("<="),
  gt: raw(">"),
  ge: raw(">="),
};

const int64Min = -(2n ** 63n);
const int64Max = 2n ** 63n - 1n;

/** A store at the moment that a query sees. */
export interface StoreMoment {
  readonly context: QueryContext;
  readonly incarnation: string;
  /** Rows of the table `record`, expired ones too. */
  readonly rowCount: bigint;
}

/** Reads what queries have to know; in the query's own transaction, so that it stays true. */
export function readMoment(db: DatabaseSync, nowUs: bigint): StoreMoment {
  const row = prepared(
    db,
    `SELECT incarnation, record_count AS rowCount,
      (SELECT json_group_array(json_array(path, number)) FROM field_index
        WHERE state = 'ready') AS indexes,
      EXISTS (SELECT 1 FROM record WHERE expires_us <= ?) AS expires
    FROM meta`,
  ).get(nowUs);
  renewCounts(db);
  const indexes = JSON.parse(textOf(row, "indexes")) as [string, number][];
  const context = {
    indexes: new Map(indexes.map(([path, number]) => [path, BigInt(number)])),
    nowUs,
    expires: integerOf(row, "expires") === 1n,
  };
  return {
    context,
    incarnation: textOf(row, "incarnation"),
    rowCount: integerOf(row, "rowCount"),
  };
}

export function readContext(db: DatabaseSync, nowUs: bigint): QueryContext {
  return readMoment(db, nowUs).context;
}

/**
 * A condition on the row `r` of the table `record`: true or false, never NULL. It reads the document
 * alone, whatever indexes there are.
 */
export function conditionSql(condition: Condition, _context?: QueryContext): SqlFragment {
  switch (condition.kind) {
    case "always":
      return raw("1");
    case "never":
      return raw("0");
    case "and":
    case "or": {
      const parts = condition.conditions.map((part) => conditionSql(part));
      return joinTruths(parts, condition.kind === "and" ? "AND" : "OR");
    }
    case "not":
      return sql`(NOT ${conditionSql(condition.condition)})`;
    default:
      return anyPlace(condition.source, (place) => placeTest(condition, place));
  }
}

/**
 * The same, of the record whose `seq` the given SQL says, by field indexes alone; undefined if they do
 * not say it all. It does not look at expiry.
 */
export function indexedConditionSql(
  condition: Condition,
  context: QueryContext,
  seq: string,
): SqlFragment | undefined {
  switch (condition.kind) {
    case "always":
    case "never":
      return conditionSql(condition, context);
    case "and":
    case "or": {
      const parts: SqlFragment[] = [];
      for (const part of condition.conditions) {
        const inIndex = indexedConditionSql(part, context, seq);
        if (inIndex === undefined) return undefined;
        parts.push(inIndex);
      }
      return joinTruths(parts, condition.kind === "and" ? "AND" : "OR");
    }
    case "not": {
      const inner = indexedConditionSql(condition.condition, context, seq);
      return inner === undefined ? undefined : sql`(NOT ${inner})`;
    }
    default: {
      const rows = indexRowsOf(condition, context);
      if (rows === undefined || !rows.exact || rows.values === undefined) return undefined;
      return sql`EXISTS (SELECT 1 FROM ${rows.table} WHERE value IN (${join(
        rows.values.map(bind),
        ", ",
      )}) AND seq = ${raw(seq)})`;
    }
  }
}

/** A term on the row `r` that may be NULL: plain, so that an index of the table can serve it. */
export function bareTermSql(term: Term): SqlFragment {
  return onlyPlace(term.source, (place) => placeTest(term, place));
}

/** The rows of a field index whose records can fulfil a term. */
export interface IndexRows {
  readonly table: SqlFragment;
  readonly index: string;
  /** A condition on the column `value`, under no alias. */
  readonly range: SqlFragment;
  /** The values, if `range` only says that it is one of them. */
  readonly values: readonly SQLInputValue[] | undefined;
  /** True if all these records fulfil the term; otherwise it has to be looked at in the record. */
  readonly exact: boolean;
}

/** Where a term is found in an index; undefined without an index that helps. */
export function indexRowsOf(term: Term, { indexes }: QueryContext): IndexRows | undefined {
  const { source } = term;
  if (source.kind !== "field" || source.index === undefined) return undefined;
  const number = indexes.get(source.index);
  if (number === undefined) return undefined;
  const rows = { table: raw(`index_${number}`), index: source.index };
  // Where a value can be of any type, a bool may stand for a number in the index.
  const exact = hasFixedType(source);
  const values = valuesOf(term);
  if (values !== undefined) {
    const keys = values.map((value) => toSql(typeof value === "boolean" ? Number(value) : value));
    const range = sql`value IN (${join(keys.map(bind), ", ")})`;
    return { ...rows, range, values: keys, exact };
  }
  switch (term.kind) {
    case "compare":
      return { ...rows, range: compareRange(term.operator, term.value), values: undefined, exact };
    case "prefix":
      return { ...rows, range: prefixTest(raw("value"), term.text), values: undefined, exact };
    case "exists":
      return exact ? { ...rows, range: raw("value < x''"), values: undefined, exact } : undefined;
    default:
      return undefined;
  }
}

/** What a record is sorted by: a number, a text, or an empty blob if it has no value, in this order. */
export function orderSql(key: OrderKey): SqlFragment {
  return orderValue(key.source);
}

/** `AND …` so that expired records are left out; nothing if there are none. */
export function liveSql({ expires, nowUs }: QueryContext): SqlFragment {
  return expires ? sql`AND (r.expires_us IS NULL OR r.expires_us > ${bind(nowUs)})` : none;
}

/** The same of a record whose `seq` the given SQL says, where its row is not at hand. */
export function liveSeqSql({ expires, nowUs }: QueryContext, seq: string): SqlFragment {
  if (!expires) return none;
  return sql`AND ${raw(seq)} NOT IN (SELECT seq FROM record WHERE expires_us <= ${bind(nowUs)})`;
}

/** The values that the source must equal one of, if that is all there is to a term. */
function valuesOf(term: Term): readonly FieldValue[] | undefined {
  if (term.kind === "in") return term.values;
  if (term.kind !== "compare") return undefined;
  if (typeof term.value === "boolean") return boolsOf(term.operator, term.value);
  return term.operator === "eq" ? [term.value] : undefined;
}

function placeTest(term: Term, { value, type }: Place): SqlFragment {
  switch (term.kind) {
    case "exists":
      return sql`${type} <> 'null'`;
    case "substring":
      return sql`instr(${value}, ${bind(term.text)}) > 0 AND ${type} = 'text'`;
    case "prefix":
      return sql`${prefixTest(value, term.text)} AND ${type} = 'text'`;
    case "in":
      return inTest(term.values, { value, type });
    case "compare":
      if (typeof term.value === "boolean") {
        return boolTest(boolsOf(term.operator, term.value), type);
      }
      return sql`${value} ${operatorSql[term.operator]} ${bind(toSql(term.value))} AND ${type} ${typeTest(
        term.value,
      )}`;
  }
}

function inTest(values: readonly FieldValue[], { value, type }: Place): SqlFragment {
  const tests: SqlFragment[] = [];
  const add = (some: readonly (bigint | number | string)[]): void => {
    const [first] = some;
    if (first === undefined) return;
    const keys = some.map((each) => bind(toSql(each)));
    tests.push(sql`(${value} IN (${join(keys, ", ")}) AND ${type} ${typeTest(first)})`);
  };
  add(values.filter((each) => typeof each === "string"));
  add(values.filter((each) => typeof each === "number" || typeof each === "bigint"));
  const bools = values.filter((each) => typeof each === "boolean");
  if (bools.length > 0) tests.push(sql`(${boolTest(bools, type)})`);
  return joinTruths(tests, "OR");
}

function boolTest(values: readonly boolean[], type: SqlFragment): SqlFragment {
  return sql`${type} IN (${raw(values.map((each) => `'${each}'`).join(", "))})`;
}

/** False and true are in this order among themselves, and in none with anything else. */
function boolsOf(operator: CompareOperator, than: boolean): readonly boolean[] {
  return [false, true].filter((each) => {
    const difference = Number(each) - Number(than);
    if (operator === "eq") return difference === 0;
    if (operator === "lt") return difference < 0;
    if (operator === "le") return difference <= 0;
    return operator === "gt" ? difference > 0 : difference >= 0;
  });
}

function typeTest(value: bigint | number | string): SqlFragment {
  return raw(typeof value === "string" ? "= 'text'" : "IN ('integer', 'real')");
}

/** The part of an index that compares so: numbers come first in it, then text, then no value. */
function compareRange(operator: CompareOperator, value: FieldValue): SqlFragment {
  const key = toSql(typeof value === "boolean" ? Number(value) : value);
  const range = sql`value ${operatorSql[operator]} ${bind(key)}`;
  const isText = typeof value === "string";
  if (operator === "gt" || operator === "ge") {
    return sql`(${range} AND value < ${raw(isText ? "x''" : "''")})`;
  }
  return isText ? sql`(${range} AND value >= '')` : range;
}

/** Text that begins so: by bytes it is a range, which no letter case, `%`, `_` or U+0000 can disturb. */
function prefixTest(value: SqlFragment, prefix: string): SqlFragment {
  const from = prefix.toWellFormed();
  const to = textAfterPrefix(from);
  return sql`(${value} >= ${bind(from)} AND ${value} < ${to === undefined ? raw("x''") : bind(to)})`;
}

/** The first text, by code points, after all that begin with `prefix`; undefined if none comes after. */
export function textAfterPrefix(prefix: string): string | undefined {
  const points = Array.from(prefix, (char) => char.codePointAt(0) ?? 0);
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    if (last === 0x10_ffff) continue;
    // Surrogates are no characters.
    const next = last === 0xd7ff ? 0xe000 : last + 1;
    return String.fromCodePoint(...points, next);
  }
  return undefined;
}

/** Integers are exact; one beyond 64 bits is as near as a double can be. */
export function toSql(value: bigint | number | string): SQLInputValue {
  if (typeof value === "bigint" && (value < int64Min || value > int64Max)) return Number(value);
  return typeof value === "string" ? value.toWellFormed() : value;
}
