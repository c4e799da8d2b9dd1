import { DatabaseSync } from "node:sqlite";
import type { Passage, PassageQuery } from "../../record-query.ts";
import type { TextIndexDefinition } from "../../store-layout.ts";
import { integerOf, type Row, textOf } from "../connection.ts";
import { textColumns, tokenizerOf } from "../search-tables.ts";
import { matchExpression, plainText } from "./match-expression.ts";
import { readyTextIndex } from "./ready-indexes.ts";

export interface PassagesRequest {
  readonly kind: "passages";
  readonly query: PassageQuery;
}

export interface PassagesResult {
  readonly kind: "passages";
  readonly passages: readonly (readonly Passage[])[];
}

/** Longest passage that FTS5 makes, in its words. */
const snippetWordsMax = 64;
/** A trigram starts at each character, so a word has about so many of them. */
const trigramsPerWord = 6;

const marksFrom = 0xf0000;
const markMax = 0x10fffd;

/** @throws {CollectorError} QUERY_INVALID without a text index, or for a field that it has not */
export function runPassages(db: DatabaseSync, { query }: PassagesRequest): PassagesResult {
  return { kind: "passages", passages: findPassages(readyTextIndex(db).definition, query) };
}

/**
 * Finds passages by an index in memory of just these texts, with the store's tokenizer and fields: so
 * what is marked is what matched.
 */
export function findPassages(
  index: TextIndexDefinition,
  { match, texts, startMark, endMark, wordsMax }: PassageQuery,
): (readonly Passage[])[] {
  const passages: (readonly Passage[])[] = texts.map(() => []);
  const expression = matchExpression(match, index);
  if (expression === undefined || texts.length === 0) return passages;
  const columns = textColumns(index);
  const plain = texts.map((fields) => columns.map((_, at) => plainText(fields[at] ?? "")));
  // Marks of our own, which no text holds, tell a field that matches from one that does not.
  const start = unusedMark(plain, marksFrom);
  const end = unusedMark(plain, (start.codePointAt(0) ?? marksFrom) + 1);
  using db = new DatabaseSync(":memory:", { readBigInts: true });
  db.exec(`CREATE VIRTUAL TABLE passage USING fts5(
    ${columns.join(", ")}, tokenize = "${tokenizerOf(index)}"
  )`);
  const insert = db.prepare(
    `INSERT INTO passage (rowid, ${columns.join(", ")}) VALUES (?, ${columns.map(() => "?").join(", ")})`,
  );
  db.exec("BEGIN");
  for (const [at, fields] of plain.entries()) insert.run(BigInt(at), ...fields);
  db.exec("COMMIT");
  const select = columns.map((column, at) => `${passageSql(index, at, wordsMax)} AS ${column}`);
  const rows = db
    .prepare(`SELECT rowid AS at, ${select.join(", ")} FROM passage WHERE passage MATCH :match`)
    .iterate({ start, end, match: expression.text });
  for (const row of rows) {
    passages[Number(integerOf(row, "at"))] = passagesOf(row, index, (text) =>
      text.includes(start)
        ? text.replaceAll(start, () => startMark).replaceAll(end, () => endMark)
        : undefined,
    );
  }
  return passages;
}

function passagesOf(
  row: Row,
  { fields }: TextIndexDefinition,
  mark: (text: string) => string | undefined,
): Passage[] {
  return fields.flatMap(({ name }, at) => {
    const passage = mark(textOf(row, `t${at}`));
    return passage === undefined ? [] : { field: name, passage };
  });
}

function passageSql(index: TextIndexDefinition, at: number, wordsMax: number | undefined): string {
  if (wordsMax === undefined) return `highlight(passage, ${at}, :start, :end)`;
  const words = index.tokenizer === "trigram" ? wordsMax * trigramsPerWord : wordsMax;
  const most = Math.min(Math.max(Math.floor(words), 1), snippetWordsMax);
  return `snippet(passage, ${at}, :start, :end, '…', ${most})`;
}

/** A character that is in none of the texts: of those for private use, from this one on. */
function unusedMark(texts: readonly (readonly string[])[], from: number): string {
  for (let code = from; ; code++) {
    const mark = String.fromCodePoint(code);
    if (code >= markMax || !texts.some((fields) => fields.some((text) => text.includes(mark)))) {
      return mark;
    }
  }
}
