import type { DatabaseSync } from "node:sqlite";
import type { DerivedData } from "../../record-store.ts";
import { readSearchIndexes, type SearchIndexRows } from "../search-tables.ts";
import { VectorTables } from "../vectors/vector-table.ts";
import { TextMerges } from "./text-merges.ts";
import { prepareTextStatements, type TextStatements } from "./write-statements.ts";

interface TextIndex extends TextStatements {
  readonly merges: TextMerges;
}

interface PendingText {
  /** True if the text tables have no row of the record yet. */
  readonly fresh: boolean;
  /** Undefined if the record is deleted. */
  readonly texts: DerivedData["texts"] | undefined;
}

/** The text and vector indexes of one store, kept in step with its records by explicit statements. */
export class SearchIndexes {
  readonly #db: DatabaseSync;
  #rows: SearchIndexRows = { version: 0n, texts: [], vectors: [] };
  #texts: readonly TextIndex[] = [];
  #vectors: VectorTables;
  #retired = false;
  /** Text rows are written at the end of a group, in order of `seq`: FTS5 writes a segment out of order. */
  readonly #pending = new Map<bigint, PendingText>();

  constructor(db: DatabaseSync) {
    this.#db = db;
    this.#vectors = new VectorTables(db, []);
    this.reload();
  }

  /** The indexes that serve or are being built, and the version of the shape. */
  get rows(): SearchIndexRows {
    return this.#rows;
  }

  /** True if indexes that are out of use have left something to remove. */
  get retired(): boolean {
    return this.#retired;
  }

  /** True if there is something to merge in a quiet moment. */
  get untidy(): boolean {
    return this.#texts.some(({ merges }) => merges.isUntidy);
  }

  /** Reads again which indexes there are, after that changed. */
  reload(): void {
    const rows = readSearchIndexes(this.#db);
    this.#rows = rows;
    this.#texts = rows.texts.map(({ number, definition }) => ({
      ...prepareTextStatements(this.#db, number, definition),
      merges: new TextMerges(this.#db, number, definition.tokenizer),
    }));
    this.#vectors = new VectorTables(this.#db, rows.vectors);
    const dropping = this.#db.prepare(
      "SELECT 1 FROM search_index WHERE state = 'dropping' LIMIT 1",
    );
    this.#retired = dropping.get() !== undefined;
  }

  /** @param fresh true if the record is new. */
  set(seq: bigint, { texts, vectors }: DerivedData, fresh: boolean): void {
    if (this.#texts.length > 0) this.#setTexts(seq, texts, fresh);
    if (!this.#vectors.empty) this.#vectors.set(seq, vectors, fresh);
  }

  remove(seq: bigint): void {
    if (this.#texts.length > 0) this.#setTexts(seq, undefined, false);
    if (!this.#vectors.empty) this.#vectors.remove(seq);
  }

  #setTexts(seq: bigint, texts: DerivedData["texts"] | undefined, fresh: boolean): void {
    const known = this.#pending.get(seq);
    this.#pending.set(seq, { fresh: known?.fresh ?? fresh, texts });
  }

  /** Forgets what {@link flush} has not written, as its transaction is over. */
  discard(): void {
    this.#pending.clear();
  }

  /** Writes the texts of a group, and merges a little. @throws what SQLite throws */
  flush(): void {
    if (this.#pending.size === 0) return;
    const rows = [...this.#pending].sort(([a], [b]) => (a < b ? -1 : 1));
    this.#pending.clear();
    for (const [position, index] of this.#texts.entries()) {
      let chars = 0;
      for (const [seq, { fresh, texts }] of rows) {
        if (!fresh) index.remove.run(seq);
        const fields = texts?.[position];
        if (fields === undefined) continue;
        if (fields.some((text) => text !== "")) index.insert.run(seq, ...fields);
        for (const text of fields) chars += text.length;
      }
      index.merges.afterGroup(rows.length, chars);
    }
  }

  /** Merges a little, if that is left to do, in the caller's transaction. @throws what SQLite throws */
  mergeQuietly(): void {
    this.#texts.find(({ merges }) => merges.isUntidy)?.merges.quietStep();
  }
}
