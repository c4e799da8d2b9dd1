import type { DatabaseSync } from "node:sqlite";
import { CollectorError } from "../../errors.ts";
import type {
  StoreShape,
  TextFieldDefinition,
  TextIndexDefinition,
  Tokenizer,
  VectorIndexDefinition,
} from "../store-layout.ts";
import { integerOf, malformedRow, textOf } from "./connection.ts";
import { vectorTable } from "./vectors/vector-table.ts";

type SearchIndexKind = "text" | "vector";
export type SearchIndexState = "building" | "ready";

/** An index of text or vectors, as `search_index` has it: its table is named after its number. */
export interface SearchIndexRow<Definition> {
  readonly number: bigint;
  readonly definition: Definition;
  readonly state: SearchIndexState;
}

/** What a store searches, in the order of {@link StoreShape}. */
export interface SearchIndexRows {
  readonly version: bigint;
  /** The one that serves comes first. */
  readonly texts: readonly SearchIndexRow<TextIndexDefinition>[];
  readonly vectors: readonly SearchIndexRow<VectorIndexDefinition>[];
}

/** What is to be searched. */
export interface WantedSearch {
  /** Undefined: no text. */
  readonly text: TextIndexDefinition | undefined;
  readonly vectors: readonly VectorIndexDefinition[];
  /** Not what serves already, but another beside it. */
  readonly anew?: boolean | undefined;
}

const textFieldsMax = 16;
const vectorNamePattern = /^[a-z][a-z0-9_]*$/;

/** @throws {CollectorError} INTERNAL for what callers are to refuse before. */
export function checkWanted({ text, vectors }: WantedSearch): void {
  if (text !== undefined) {
    const names = new Set(text.fields.map(({ name }) => name));
    const weigh = text.fields.every(({ weight }) => Number.isFinite(weight) && weight >= 0);
    if (names.size < text.fields.length || !weigh || names.size < 1 || names.size > textFieldsMax) {
      throw new CollectorError("INTERNAL", "a text index needs 1 to 16 fields of different names");
    }
  }
  const names = new Set(vectors.map(({ name }) => name));
  for (const name of names) {
    if (!vectorNamePattern.test(name)) {
      throw new CollectorError("INTERNAL", `${name} is no name of a vector index`);
    }
  }
  if (names.size < vectors.length || vectors.some(({ dimensions }) => !(dimensions >= 1))) {
    throw new CollectorError("INTERNAL", "vector indexes need different names, and dimensions");
  }
}

const tokenizers: Readonly<Record<Tokenizer, string>> = {
  words: "unicode61 remove_diacritics 2",
  "exact-words": "unicode61 remove_diacritics 0",
  english: "porter unicode61 remove_diacritics 2",
  trigram: "trigram case_sensitive 0",
};

/** What FTS5 is told to make words of. */
export function tokenizerOf({ tokenizer }: TextIndexDefinition): string {
  return tokenizers[tokenizer];
}

export function textTableName(number: bigint): string {
  return `text_${number}`;
}

/** The columns of a text table, one per field, named by position: FTS5 keeps some names to itself. */
export function textColumns({ fields }: TextIndexDefinition): string[] {
  return fields.map((_, position) => `t${position}`);
}

/** Adds a text index without entries. Runs in the caller's transaction. */
export function addTextIndex(
  db: DatabaseSync,
  definition: TextIndexDefinition,
  state: SearchIndexState,
): void {
  const number = addRow(db, "text", definition, state);
  db.exec(textTable(number, definition));
  setWeights(db, number, definition.fields);
}

/** Adds a vector index without entries. Runs in the caller's transaction. */
export function addVectorIndex(
  db: DatabaseSync,
  definition: VectorIndexDefinition,
  state: SearchIndexState,
): void {
  db.exec(vectorTable(addRow(db, "vector", definition, state), definition));
}

function addRow(
  db: DatabaseSync,
  kind: SearchIndexKind,
  definition: object,
  state: SearchIndexState,
): bigint {
  const row = db
    .prepare("INSERT INTO search_index (kind, definition, state) VALUES (?, ?, ?) RETURNING number")
    .get(kind, JSON.stringify(definition), state);
  return integerOf(row, "number");
}

/** Says how much each field of a text table counts, in each search from then on. */
export function setWeights(
  db: DatabaseSync,
  number: bigint,
  fields: readonly TextFieldDefinition[],
): void {
  const table = textTableName(number);
  const weights = fields.map(({ weight }) => weight.toFixed(6)).join(", ");
  db.prepare(`INSERT INTO ${table} (${table}, rank) VALUES ('rank', ?)`).run(`bm25(${weights})`);
}

/**
 * Segments of a size that are merged into one, how much of large ones may be dead before they are written anew, in
 * percent, and how many segments of a size no group of writes may leave: docs/decisions/0027-text-merges.md and
 * 0028-quiet-merges.md.
 */
const mergeWidth = 16;
const deadPercent = 40;
const crisisWidth = 256;

/**
 * Holds no text of its own. It merges nothing by itself: merges come in small steps, between writes or in quiet
 * moments, so that no write waits for a large one. Text in threes of characters needs no index of beginnings.
 */
function textTable(number: bigint, definition: TextIndexDefinition): string {
  const table = textTableName(number);
  const prefix = definition.tokenizer === "trigram" ? "" : "prefix = '3',";
  return `
    CREATE VIRTUAL TABLE ${table} USING fts5(
      ${textColumns(definition).join(", ")},
      content = '', contentless_delete = 1, ${prefix}
      tokenize = "${tokenizerOf(definition)}"
    );
    INSERT INTO ${table} (${table}, rank) VALUES ('automerge', 0);
    INSERT INTO ${table} (${table}, rank) VALUES ('usermerge', ${mergeWidth});
    INSERT INTO ${table} (${table}, rank) VALUES ('deletemerge', ${deadPercent});
    INSERT INTO ${table} (${table}, rank) VALUES ('crisismerge', ${crisisWidth});
  `;
}

/**
 * The indexes that are in use or being built, and the version of the shape they make: both of one
 * moment, also outside of a transaction.
 *
 * @throws {CollectorError} STORAGE_CORRUPT
 */
export function readSearchIndexes(db: DatabaseSync): SearchIndexRows {
  const rows = db
    .prepare(`
      SELECT meta.shape, number, kind, definition, state
      FROM meta LEFT JOIN search_index ON state <> 'dropping'
      ORDER BY state = 'building', number
    `)
    .all();
  const texts: SearchIndexRow<TextIndexDefinition>[] = [];
  const vectors: SearchIndexRow<VectorIndexDefinition>[] = [];
  for (const row of rows) {
    if (row["number"] === null) break;
    const number = integerOf(row, "number");
    const state = textOf(row, "state");
    if (state !== "ready" && state !== "building") throw malformedRow();
    // The server wrote it, from a definition that was checked.
    const definition: unknown = JSON.parse(textOf(row, "definition"));
    if (textOf(row, "kind") === "text") {
      texts.push({ number, definition: definition as TextIndexDefinition, state });
    } else {
      vectors.push({ number, definition: definition as VectorIndexDefinition, state });
    }
  }
  return { version: integerOf(rows[0], "shape"), texts, vectors };
}

/** What has to be derived from records for these indexes. */
export function shapeOf({ version, texts, vectors }: SearchIndexRows): StoreShape {
  return {
    version,
    texts: texts.map(({ definition, state }) => ({ definition, state })),
    vectors: vectors.map(({ definition, state }) => ({ definition, state })),
  };
}
