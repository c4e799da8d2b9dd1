import { invalidField } from "../../errors.ts";

/** What a record is sorted by: undefined where it has no value. */
export type OrderValue = bigint | number | string | undefined;

/** A text that is too long for a cursor, by how it begins. */
export interface LongText {
  readonly prefix: string;
}

/** Where a list goes on, and what its first page said about all of them. */
export interface ListCursor {
  /** The order keys of the last record, first key first. */
  readonly keys: readonly (OrderValue | LongText)[];
  readonly seq: bigint;
  /** The version it had. */
  readonly version: bigint;
  readonly totalCount: bigint;
  readonly totalCapped: boolean;
}

/** What the keys of a cursor may have together, written as JSON, in UTF-8 bytes. */
const keyBytesMax = 24 * 1024;
const prefixCharsMax = 256;
const markChars = 8;

const int64Pattern = /^-?\d{1,19}$/;

/**
 * A cursor as text, for this incarnation of the store and no other. Of a text key that is too long, it
 * holds how it begins.
 */
export function encodeCursor(cursor: ListCursor, incarnation: string): string {
  const { keys, seq, version, totalCount, totalCapped } = cursor;
  const bytesMax = Math.floor(keyBytesMax / Math.max(keys.length, 1));
  return JSON.stringify([
    incarnation.slice(0, markChars),
    String(seq),
    String(version),
    String(totalCount),
    totalCapped,
    ...keys.map((key) => encodeKey(key, bytesMax)),
  ]);
}

/**
 * @param keyCount how many keys the list is sorted by.
 * @throws {CollectorError} PAGE_TOKEN_INVALID
 */
export function decodeCursor(text: string, incarnation: string, keyCount: number): ListCursor {
  const parts = parseList(text);
  const [mark, seq, version, totalCount, totalCapped, ...keys] = parts;
  if (
    mark !== incarnation.slice(0, markChars) ||
    typeof totalCapped !== "boolean" ||
    keys.length !== keyCount
  ) {
    throw invalidCursor();
  }
  return {
    seq: decodeInteger(seq),
    version: decodeInteger(version),
    totalCount: decodeInteger(totalCount),
    totalCapped,
    keys: keys.map(decodeKey),
  };
}

function encodeKey(key: OrderValue | LongText, bytesMax: number): readonly string[] {
  if (key === undefined) return [];
  if (typeof key === "bigint") return ["i", String(key)];
  if (typeof key === "number") return ["n", String(key)];
  if (typeof key === "object") return ["p", key.prefix];
  if (Buffer.byteLength(JSON.stringify(key)) <= bytesMax) return ["t", key];
  return [
    "p",
    Array.from(key.slice(0, prefixCharsMax * 2))
      .slice(0, prefixCharsMax)
      .join(""),
  ];
}

function decodeKey(item: unknown): OrderValue | LongText {
  if (!Array.isArray(item) || item.length > 2) throw invalidCursor();
  if (item.length === 0) return undefined;
  const [kind, text]: unknown[] = item;
  if (typeof text !== "string" || !text.isWellFormed()) throw invalidCursor();
  switch (kind) {
    case "i":
      return decodeInteger(text);
    case "n": {
      const value = Number(text);
      if (Number.isNaN(value) || text === "") throw invalidCursor();
      return value;
    }
    case "t":
      return text;
    case "p":
      return { prefix: text };
    default:
      throw invalidCursor();
  }
}

function decodeInteger(text: unknown): bigint {
  if (typeof text !== "string" || !int64Pattern.test(text)) throw invalidCursor();
  const value = BigInt(text);
  if (BigInt.asIntN(64, value) !== value) throw invalidCursor();
  return value;
}

function parseList(text: string): unknown[] {
  try {
    const parsed: unknown = JSON.parse(text);
    if (Array.isArray(parsed)) return parsed;
  } catch {
    // Falls through to the refusal.
  }
  throw invalidCursor();
}

function invalidCursor(): Error {
  return invalidField(
    "PAGE_TOKEN_INVALID",
    "page_token",
    "is not of this collection as it is now; send none to start over",
  );
}
