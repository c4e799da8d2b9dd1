import type { BuildProgress } from "../../record-store.ts";
import { integerOf, textOf } from "../connection.ts";
import { indexTable, indexTableName, rebuildMark } from "../schema.ts";
import type { FieldIndex } from "./field-indexes.ts";
import { nextRows, rowsAtFirst, type StepTask } from "./step-task.ts";
import type { StoreWriter } from "./store-writer.ts";

/**
 * Registers an index if there is none yet. From then on, what is written is put into it; the records
 * there were before follow by {@link IndexBuild}.
 */
export function registerIndex(store: StoreWriter, path: string): FieldIndex {
  return store.indexes.find(path) ?? register(store, path);
}

/**
 * Registers an index to take the place of the one that serves, once {@link IndexBuild} is through. One
 * that is being built already, for the first time or anew, goes on.
 */
export function registerRebuild(store: StoreWriter, path: string): FieldIndex {
  const serving = registerIndex(store, path);
  if (serving.state === "building") return serving;
  return store.indexes.findRebuild(path) ?? register(store, rebuildMark + path);
}

/** @param name of the row: the path, or what stands for it. */
function register(store: StoreWriter, name: string): FieldIndex {
  let number = 0n;
  store.transact(() => {
    const row = store.db
      .prepare(`
        INSERT INTO field_index (path, state, built_to, build_until)
        VALUES (?, 'building', 0, ?) RETURNING number
      `)
      .get(name, store.revision);
    number = integerOf(row, "number");
    store.db.exec(indexTable(number));
  });
  store.indexes.reload();
  const added = store.indexes.findNumber(number);
  if (added === undefined) throw new Error("the index that was just added is missing");
  return added;
}

/** Takes an index out of use, with what is to take its place. The entries go by {@link IndexRemoval}. */
export function retireIndex(store: StoreWriter, path: string): void {
  if (store.indexes.find(path) === undefined) return;
  store.transact(() => {
    retire(store, path);
    retire(store, rebuildMark + path);
  });
  store.indexes.reload();
}

/** Gives up what is being built to take the place of an index. */
export function retireRebuild(store: StoreWriter, path: string): void {
  if (store.indexes.findRebuild(path) === undefined) return;
  store.transact(() => retire(store, rebuildMark + path));
  store.indexes.reload();
}

/** In the caller's transaction. */
function retire(store: StoreWriter, name: string): void {
  store.db
    .prepare("UPDATE field_index SET state = 'dropping', path = NULL WHERE path = ?")
    .run(name);
}

/** Fills an index with the records that were there before it. Where it stops, another can go on. */
export class IndexBuild implements StepTask {
  readonly #number: bigint;
  readonly #onProgress: (progress: BuildProgress) => void;
  #rows: number;
  /** Of what it has taken the place of. */
  #removal: IndexRemoval | undefined;

  /** @param rows of the first step; the later ones take what fits into a step's time. */
  constructor(
    number: bigint,
    onProgress: (progress: BuildProgress) => void,
    rows: number = rowsAtFirst,
  ) {
    this.#number = number;
    this.#onProgress = onProgress;
    this.#rows = rows;
  }

  step(store: StoreWriter): boolean {
    if (this.#removal !== undefined) return this.#removal.step(store);
    const index = store.indexes.findNumber(this.#number);
    // Dropped meanwhile: there is nothing left to build.
    if (index === undefined || index.state === "ready") return true;
    const startMs = performance.now();
    const builtTo = this.#fill(store, index);
    const done = builtTo >= index.buildUntil;
    store.indexes.reload();
    this.#rows = nextRows(this.#rows, performance.now() - startMs);
    this.#onProgress({ done: builtTo, total: index.buildUntil });
    if (!done || !index.isRebuild) return done;
    this.#removal = new IndexRemoval();
    return false;
  }

  #fill(store: StoreWriter, index: FieldIndex): bigint {
    const { db, indexes } = store;
    let builtTo = index.buildUntil;
    store.transact(() => {
      const rows = db
        .prepare(`
          SELECT seq, json(document) AS document FROM record
          WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?
        `)
        .all(index.builtTo, index.buildUntil, BigInt(this.#rows));
      for (const row of rows) {
        indexes.fill(index, integerOf(row, "seq"), textOf(row, "document"));
      }
      if (rows.length === this.#rows) builtTo = integerOf(rows.at(-1), "seq");
      const state = builtTo >= index.buildUntil ? "ready" : "building";
      if (state === "ready" && index.isRebuild) {
        retire(store, index.path);
        db.prepare("UPDATE field_index SET path = ? WHERE number = ?").run(
          index.path,
          index.number,
        );
      }
      db.prepare("UPDATE field_index SET built_to = ?, state = ? WHERE number = ?").run(
        builtTo,
        state,
        index.number,
      );
    });
    return builtTo;
  }
}

/** Removes what retired indexes of a store have left. */
export class IndexRemoval implements StepTask {
  #rows = rowsAtFirst;

  step(store: StoreWriter): boolean {
    const { db } = store;
    const row = db
      .prepare("SELECT number FROM field_index WHERE state = 'dropping' ORDER BY number LIMIT 1")
      .get();
    if (row === undefined) {
      store.indexes.reload();
      return true;
    }
    const number = integerOf(row, "number");
    const table = indexTableName(number);
    const startMs = performance.now();
    store.transact(() => {
      const { changes } = db
        .prepare(`
          DELETE FROM ${table}
          WHERE (value, seq) IN (SELECT value, seq FROM ${table} LIMIT ?)
        `)
        .run(BigInt(this.#rows));
      if (Number(changes) < this.#rows) {
        db.exec(`DROP TABLE ${table}`);
        db.prepare("DELETE FROM field_index WHERE number = ?").run(number);
      }
    });
    this.#rows = nextRows(this.#rows, performance.now() - startMs);
    return false;
  }
}
