import type { FieldStep, ValueSource } from "../../record-query.ts";
import { bind, join, raw, type SqlFragment, sql } from "./sql.ts";

/** A place in a record that has one value at most: SQL for the value and for its JSON type. */
export interface Place {
  /** NULL if there is none; of an object or an array, its JSON. */
  readonly value: SqlFragment;
  /** As `json_type` says it; NULL if there is nothing. */
  readonly type: SqlFragment;
}

/** A truth about one place; NULL counts as false. */
export type PlaceTest = (place: Place) => SqlFragment;

/** How far a path was walked: the JSON that it starts in, and the members from there on. */
interface Walk {
  readonly base: SqlFragment;
  readonly path: string;
  /** The row of `jsonb_each` that the base is, if the path goes no further yet. */
  readonly element: string | undefined;
  readonly tables: readonly SqlFragment[];
  readonly guards: readonly SqlFragment[];
}

/** A truth, never NULL: whether `test` holds at any place of the source, in the record `r`. */
export function anyPlace(source: ValueSource, test: PlaceTest): SqlFragment {
  if (source.kind === "meta") return sql`((${test(metaPlace(source.name))}) IS TRUE)`;
  const walk = walkSource(source);
  if (walk.tables.length === 0) return sql`((${test(placeOf(walk))}) IS TRUE)`;
  const single = singlePlace(source);
  const among = sql`EXISTS (SELECT 1 FROM ${join(walk.tables, " CROSS JOIN ")} WHERE ${join(
    [...walk.guards, sql`(${test(placeOf(walk))})`],
    " AND ",
  )})`;
  if (single === undefined) return among;
  // A value that is no array is by far the most common, and needs no list to be gone through.
  return sql`CASE ${single.type} WHEN 'array' THEN ${among} ELSE ((${test(single)}) IS TRUE) END`;
}

/** The same of a source that is no field: it may be NULL, and an index of the table can serve it. */
export function onlyPlace(source: ValueSource, test: PlaceTest): SqlFragment {
  return source.kind === "meta" ? test(metaPlace(source.name)) : anyPlace(source, test);
}

/** The value of a source that has one at most, or the first; a blob where there is none. */
export function orderValue(source: ValueSource): SqlFragment {
  if (source.kind === "meta") return metaPlace(source.name).value;
  const walk = walkSource(source);
  const { value, type } = placeOf(walk);
  if (walk.tables.length === 0) return sql`ifnull(${value}, x'')`;
  const guards = [...walk.guards, sql`${type} NOT IN ('null', 'object', 'array')`];
  return sql`ifnull((
    SELECT ${value} FROM ${join(walk.tables, " CROSS JOIN ")} WHERE ${join(guards, " AND ")} LIMIT 1
  ), x'')`;
}

/** True if the source is of a fixed type, so that what compares with it is of that type as well. */
export function hasFixedType(source: ValueSource): boolean {
  return source.kind !== "field" || source.steps.every(({ kind }) => kind !== "itemsOrSelf");
}

/** True if a record can have several values at the source. */
export function isMultiple(source: ValueSource): boolean {
  return source.kind === "field" && source.steps.some(({ kind }) => kind !== "member");
}

function metaPlace(name: "id" | "version" | "created" | "updated"): Place {
  const columns = { id: "id", version: "version", created: "created_us", updated: "updated_us" };
  return { value: raw(`r.${columns[name]}`), type: raw(name === "id" ? "'text'" : "'integer'") };
}

/** The place itself, if only the last step may find a list of values there. */
function singlePlace(source: ValueSource): Place | undefined {
  if (source.kind !== "field" || source.steps.at(-1)?.kind !== "itemsOrSelf") return undefined;
  const walk = walkSource({ ...source, steps: source.steps.slice(0, -1) });
  return walk.tables.length === 0 ? placeOf(walk) : undefined;
}

function walkSource(source: Exclude<ValueSource, { kind: "meta" }>): Walk {
  const isLabel = source.kind === "label";
  const steps: readonly FieldStep[] = isLabel
    ? [{ kind: "member", name: source.key }]
    : source.steps;
  const base = raw(isLabel ? "r.labels" : "r.document");
  let walk: Walk = { base, path: "$", element: undefined, tables: [], guards: [] };
  for (const step of steps) walk = stepInto(walk, step);
  return walk;
}

function stepInto(walk: Walk, step: FieldStep): Walk {
  switch (step.kind) {
    case "member":
      return intoMember(walk, step.name);
    case "items":
      return intoEach(walk, containerOf(walk, "array"), (key) => sql`typeof(${key}) = 'integer'`);
    case "values":
      return intoEach(walk, containerOf(walk, "object"), (key) => sql`typeof(${key}) = 'text'`);
    case "itemsOrSelf":
      return intoEach(walk, listOf(walk), () => raw("1"));
  }
}

function intoMember(walk: Walk, name: string): Walk {
  // In a path, a name ends at U+0000.
  if (name === "" || name.includes("\0")) {
    const object = containerOf(walk, "object");
    return intoEach(walk, object, (key) => sql`typeof(${key}) = 'text' AND ${key} = ${bind(name)}`);
  }
  const { element } = walk;
  const path = `${walk.path}.${JSON.stringify(name)}`;
  if (element === undefined) return { ...walk, path };
  // The text of an element that is a string is not to be read as JSON.
  const base = raw(`CASE WHEN ${element}.type IN ('object', 'array') THEN ${element}.value END`);
  return { ...walk, base, path, element: undefined };
}

function intoEach(
  walk: Walk,
  table: SqlFragment,
  guardOf: (key: SqlFragment) => SqlFragment,
): Walk {
  const element = `e${walk.tables.length + 1}`;
  return {
    base: raw(`${element}.value`),
    path: "$",
    element,
    tables: [...walk.tables, sql`${table} ${raw(element)}`],
    guards: [...walk.guards, guardOf(raw(`${element}.key`))],
  };
}

/** The members or items of what is at the walk's end. */
function containerOf({ base, path, element }: Walk, type: "array" | "object"): SqlFragment {
  if (element === undefined) return sql`jsonb_each(${base}, ${bind(path)})`;
  return raw(`jsonb_each(CASE ${element}.type WHEN '${type}' THEN ${element}.value END)`);
}

/** The items of what is at the walk's end if it is an array, and otherwise that as the one item. */
function listOf({ base, path, element }: Walk): SqlFragment {
  if (element === undefined) {
    const at = bind(path);
    return sql`jsonb_each(CASE json_type(${base}, ${at}) WHEN 'array' THEN jsonb_extract(${base}, ${at})
      ELSE '[' || (${base} -> ${at}) || ']' END)`;
  }
  return raw(`jsonb_each(CASE WHEN ${element}.type = 'array' THEN ${element}.value
    WHEN ${element}.type = 'object' THEN '[' || json(${element}.value) || ']'
    WHEN ${element}.type IN ('true', 'false', 'null') THEN '[' || ${element}.type || ']'
    ELSE json_array(${element}.atom) END)`);
}

function placeOf({ base, path, element }: Walk): Place {
  if (element !== undefined) return { value: raw(`${element}.atom`), type: raw(`${element}.type`) };
  const at = bind(path);
  return { value: sql`json_extract(${base}, ${at})`, type: sql`json_type(${base}, ${at})` };
}
