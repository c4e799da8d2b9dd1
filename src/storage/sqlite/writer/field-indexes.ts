import type { DatabaseSync } from "node:sqlite";
import { integerOf, malformedRow, type Row } from "../connection.ts";
import { compileIndexKeys, type IndexKey, type IndexKeyReader } from "../index-keys.ts";
import { noValue, rebuildMark } from "../schema.ts";
import { type IndexStatements, prepareIndexStatements } from "./write-statements.ts";

export type FieldIndexState = "building" | "ready" | "dropping";

/** An index of a store as the writer keeps it. */
export interface FieldIndex extends IndexStatements {
  readonly number: bigint;
  readonly path: string;
  readonly state: Exclude<FieldIndexState, "dropping">;
  /** True if it is built to take the place of the one that serves. */
  readonly isRebuild: boolean;
  /** While it is built: records up to here are in it, */
  readonly builtTo: bigint;
  /** and from here on they are put in as they are written. What lies between waits for the build. */
  readonly buildUntil: bigint;
}

/** The indexes of one store, kept in step with its records by explicit statements. */
export class FieldIndexes {
  readonly #db: DatabaseSync;
  #indexes: readonly FieldIndex[] = [];
  #readKeys: IndexKeyReader = () => [];
  #retired = false;

  constructor(db: DatabaseSync) {
    this.#db = db;
    this.reload();
  }

  /** True if there is nothing to keep. */
  get empty(): boolean {
    return this.#indexes.length === 0;
  }

  /** True if indexes that are out of use have left something to remove. */
  get retired(): boolean {
    return this.#retired;
  }

  /** The index on a path, not the one that is to take its place. */
  find(path: string): FieldIndex | undefined {
    return this.#indexes.find((index) => index.path === path && !index.isRebuild);
  }

  /** The index that is being built to take the place of the one on a path. */
  findRebuild(path: string): FieldIndex | undefined {
    return this.#indexes.find((index) => index.path === path && index.isRebuild);
  }

  findNumber(number: bigint): FieldIndex | undefined {
    return this.#indexes.find((index) => index.number === number);
  }

  /** Reads again which indexes there are, after that changed. */
  reload(): void {
    const rows: Row[] = this.#db
      .prepare(`
        SELECT number, path, state, built_to AS builtTo, build_until AS buildUntil
        FROM field_index ORDER BY number
      `)
      .all();
    const kept = rows.filter(({ state }) => state !== "dropping");
    this.#retired = kept.length < rows.length;
    this.#indexes = kept.map((row) => this.#toIndex(row));
    this.#readKeys = compileIndexKeys(this.#indexes.map((index) => index.path));
  }

  insert(seq: bigint, document: string): void {
    const keys = this.#readKeys(document);
    for (const [position, index] of this.#indexes.entries()) {
      if (!keeps(index, seq)) continue;
      for (const value of valuesOf(keys[position])) index.insert.run(value, seq);
    }
  }

  remove(seq: bigint, document: string): void {
    const keys = this.#readKeys(document);
    for (const [position, index] of this.#indexes.entries()) {
      if (!keeps(index, seq)) continue;
      for (const value of valuesOf(keys[position])) index.remove.run(value, seq);
    }
  }

  replace(seq: bigint, before: string, after: string): void {
    const keysBefore = this.#readKeys(before);
    const keysAfter = this.#readKeys(after);
    for (const [position, index] of this.#indexes.entries()) {
      if (!keeps(index, seq)) continue;
      const old = keysBefore[position] ?? [];
      const now = keysAfter[position] ?? [];
      if (sameKeys(old, now)) continue;
      for (const value of valuesOf(old)) index.remove.run(value, seq);
      for (const value of valuesOf(now)) index.insert.run(value, seq);
    }
  }

  /** Puts a record that was there before an index into it. */
  fill(index: FieldIndex, seq: bigint, document: string): void {
    const position = this.#indexes.indexOf(index);
    const keys = this.#readKeys(document)[position];
    for (const value of valuesOf(keys)) index.insert.run(value, seq);
  }

  #toIndex(row: Row): FieldIndex {
    const { path, state } = row;
    if (typeof path !== "string" || (state !== "building" && state !== "ready")) {
      throw malformedRow();
    }
    const number = integerOf(row, "number");
    const isRebuild = path.startsWith(rebuildMark);
    return {
      number,
      path: isRebuild ? path.slice(rebuildMark.length) : path,
      state,
      isRebuild,
      builtTo: integerOf(row, "builtTo"),
      buildUntil: integerOf(row, "buildUntil"),
      ...prepareIndexStatements(this.#db, number),
    };
  }
}

function keeps(index: FieldIndex, seq: bigint): boolean {
  return index.state === "ready" || seq <= index.builtTo || seq > index.buildUntil;
}

/** What a record's rows in an index hold: there is always one. */
function valuesOf(keys: readonly IndexKey[] | undefined): readonly (IndexKey | Uint8Array)[] {
  return keys === undefined || keys.length === 0 ? withoutValue : keys;
}

const withoutValue: readonly Uint8Array[] = [noValue];

function sameKeys(a: readonly IndexKey[], b: readonly IndexKey[]): boolean {
  return a.length === b.length && a.every((key, position) => key === b[position]);
}
