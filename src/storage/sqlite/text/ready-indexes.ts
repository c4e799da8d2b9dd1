import type { DatabaseSync } from "node:sqlite";
import { CollectorError } from "../../../errors.ts";
import type { TextIndexDefinition, VectorIndexDefinition } from "../../store-layout.ts";
import { integerOf } from "../connection.ts";
import { prepared } from "../query/statements.ts";
import { readSearchIndexes, type SearchIndexRow, type SearchIndexRows } from "../search-tables.ts";

const known = new WeakMap<DatabaseSync, SearchIndexRows>();

/** @throws {CollectorError} QUERY_INVALID if there is no text index, or the first is being built. */
export function readyTextIndex(db: DatabaseSync): SearchIndexRow<TextIndexDefinition> {
  const [index] = indexesOf(db).texts;
  if (index === undefined) throw notReady("this collection has no text that can be searched");
  if (index.state === "building") throw notReady("the text index is still being built");
  return index;
}

/** @throws {CollectorError} QUERY_INVALID if there is no such vector index that serves. */
export function readyVectorIndex(
  db: DatabaseSync,
  name: string,
): SearchIndexRow<VectorIndexDefinition> {
  const index = indexesOf(db).vectors.find(
    ({ definition, state }) => definition.name === name && state === "ready",
  );
  if (index === undefined) throw notReady(`the vector index "${name}" is not ready`);
  return index;
}

/** Reads the indexes anew only if they changed: the shape's version says so. */
function indexesOf(db: DatabaseSync): SearchIndexRows {
  const version = integerOf(prepared(db, "SELECT shape FROM meta").get(), "shape");
  let indexes = known.get(db);
  if (indexes?.version !== version) {
    indexes = readSearchIndexes(db);
    known.set(db, indexes);
  }
  return indexes;
}

function notReady(message: string): CollectorError {
  return new CollectorError("QUERY_INVALID", message);
}
