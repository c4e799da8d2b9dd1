import type { DatabaseSync, SQLInputValue, SQLOutputValue } from "node:sqlite";
import type { OrderKey } from "../../record-query.ts";
import { malformedRow } from "../connection.ts";
import type { ListCursor, OrderValue } from "../list-cursor.ts";
import { orderSql, type QueryContext, textAfterPrefix, toSql } from "./condition-sql.ts";
import { bind, join, raw, type SqlFragment, sql } from "./sql.ts";
import { preparedList } from "./statements.ts";
import { isMultiple } from "./value-source.ts";

/** A list's order: its keys, then `seq`. */
export interface ListOrder {
  readonly keys: readonly OrderKey[];
  /** The index that has all records in the order of the first key. */
  readonly index: OrderIndex | undefined;
}

export type OrderIndex =
  | { readonly kind: "field"; readonly name: string; readonly table: SqlFragment }
  /** A column of `record` that no two records have in common. */
  | { readonly kind: "column" };

/**
 * Where a list goes on: after all records whose keys equal these as far as they go and whose `seq` is
 * this or less; without `seq`, after all records with these keys.
 */
export interface Position {
  readonly keys: readonly OrderValue[];
  readonly seq: bigint | undefined;
}

export function listOrder(order: readonly OrderKey[], { indexes }: QueryContext): ListOrder {
  // Behind a key that no two records have in common, nothing is left to sort.
  const unique = order.findIndex(({ source }) => isUnique(source));
  const keys = unique < 0 ? order : order.slice(0, unique + 1);
  const source = keys[0]?.source;
  if (source === undefined) return { keys, index: undefined };
  if (isUnique(source)) return { keys, index: { kind: "column" } };
  if (source.kind !== "field" || source.index === undefined || isMultiple(source)) {
    return { keys, index: undefined };
  }
  const number = indexes.get(source.index);
  const index =
    number === undefined
      ? undefined
      : ({ kind: "field", name: source.index, table: raw(`index_${number}`) } as const);
  return { keys, index };
}

function isUnique(source: OrderKey["source"]): boolean {
  return source.kind === "meta" && (source.name === "id" || source.name === "version");
}

/** The position after a cursor's record. */
export function positionOf(
  db: DatabaseSync,
  { keys }: ListOrder,
  { keys: values, seq, version }: ListCursor,
): Position {
  const cut = values.findIndex((value) => typeof value === "object");
  const complete = values.filter((value) => typeof value !== "object");
  if (cut < 0) return { keys: complete, seq };
  const found = readKeys(db, keys, seq, version);
  if (found !== undefined) return { keys: found, seq };
  // The record is not any more what it was, so how its key goes on is not known. Some records may be
  // listed again, but none is left out.
  const long = values[cut];
  const prefix = typeof long === "object" ? long.prefix : "";
  const before = keys[cut]?.descending === true ? textAfterPrefix(prefix) : prefix;
  return { keys: [...complete.slice(0, cut), before], seq: undefined };
}

function readKeys(
  db: DatabaseSync,
  keys: readonly OrderKey[],
  seq: bigint,
  version: bigint,
): OrderValue[] | undefined {
  const { sql: text, params } = sql`SELECT ${join(keys.map(orderSql), ", ")} FROM record r
    WHERE seq = ${bind(seq)} AND version = ${bind(version)}`;
  // Rows of this statement are arrays.
  const row = preparedList(db, text).get(...params) as unknown as SQLOutputValue[] | undefined;
  return row?.map(toOrderValue);
}

export function toOrderValue(value: SQLOutputValue | undefined): OrderValue {
  if (value instanceof Uint8Array) return undefined;
  if (value === null || value === undefined) throw malformedRow();
  return value;
}

/** Whether a record comes after the position, given the SQL of its keys from `from` on. */
export function afterSql(
  keys: readonly { readonly value: SqlFragment; readonly descending: boolean }[],
  position: Position,
  from: number = 0,
): SqlFragment {
  let after = position.seq === undefined ? raw("0") : sql`r.seq > ${bind(position.seq)}`;
  for (let at = position.keys.length - 1; at >= from; at--) {
    const key = keys[at];
    if (key === undefined) continue;
    const value = orderValueSql(position.keys[at]);
    const beyond = raw(key.descending ? "<" : ">");
    after = sql`(${key.value} ${beyond} ${value} OR (${key.value} = ${value} AND ${after}))`;
  }
  return after;
}

/** An order value, as indexes and {@link orderSql} have it. */
export function orderValueSql(value: OrderValue): SqlFragment {
  // An empty blob cannot be bound: it would be NULL.
  return value === undefined ? raw("x''") : bind(toSql(value) satisfies SQLInputValue);
}
