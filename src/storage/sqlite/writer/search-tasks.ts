import type { DatabaseSync } from "node:sqlite";
import type { StoreShape, TextIndexDefinition, VectorIndexDefinition } from "../../store-layout.ts";
import { integerOf, textOf } from "../connection.ts";
import { type RetiredTable, retiredTables, retireText } from "../retired-text.ts";
import {
  addTextIndex,
  addVectorIndex,
  type SearchIndexRow,
  type SearchIndexRows,
  type SearchIndexState,
  setWeights,
  shapeOf,
  type WantedSearch,
} from "../search-tables.ts";
import { vectorTableNames } from "../vectors/vector-table.ts";
import { nextRows, rowsAtFirst, type StepTask } from "./step-task.ts";
import type { StoreWriter } from "./store-writer.ts";

/** What is to change for a store to search what is wanted. */
interface ShapeChanges {
  /** Numbers of indexes to take out of use. */
  readonly drop: readonly bigint[];
  readonly addText: TextIndexDefinition | undefined;
  readonly addVectors: readonly VectorIndexDefinition[];
  /** Indexes that differ in their weights alone. */
  readonly weigh: readonly SearchIndexRow<TextIndexDefinition>[];
}

/**
 * Begins to search what is wanted: adds indexes in state `building`, takes out of use what is not
 * wanted, and changes weights in place. What is out of use goes by {@link SearchRemoval}.
 */
export function reshape(store: StoreWriter, wanted: WantedSearch): StoreShape {
  const { drop, addText, addVectors, weigh } = compareShapes(store.search.rows, wanted);
  if (drop.length + addVectors.length + weigh.length === 0 && addText === undefined) {
    return shapeOf(store.search.rows);
  }
  return changeShape(store, (db) => {
    for (const number of drop) retire(db, number);
    if (addText !== undefined) addTextIndex(db, addText, "building");
    for (const vector of addVectors) addVectorIndex(db, vector, "building");
    for (const { number, definition } of weigh) {
      db.prepare("UPDATE search_index SET definition = ? WHERE number = ?").run(
        JSON.stringify(definition),
        number,
      );
      setWeights(db, number, definition.fields);
    }
    return drop.length + addVectors.length > 0 || addText !== undefined;
  });
}

/** Puts the indexes that are being built in the place of those that serve. */
export function completeShape(store: StoreWriter): StoreShape {
  const { texts, vectors } = store.search.rows;
  const built = [...texts, ...vectors].filter(({ state }) => state === "building");
  if (built.length === 0) return shapeOf(store.search.rows);
  const names = new Set(
    vectors.flatMap(({ definition, state }) => (state === "building" ? [definition.name] : [])),
  );
  const replaced = [
    ...(texts.some(({ state }) => state === "building") ? texts : []),
    ...vectors.filter(({ definition }) => names.has(definition.name)),
  ].filter(({ state }) => state === "ready");
  return changeShape(store, (db) => {
    for (const { number } of replaced) retire(db, number);
    db.exec("UPDATE search_index SET state = 'ready' WHERE state = 'building'");
    return true;
  });
}

/** Removes what retired text and vector indexes of a store have left. */
export class SearchRemoval implements StepTask {
  #rows = rowsAtFirst;

