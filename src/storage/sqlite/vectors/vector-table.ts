import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { BuildState, VectorIndexDefinition } from "../../store-layout.ts";
import { comparable } from "./distance.ts";
import { blockRecords, putVector, readBlock, withoutVector } from "./vector-codes.ts";

/** A vector index: the number in the names of its tables, and what it holds. */
export interface VectorIndexRow {
  readonly number: bigint;
  readonly definition: VectorIndexDefinition;
  readonly state: BuildState;
}

/** The table of the vectors as they were given: `(seq, value)`. */
export function vectorTableName(number: bigint): string {
  return `vector_${number}`;
}

/** The table of their codes, many records in a row: `(block, codes)`. */
export function blockTableName(number: bigint): string {
  return `vector_${number}_block`;
}

/** The tables of a vector index: to drop it, all of them go. Each has a rowid. */
export function vectorTableNames(number: bigint): readonly string[] {
  return [vectorTableName(number), blockTableName(number)];
}

/** The statements that make the tables of a vector index. */
export function vectorTable(number: bigint, _definition: VectorIndexDefinition): string {
  return `
    CREATE TABLE ${vectorTableName(number)} (
      seq INTEGER PRIMARY KEY,
      value BLOB NOT NULL
    ) STRICT;
    CREATE TABLE ${blockTableName(number)} (
      block INTEGER PRIMARY KEY,
      codes BLOB NOT NULL
    ) STRICT;
  `;
}

/** The vectors of one store, kept in step with its records in the transactions of the writes. */
export class VectorTables {
  readonly #tables: readonly OneVectorTable[];

  /** @param states the store's vector indexes, those that are being built included. */
  constructor(db: DatabaseSync, states: readonly VectorIndexRow[]) {
    this.#tables = states.map((index) => {
      const serving = states.find(
        ({ state, definition }) =>
          state === "ready" &&
          definition.name === index.definition.name &&
          definition.dimensions === index.definition.dimensions,
      );
      return new OneVectorTable(db, index, serving === index ? undefined : serving);
    });
  }

  /** True if there is nothing to keep. */
  get empty(): boolean {
    return this.#tables.length === 0;
  }

  /**
   * Keeps the vectors of a record, one per index. What cannot be compared (not finite, or of length 0
   * where only the direction counts) is like none.
   *
   * `keep` keeps what the record has; in an index that is being built, it takes what the record has
   * in the one that serves under the same name, if that has as many dimensions.
   *
   * @param fresh true if the record has none yet.
   */
  set(seq: bigint, vectors: readonly (Float32Array | "keep" | undefined)[], fresh: boolean): void {
    for (const [position, table] of this.#tables.entries()) {
      const vector = vectors[position];
      if (vector === "keep") table.keep(seq);
      else if (vector !== undefined) table.set(seq, vector, fresh);
      else if (!fresh) table.remove(seq);
    }
  }

  remove(seq: bigint): void {
    for (const table of this.#tables) table.remove(seq);
  }
}

class OneVectorTable {
  readonly #definition: VectorIndexDefinition;
  readonly #set: StatementSync;
  readonly #remove: StatementSync;
  readonly #has: StatementSync;
  readonly #getServing: StatementSync | undefined;
  readonly #getBlock: StatementSync;
  readonly #setBlock: StatementSync;
  readonly #removeBlock: StatementSync;

  constructor(
    db: DatabaseSync,
    { number, definition }: VectorIndexRow,
    serving: VectorIndexRow | undefined,
  ) {
    const table = vectorTableName(number);
    const blocks = blockTableName(number);
    this.#definition = definition;
    this.#set = db.prepare(`
      INSERT INTO ${table} (seq, value) VALUES (?, ?)
      ON CONFLICT (seq) DO UPDATE SET value = excluded.value
    `);
    this.#remove = db.prepare(`DELETE FROM ${table} WHERE seq = ?`);
    this.#has = db.prepare(`SELECT 1 FROM ${table} WHERE seq = ?`);
    this.#getServing =
      serving && db.prepare(`SELECT value FROM ${vectorTableName(serving.number)} WHERE seq = ?`);
    this.#getBlock = db.prepare(`SELECT codes FROM ${blocks} WHERE block = ?`);
    this.#setBlock = db.prepare(`
      INSERT INTO ${blocks} (block, codes) VALUES (?, ?)
      ON CONFLICT (block) DO UPDATE SET codes = excluded.codes
    `);
    this.#removeBlock = db.prepare(`DELETE FROM ${blocks} WHERE block = ?`);
  }

  set(seq: bigint, vector: Float32Array, fresh: boolean): void {
    const { metric, dimensions } = this.#definition;
    const compared = vector.length === dimensions ? comparable(metric, vector) : undefined;
    if (compared === undefined) {
      if (!fresh) this.remove(seq);
      return;
    }
    this.#set.run(seq, new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength));
    const [number, place] = blockOf(seq);
    const bytes = this.#blockBytes(number);
    const block = bytes && readBlock(bytes, dimensions);
    this.#setBlock.run(number, putVector(bytes, block, place, compared));
  }

  keep(seq: bigint): void {
    if (this.#getServing === undefined || this.#has.get(seq) !== undefined) return;
    const value = this.#getServing.get(seq)?.["value"];
    if (!(value instanceof Uint8Array)) return;
    const vector = readVector(value);
    if (vector !== undefined) this.set(seq, vector, true);
  }

  remove(seq: bigint): void {
    if (this.#remove.run(seq).changes === 0n) return;
    const { dimensions } = this.#definition;
    const [number, place] = blockOf(seq);
    const bytes = this.#blockBytes(number);
    const block = bytes && readBlock(bytes, dimensions);
    if (block === undefined) return;
    const left = withoutVector(block, place, dimensions);
    if (left === undefined) this.#removeBlock.run(number);
    else this.#setBlock.run(number, left);
  }

  #blockBytes(number: bigint): Uint8Array | undefined {
    const codes = this.#getBlock.get(number)?.["codes"];
    return codes instanceof Uint8Array ? codes : undefined;
  }
}

/** Where the codes of a record are: the block, and the place in it. */
function blockOf(seq: bigint): [number: bigint, place: number] {
  return [seq / blockRecords, Number(seq % blockRecords)];
}

/** The vector of a stored value; undefined if it is none. */
export function readVector(value: Uint8Array): Float32Array | undefined {
  if (value.byteLength % 4 !== 0) return undefined;
  const { buffer, byteOffset, byteLength } = value.byteOffset % 4 === 0 ? value : value.slice();
  return new Float32Array(buffer, byteOffset, byteLength / 4);
}
