import type { DatabaseSync } from "node:sqlite";
import type { Condition } from "../../record-query.ts";
import { type Candidates, candidateSeqs } from "./candidates.ts";
import {
  conditionSql,
  indexedConditionSql,
  liveSql,
  orderSql,
  type QueryContext,
} from "./condition-sql.ts";
import {
  afterSql,
  type ListOrder,
  orderValueSql,
  type Position,
  toOrderValue,
} from "./list-order.ts";
import type { ListPlan } from "./plan.ts";
import { type ListRow, rawColumnCount, rawColumns, rowsOf } from "./record-rows.ts";
import { bind, join, none, raw, type SqlFragment, sql } from "./sql.ts";
import { preparedList } from "./statements.ts";

export interface RowsInput {
  readonly db: DatabaseSync;
  readonly plan: ListPlan;
  readonly order: ListOrder;
  readonly where: Condition | undefined;
  readonly context: QueryContext;
  readonly after: Position | undefined;
  /** Most rows that will be read. */
  readonly limit: number;
}

/** Records with the same key that are read in the wrong direction before they are looked up instead. */
const runMax = 64;

const columns = raw(rawColumns);

/** The rows of a list in its order, with the order's keys behind the record's columns. */
export function listRows(input: RowsInput): Iterable<ListRow> {
  const { plan, context, where } = input;
  switch (plan.drive) {
    case "seq":
      return read(
        input.db,
        sql`SELECT ${columns} FROM record r
          WHERE r.seq > ${bind(input.after?.seq ?? 0n)} AND alive()
            AND ${whereSql(where)} ${liveSql(context)} ORDER BY r.seq`,
      );
    case "value":
      return valueRows(input, plan.candidates);
    case "all":
      return sortedRows(input, raw("record r"), sql`AND ${whereSql(where)}`);
    case "candidates": {
      const { candidates } = plan;
      const from = sql`(${candidateSeqs(candidates)}) c CROSS JOIN record r ON r.seq = c.seq`;
      return sortedRows(input, from, restSql(candidates.rest, context, "r.seq"));
    }
    case "order":
      return orderedRows(input, plan.range);
  }
}

function valueRows(input: RowsInput, { rows, rest }: Candidates): Iterable<ListRow> {
  if (rows === undefined) throw new Error("the plan has no index");
  const { db, after, context } = input;
  return read(
    db,
    sql`SELECT ${columns} FROM ${rows.table} i CROSS JOIN record r ON r.seq = i.seq
      WHERE i.value = ${bind(rows.values?.[0] ?? null)} AND i.seq > ${bind(after?.seq ?? 0n)} AND alive()
        ${restSql(rest, context, "i.seq")} ${liveSql(context)} ORDER BY i.seq`,
  );
}

/** The first rows of what is found, sorted: the sorter holds keys, not records. */
function sortedRows(
  input: RowsInput,
  from: SqlFragment,
  condition: SqlFragment,
): Iterable<ListRow> {
  const { db, order, after, context, limit } = input;
  const keys = order.keys.map((key) => ({ value: orderSql(key), descending: key.descending }));
  const selected = keys.map(({ value }, at) => sql`, ${value} AS ${keyName(at)}`);
  const sorting = keys.map(({ descending }, at) => directed(keyName(at), descending));
  return read(
    db,
    sql`SELECT ${columns} ${keyColumns(keys.length)} FROM (
        SELECT r.seq AS seq ${join(selected, "")} FROM ${from}
        WHERE alive() ${condition} ${liveSql(context)} ${andAfter(after, (at) => afterSql(keys, at))}
        ORDER BY ${join([...sorting, raw("r.seq")], ", ")} LIMIT ${bind(BigInt(limit))}
      ) hit CROSS JOIN record r ON r.seq = hit.seq`,
  );
}