  step(store: StoreWriter): boolean {
    const { db } = store;
    const row = db
      .prepare(`
        SELECT number, kind FROM search_index WHERE state = 'dropping' ORDER BY number LIMIT 1
      `)
      .get();
    if (row === undefined) {
      store.search.reload();
      return true;
    }
    const number = integerOf(row, "number");
    const [table] = leftTables(db, number, textOf(row, "kind"));
    const startMs = performance.now();
    store.transact(() => {
      if (table === undefined) {
        db.prepare("DELETE FROM search_index WHERE number = ?").run(number);
        return;
      }
      const { name, key } = table;
      const { changes } = db
        .prepare(`DELETE FROM ${name} WHERE (${key}) IN (SELECT ${key} FROM ${name} LIMIT ?)`)
        .run(BigInt(this.#rows));
      if (Number(changes) < this.#rows) db.exec(`DROP TABLE ${name}`);
    });
    this.#rows = nextRows(this.#rows, performance.now() - startMs);
    return false;
  }
}

function compareShapes({ texts, vectors }: SearchIndexRows, wanted: WantedSearch): ShapeChanges {
  const drop: bigint[] = [];
  const addVectors: VectorIndexDefinition[] = [];
  const { text, anew = false } = wanted;
  const mayServe = (state: SearchIndexState): boolean => !anew || state === "building";
  // The one that serves, if it is what is wanted; else the one that is being built, if that is.
  const fits =
    text && texts.find(({ definition, state }) => mayServe(state) && sameWords(definition, text));
  for (const { number, state } of texts) {
    const servesOn = text !== undefined && state === "ready";
    if (number !== fits?.number && !servesOn) drop.push(number);
  }
  for (const name of new Set(vectors.map(({ definition }) => definition.name))) {
    if (wanted.vectors.every((vector) => vector.name !== name)) {
      drop.push(...ofName(vectors, name).map(({ number }) => number));
    }
  }
  for (const vector of wanted.vectors) {
    const known = ofName(vectors, vector.name);
    const kept = known.find(
      ({ definition, state }) => mayServe(state) && sameVectors(definition, vector),
    );
    if (kept === undefined) addVectors.push(vector);
    for (const { number, state } of known) {
      if (number !== kept?.number && state === "building") drop.push(number);
    }
  }
  const reweigh = fits !== undefined && text !== undefined && !sameWeights(fits.definition, text);
  return {
    drop,
    addText: fits === undefined ? text : undefined,
    addVectors,
    weigh: reweigh ? [{ ...fits, definition: text }] : [],
  };
}

function ofName(
  vectors: SearchIndexRows["vectors"],
  name: string,
): readonly SearchIndexRow<VectorIndexDefinition>[] {
  return vectors.filter(({ definition }) => definition.name === name);
}

function sameWords(a: TextIndexDefinition, b: TextIndexDefinition): boolean {
  return (
    a.tokenizer === b.tokenizer &&
    a.fields.length === b.fields.length &&
    a.fields.every(({ name }, position) => name === b.fields[position]?.name)
  );
}

function sameWeights(a: TextIndexDefinition, b: TextIndexDefinition): boolean {
  return a.fields.every(({ weight }, position) => weight === b.fields[position]?.weight);
}

function sameVectors(a: VectorIndexDefinition, b: VectorIndexDefinition): boolean {
  return a.dimensions === b.dimensions && a.metric === b.metric;
}

/** @param change in a transaction; returns false if what has to be derived stays the same. */
function changeShape(store: StoreWriter, change: (db: DatabaseSync) => boolean): StoreShape {
  const { db, search } = store;
  // Renaming the tables behind a text index is only allowed so.
  db.enableDefensive(false);
  try {
    store.transact(() => {
      if (change(db)) db.exec("UPDATE meta SET shape = shape + 1");
    });
  } finally {
    db.enableDefensive(true);
  }
  search.reload();
  return shapeOf(search.rows);
}

/** Takes an index out of use. What it leaves goes in steps. */
function retire(db: DatabaseSync, number: bigint): void {
  const row = db
    .prepare("UPDATE search_index SET state = 'dropping' WHERE number = ? RETURNING kind")
    .get(number);
  if (textOf(row, "kind") === "text") retireText(db, number);
}

function leftTables(db: DatabaseSync, number: bigint, kind: string): readonly RetiredTable[] {
  const tables =
    kind === "text"
      ? retiredTables(number)
      : vectorTableNames(number).map((name) => ({ name, key: "rowid" }));
  const find = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = ?");
  return tables.filter(({ name }) => find.get(name) !== undefined);
}
