import type { DatabaseSync } from "node:sqlite";
import { malformedRow } from "./connection.ts";
import { textTableName } from "./search-tables.ts";

/** Segments of about a size: FTS5 merges those of a level into one of the next. */
export interface TextLevel {
  readonly segments: number;
  /** How many of them are being merged. */
  readonly merging: number;
  /** Of records, those included whose record was deleted or written again since. */
  readonly entries: number;
  /** Of the entries, those that are of no use any more. */
  readonly dead: number;
  /** Entries of the segment that has most. */
  readonly largest: number;
  /** What a merge of the level still has to read. */
  readonly pages: number;
}

/** Where FTS5 keeps the structure of an index. */
const structureId = 10n;

/** Marks the form that knows of entries: tables with `contentless_delete` have it from the first. */
const secondForm = [0xff, 0, 0, 1];

/** Comes before what {@link secondForm} marks. */
const cookieBytes = 4;

/**
 * Reads how a text index is stored, as the transaction that is open sees it.
 *
 * @returns a function that does it again and again
 * @throws what SQLite throws
 */
export function textLevelsReader(db: DatabaseSync, number: bigint): () => readonly TextLevel[] {
  const select = db.prepare(`SELECT block FROM ${textTableName(number)}_data WHERE id = ?`);
  return () => {
    const block = select.get(structureId)?.["block"];
    if (!(block instanceof Uint8Array)) throw malformedRow();
    return parseTextLevels(block);
  };
}

/**
 * Reads a structure record, whose format is described at the beginning of SQLite's `fts5_index.c`.
 *
 * @throws {CollectorError} STORAGE_CORRUPT
 */
export function parseTextLevels(block: Uint8Array): readonly TextLevel[] {
  if (secondForm.some((byte, at) => block[cookieBytes + at] !== byte)) throw malformedRow();
  const numbers = new Varints(block, cookieBytes + secondForm.length);
  const count = numbers.next();
  numbers.skip(2); // segments, writes
  const levels: TextLevel[] = [];
  // Not an array of a length that a damaged record gives: its end stops this.
  while (levels.length < count) levels.push(readLevel(numbers));
  return levels;
}

function readLevel(numbers: Varints): TextLevel {
  const merging = numbers.next();
  const segments = numbers.next();
  let entries = 0;
  let dead = 0;
  let largest = 0;
  let pages = 0;
  for (let segment = 0; segment < segments; segment += 1) {
    numbers.skip(1); // its number
    const first = numbers.next();
    const last = numbers.next();
    if (segment < (merging || segments)) pages += last - first + 1;
    numbers.skip(3); // first and last origin, pages of dead entries
    dead += numbers.next();
    const held = numbers.next();
    entries += held;
    largest = Math.max(largest, held);
  }
  return { segments, merging, entries, dead, largest, pages };
}

/** Numbers as SQLite writes them: seven bits in each byte, the most significant first. */
class Varints {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  next(): number {
    let value = 0;
    for (let length = 1; ; length += 1) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) throw malformedRow();
      this.#at += 1;
      // The ninth is the last, and has eight.
      if (length === 9) return value * 256 + byte;
      value = value * 128 + (byte & 127);
      if (byte < 128) return value;
    }
  }

  skip(count: number): void {
    for (let skipped = 0; skipped < count; skipped += 1) this.next();
  }
}
