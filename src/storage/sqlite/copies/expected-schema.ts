import { DatabaseSync } from "node:sqlite";
import { isDeepStrictEqual } from "node:util";
import type {
  StoreLayout,
  TextIndexDefinition,
  VectorIndexDefinition,
} from "../../store-layout.ts";
import { integerOf, textOf } from "../connection.ts";
import { createSchema, indexTable } from "../schema.ts";
import { addTextIndex, addVectorIndex } from "../search-tables.ts";

/** What differs between the tables of a copy and those that a store of its layout has. */
export function schemaProblems(copy: DatabaseSync, layout: StoreLayout): readonly string[] {
  const expected = new DatabaseSync(":memory:", { readBigInts: true });
  try {
    createSchema(expected, { ...layout, text: undefined, vectors: [], indexes: [] }, "");
    const core = differences(expected, copy, true);
    if (core.length > 0) return core;
    const problems = [...addFields(expected, copy, layout), ...addSearches(expected, copy, layout)];
    return problems.length > 0 ? problems : differences(expected, copy, false);
  } finally {
    expected.close();
  }
}

/** @param coreOnly looks only at what is expected, not at what there is beside it. */
function differences(
  expected: DatabaseSync,
  copy: DatabaseSync,
  coreOnly: boolean,
): readonly string[] {
  const wanted = schemaOf(expected);
  const found = schemaOf(copy);
  const problems: string[] = [];
  for (const [name, sql] of wanted) {
    if (!found.has(name)) problems.push(`database: ${name} is missing`);
    else if (found.get(name) !== sql) problems.push(`database: ${name} is not as it should be`);
  }
  if (coreOnly) return problems;
  for (const name of found.keys()) {
    if (!wanted.has(name)) problems.push(`database: ${name.slice(0, 100)} should not be there`);
  }
  return problems;
}

function schemaOf(db: DatabaseSync): Map<string, string> {
  const rows = db.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema").all();
  return new Map(
    rows.map((row) => [
      `${String(row["type"])} ${String(row["name"])}`,
      `${String(row["tbl_name"])} ${String(row["sql"]).replace(/\s+/g, " ")}`,
    ]),
  );
}

function addFields(
  expected: DatabaseSync,
  copy: DatabaseSync,
  layout: StoreLayout,
): readonly string[] {
  const rows = copy.prepare("SELECT number, path, state FROM field_index ORDER BY number").all();
  const paths = rows.map((row) => textOf(row, "path"));
  const wanted = layout.indexes.map(({ path }) => path);
  if (!isDeepStrictEqual([...paths].sort(), [...wanted].sort())) {
    return ["database: other fields are indexed than the definition says"];
  }
  for (const row of rows) {
    if (textOf(row, "state") !== "ready") return ["database: an index on a field is not complete"];
    expected.exec(indexTable(integerOf(row, "number")));
  }
  return [];
}

function addSearches(
  expected: DatabaseSync,
  copy: DatabaseSync,
  layout: StoreLayout,
): readonly string[] {
  const rows = copy
    .prepare("SELECT number, kind, definition, state FROM search_index ORDER BY number")
    .all();
  const texts: unknown[] = [];
  const vectors: unknown[] = [];
  for (const row of rows) {
    if (textOf(row, "state") !== "ready") return ["database: a search index is not complete"];
    const definition: unknown = JSON.parse(textOf(row, "definition"));
    (textOf(row, "kind") === "text" ? texts : vectors).push(definition);
  }
  const wantedTexts = layout.text === undefined ? [] : [layout.text];
  const byName = (list: readonly unknown[]): unknown[] =>
    [...list].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  if (
    !isDeepStrictEqual(texts, plain(wantedTexts)) ||
    !isDeepStrictEqual(byName(vectors), byName(plain(layout.vectors)))
  ) {
    return ["database: other text or vectors are searched than the definition says"];
  }
  const setNext = expected.prepare(
    "INSERT OR REPLACE INTO sqlite_sequence (rowid, name, seq) " +
      "VALUES ((SELECT rowid FROM sqlite_sequence WHERE name = 'search_index'), 'search_index', ?)",
  );
  for (const row of rows) {
    setNext.run(integerOf(row, "number") - 1n);
    // It is deeply equal to one of the layout.
    const definition: unknown = JSON.parse(textOf(row, "definition"));
    if (textOf(row, "kind") === "text") {
      addTextIndex(expected, definition as TextIndexDefinition, "ready");
    } else {
      addVectorIndex(expected, definition as VectorIndexDefinition, "ready");
    }
  }
  return [];
}

/** As it is kept: what JSON leaves out is left out. */
function plain(definitions: readonly object[]): unknown[] {
  return definitions.map((definition) => JSON.parse(JSON.stringify(definition)) as unknown);
}
