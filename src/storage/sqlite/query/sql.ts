import type { SQLInputValue } from "node:sqlite";

/** Part of a statement: its text, and the values of its `?`, in their order. */
export interface SqlFragment {
  readonly sql: string;
  readonly params: readonly SQLInputValue[];
}

export const none: SqlFragment = { sql: "", params: [] };

/** Puts fragments together: what is in the template's text is SQL, what is between is fragments. */
export function sql(text: TemplateStringsArray, ...parts: readonly SqlFragment[]): SqlFragment {
  let joined = text[0] ?? "";
  const params: SQLInputValue[] = [];
  for (const [position, part] of parts.entries()) {
    joined += part.sql + (text[position + 1] ?? "");
    params.push(...part.params);
  }
  return { sql: joined, params };
}

/** A value of a statement. */
export function bind(value: SQLInputValue): SqlFragment {
  return { sql: "?", params: [value] };
}

/** SQL that was written in this code base: never a caller's text. */
export function raw(text: string): SqlFragment {
  return { sql: text, params: [] };
}

export function join(parts: readonly SqlFragment[], separator: string): SqlFragment {
  return {
    sql: parts.map((part) => part.sql).join(separator),
    params: parts.flatMap((part) => part.params),
  };
}

/** Joins truth values in a tree that is as flat as can be: SQLite bounds the depth of expressions. */
export function joinTruths(parts: readonly SqlFragment[], operator: "AND" | "OR"): SqlFragment {
  const [first] = parts;
  if (first === undefined) return raw(operator === "AND" ? "1" : "0");
  if (parts.length === 1) return first;
  const middle = parts.length >> 1;
  const left = joinTruths(parts.slice(0, middle), operator);
  const right = joinTruths(parts.slice(middle), operator);
  return sql`(${left} ${raw(operator)} ${right})`;
}
