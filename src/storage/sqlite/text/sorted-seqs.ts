import type { DatabaseSync } from "node:sqlite";
import type { OrderKey } from "../../record-query.ts";
import { orderSql, type QueryContext } from "../query/condition-sql.ts";
import { listOrder } from "../query/list-order.ts";
import { rowsOf, seqOf } from "../query/record-rows.ts";
import { bind, join, raw, type SqlFragment, sql } from "../query/sql.ts";
import { preparedList } from "../query/statements.ts";

/** Matches from which on it is faster to walk along an index than to sort. */
export const walkedMin = 20_000;

export interface SortInput {
  readonly db: DatabaseSync;
  readonly order: readonly OrderKey[];
  readonly context: QueryContext;
  readonly limit: number;
  readonly offset: number;
}

/** True if an index has all records in the order of the first key. */
export function canWalk({ order, context }: SortInput): boolean {
  return listOrder(order, context).index?.kind === "field";
}

/**
 * A page of records in an order.
 *
 * @param seqs `SELECT seq …`, each once.
 */
export function sortedSeqs(input: SortInput, seqs: SqlFragment): bigint[] {
  const { order, context } = input;
  const { keys } = listOrder(order, context);
  const sorting = keys.map((key) => directed(orderSql(key), key.descending));
  return readSeqs(
    input,
    sql`SELECT c.seq FROM (${seqs}) c CROSS JOIN record r ON r.seq = c.seq
      WHERE alive() ORDER BY ${join([...sorting, raw("c.seq")], ", ")}`,
  );
}

/** The same for many records: goes along the first key's index and picks those that are asked for. */
export function walkedSeqs(input: SortInput, seqs: SqlFragment): bigint[] {
  const { order, context } = input;
  const { keys, index } = listOrder(order, context);
  if (index?.kind !== "field") throw new Error("there is no index to walk along");
  const sorting = keys.map((key, at) =>
    directed(at === 0 ? raw("i.value") : orderSql(key), key.descending),
  );
  const record = keys.length > 1 ? raw("CROSS JOIN record r ON r.seq = i.seq") : raw("");
  return readSeqs(
    input,
    sql`SELECT i.seq FROM ${index.table} i ${record}
      WHERE i.seq IN (${seqs}) AND alive() ORDER BY ${join([...sorting, raw("i.seq")], ", ")}`,
  );
}

function readSeqs({ db, limit, offset }: SortInput, query: SqlFragment): bigint[] {
  const { sql: text, params } =
    sql`${query} LIMIT ${bind(BigInt(limit))} OFFSET ${bind(BigInt(offset))}`;
  return Array.from(rowsOf(preparedList(db, text).iterate(...params)), seqOf);
}

function directed(value: SqlFragment, descending: boolean): SqlFragment {
  return descending ? sql`${value} DESC` : value;
}