function* orderedRows(input: RowsInput, range: Candidates | undefined): Iterable<ListRow> {
  const { order, after } = input;
  const descending = order.keys[0]?.descending === true;
  const rest = restSql(range === undefined ? input.where : range.rest, input.context, "r.seq");
  const scan: OrderScan = { input, descending, rest, range: range?.rows?.range ?? raw("1") };
  if (after === undefined) {
    yield* scanRows(scan, undefined);
    return;
  }
  const value = orderValueSql(after.keys[0]);
  if (after.seq !== undefined || after.keys.length > 1) {
    yield* equalRows(scan, value, after);
  }
  yield* scanRows(scan, value);
}

interface OrderScan {
  readonly input: RowsInput;
  readonly descending: boolean;
  /** `AND …` for what is left to be looked at. */
  readonly rest: SqlFragment;
  /** What the index's values have to be. */
  readonly range: SqlFragment;
}

/** The rows beyond a value of the first key, or all. */
function scanRows(scan: OrderScan, beyond: SqlFragment | undefined): Iterable<ListRow> {
  const { descending, input } = scan;
  const { keys, index } = input.order;
  const first = index?.kind === "column" ? firstColumn(input) : raw("i.value");
  const bound =
    beyond === undefined ? none : sql`AND ${first} ${raw(descending ? "<" : ">")} ${beyond}`;
  if (index?.kind === "column") {
    return read(
      input.db,
      sql`SELECT ${columns}, ${first} FROM record r WHERE alive() ${bound} ${scan.rest}
        ${liveSql(input.context)} ORDER BY ${directed(first, descending)}`,
    );
  }
  if (keys.length > 1) return fewSorted(scan, bound, 0);
  if (descending) return descendingRows(scan, beyond);
  return plainScan(scan, bound, raw("i.value, i.seq"));
}

/** The rows with a value of the first key that come after the position by the other keys. */
function equalRows(scan: OrderScan, value: SqlFragment, after: Position): Iterable<ListRow> {
  const { order } = scan.input;
  // Of such a key, no second record has the same value.
  if (order.index?.kind === "column") return [];
  if (order.keys.length > 1) return fewSorted(scan, sql`AND i.value = ${value}`, 1, after);
  const from = after.seq === undefined ? none : sql`AND i.seq > ${bind(after.seq)}`;
  return plainScan(scan, sql`AND i.value = ${value} ${from}`, raw("i.seq"));
}

function plainScan(scan: OrderScan, bound: SqlFragment, sorting: SqlFragment): Iterable<ListRow> {
  const { input, range, rest } = scan;
  return read(
    input.db,
    sql`SELECT ${columns}, i.value FROM ${indexTable(input)} i CROSS JOIN record r ON r.seq = i.seq
      WHERE alive() ${bound} AND ${range} ${rest} ${liveSql(input.context)} ORDER BY ${sorting}`,
  );
}

/** In order of the first key's index, and sorted by the others among equal values of it. */
function fewSorted(
  scan: OrderScan,
  bound: SqlFragment,
  sortedFrom: number,
  after?: Position,
): Iterable<ListRow> {
  const { input, range, rest } = scan;
  const { order, context, limit } = input;
  const keys = order.keys.map((key, at) => ({
    value: at === 0 ? raw("i.value") : orderSql(key),
    descending: key.descending,
  }));
  const selected = keys.map(({ value }, at) => sql`, ${value} AS ${keyName(at)}`);
  const sorting = keys.map(({ value, descending }, at) =>
    directed(at === 0 ? value : keyName(at), descending),
  );
  return read(
    input.db,
    sql`SELECT ${columns} ${keyColumns(keys.length)} FROM (
        SELECT r.seq AS seq ${join(selected, "")}
        FROM ${indexTable(input)} i CROSS JOIN record r ON r.seq = i.seq
        WHERE alive() ${bound} AND ${range} ${rest} ${liveSql(context)}
          ${andAfter(after, (at) => afterSql(keys, at, sortedFrom))}
        ORDER BY ${join([...sorting.slice(sortedFrom), raw("i.seq")], ", ")}
        LIMIT ${bind(BigInt(limit))}
      ) hit CROSS JOIN record r ON r.seq = hit.seq`,
  );
}

/**
 * From the greatest value down, and in order of creation among equal values. The index gives the latter
 * backwards; few are turned around, and many are looked up again.
 */
function* descendingRows(scan: OrderScan, beyond: SqlFragment | undefined): Iterable<ListRow> {
  let below = beyond;
  for (;;) {
    const run: ListRow[] = [];
    let tooLong = false;
    const bound = below === undefined ? none : sql`AND i.value < ${below}`;
    for (const row of plainScan(scan, bound, raw("i.value DESC, i.seq DESC"))) {
      const [first] = run;
      if (first !== undefined && !sameKey(first, row)) {
        yield* run.splice(0).toReversed();
      }
      run.push(row);
      tooLong = run.length > runMax;
      if (tooLong) break;
    }
    const [first] = run;
    if (!tooLong || first === undefined) {
      yield* run.toReversed();
      return;
    }
    below = orderValueSql(toOrderValue(first[rawColumnCount]));
    yield* plainScan(scan, sql`AND i.value = ${below}`, raw("i.seq"));
  }
}

function sameKey(a: ListRow, b: ListRow): boolean {
  const key = toOrderValue(a[rawColumnCount]);
  const other = toOrderValue(b[rawColumnCount]);
  // An integer can equal a double.
  // oxlint-disable-next-line eqeqeq
  return typeof key === "string" || typeof other === "string" ? key === other : key == other;
}

/** `AND …` for what is left of a condition, by indexes where they say it: that spares reading the record. */
export function andRest(
  rest: Condition | undefined,
  context: QueryContext,
  seq: string,
): { readonly byIndex: SqlFragment; readonly byRecord: SqlFragment } {
  const byIndex: SqlFragment[] = [];
  const byRecord: SqlFragment[] = [];
  const conditions = rest?.kind === "and" ? rest.conditions : rest === undefined ? [] : [rest];
  for (const condition of conditions) {
    const indexed = indexedConditionSql(condition, context, seq);
    if (indexed === undefined) byRecord.push(sql`AND ${conditionSql(condition)} `);
    else byIndex.push(sql`AND ${indexed} `);
  }
  return { byIndex: join(byIndex, ""), byRecord: join(byRecord, "") };
}

function restSql(rest: Condition | undefined, context: QueryContext, seq: string): SqlFragment {
  const { byIndex, byRecord } = andRest(rest, context, seq);
  return sql`${byIndex}${byRecord}`;
}

function whereSql(where: Condition | undefined): SqlFragment {
  return where === undefined ? raw("1") : conditionSql(where);
}

function indexTable({ order }: RowsInput): SqlFragment {
  if (order.index?.kind !== "field") throw new Error("the plan has no index");
  return order.index.table;
}

function firstColumn({ order }: RowsInput): SqlFragment {
  const [key] = order.keys;
  if (key === undefined) throw new Error("the plan has no order");
  return orderSql(key);
}

function keyName(at: number): SqlFragment {
  return raw(`key${at}`);
}

function keyColumns(count: number): SqlFragment {
  return raw(Array.from({ length: count }, (_, at) => `, hit.key${at}`).join(""));
}

function directed(value: SqlFragment, descending: boolean): SqlFragment {
  return descending ? sql`${value} DESC` : value;
}

function andAfter(
  after: Position | undefined,
  make: (position: Position) => SqlFragment,
): SqlFragment {
  return after === undefined ? none : sql`AND ${make(after)}`;
}

function read(db: DatabaseSync, statement: SqlFragment): Iterable<ListRow> {
  return rowsOf(preparedList(db, statement.sql).iterate(...statement.params));
}

/** The keys of a row of {@link listRows}. */
export function keysOf(row: ListRow): readonly ReturnType<typeof toOrderValue>[] {
  return row.slice(rawColumnCount).map(toOrderValue);
}
