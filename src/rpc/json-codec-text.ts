import { CollectorError, invalidField } from "../errors.ts";

/** An integer that no JavaScript number holds for sure; `text` is how the document spells it. */
export class LongNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** A parsed JSON document. A key `__proto__` is a key like any other: walk own keys only. */
export type JsonTree =
  | null
  | boolean
  | number
  | string
  | LongNumber
  | readonly JsonTree[]
  | JsonObject;

export interface JsonObject {
  readonly [key: string]: JsonTree;
}

/** Integers with fewer digits are exact as JavaScript numbers. */
const longDigitsMin = 16;

const quote = 0x22;
const backslash = 0x5c;
const minus = 0x2d;
const digit0 = 0x30;
const digit9 = 0x39;
const openObject = 0x7b;
const openArray = 0x5b;
const closeObject = 0x7d;
const closeArray = 0x5d;
const comma = 0x2c;
const letterU = 0x75;

export function isJsonObject(value: JsonTree | undefined): value is JsonObject {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof LongNumber)
  );
}

/**
 * Parses JSON more strictly than JSON.parse: nothing is nested deeper than `depthMax`, no object
 * holds a key twice, every string is valid Unicode, and long integers keep their digits.
 *
 * The depth is checked before anything is built, in one pass without recursion.
 *
 * @throws {CollectorError} JSON_INVALID
 */
export function parseJson(text: string, depthMax: number): JsonTree {
  const found = scan(text, depthMax);
  let tree: JsonTree;
  try {
    tree = found.longNumbers ? parseExactly(text) : (JSON.parse(text) as JsonTree);
  } catch (error) {
    throw new CollectorError("JSON_INVALID", `the request is not JSON: ${describe(error)}`, {
      cause: error,
    });
  }
  if (found.duplicate !== undefined) {
    throw new CollectorError(
      "JSON_INVALID",
      `the request's JSON has the key ${JSON.stringify(found.duplicate)} twice in one object`,
    );
  }
  // Text decoded from UTF-8 is well formed; only escapes can put half a character into a string.
  if (found.surrogates) checkStrings(tree, "");
  return tree;
}

interface Scan {
  duplicate: string | undefined;
  longNumbers: boolean;
  surrogates: boolean;
}

/** One pass over a text that need not be JSON: what it finds counts only if the text parses. */
function scan(text: string, depthMax: number): Scan {
  const found: Scan = { duplicate: undefined, longNumbers: false, surrogates: false };
  // The keys of each open object; undefined for an open array.
  const open: (Set<string> | undefined)[] = [];
  let expectKey = false;
  let at = 0;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === quote) {
      const end = endOfString(text, at, found);
      const keys = open.at(-1);
      if (expectKey && keys !== undefined) {
        const key = keyOf(text.slice(at, end));
        if (keys.has(key)) found.duplicate ??= key;
        keys.add(key);
      }
      expectKey = false;
      at = end;
      continue;
    }
    if (code === openObject || code === openArray) {
      if (open.length >= depthMax) {
        throw new CollectorError(
          "JSON_INVALID",
          `the request's JSON is nested more than ${depthMax} deep, the limit`,
        );
      }
      expectKey = code === openObject;
      open.push(expectKey ? new Set() : undefined);
    } else if (code === closeObject || code === closeArray) {
      open.pop();
      expectKey = false;
    } else if (code === comma) {
      expectKey = open.at(-1) !== undefined;
    } else if (code === minus || (code >= digit0 && code <= digit9)) {
      const end = endOfDigits(text, at + 1);
      if (end - at >= longDigitsMin) found.longNumbers = true;
      at = end;
      continue;
    }
    at += 1;
  }
  return found;
}

/** The index after the closing quote of the string that opens at `start`. */
function endOfString(text: string, start: number, found: Scan): number {
  let at = start + 1;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === quote) return at + 1;
    if (code === backslash) {
      const escape = text.charCodeAt(at + 1);
      if (escape === letterU && /^d[89a-f]/i.test(text.slice(at + 2, at + 4))) {
        found.surrogates = true;
      }
      at += 1;
    }
    at += 1;
  }
  return text.length;
}

function endOfDigits(text: string, start: number): number {
  let at = start;
  for (; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code < digit0 || code > digit9) break;
  }
  return at;
}

function keyOf(literal: string): string {
  if (!literal.includes("\\")) return literal.slice(1, -1);
  try {
    return String(JSON.parse(literal));
  } catch {
    // No JSON string, so the document is refused as a whole a moment later.
    return literal;
  }
}

/** The reviver's third argument, which TypeScript's library does not know yet. */
type Reviver = (key: string, value: unknown, context: { readonly source?: string }) => unknown;

function parseExactly(text: string): JsonTree {
  const keepDigits: Reviver = (_key, value, context) =>
    typeof value === "number" && context.source !== undefined && isLongInteger(context.source)
      ? new LongNumber(context.source)
      : value;
  return JSON.parse(text, keepDigits as (key: string, value: unknown) => unknown) as JsonTree;
}

function isLongInteger(source: string): boolean {
  return source.length >= longDigitsMin && /^-?\d+$/.test(source);
}

function checkStrings(tree: JsonTree, path: string): void {
  if (typeof tree === "string") {
    if (!tree.isWellFormed()) throw loneSurrogate(path);
  } else if (Array.isArray(tree)) {
    for (const [index, item] of tree.entries()) checkStrings(item, `${path}[${index}]`);
  } else if (isJsonObject(tree)) {
    for (const [key, value] of Object.entries(tree)) {
      if (!key.isWellFormed()) throw loneSurrogate(path);
      checkStrings(value, path === "" ? key : `${path}.${key}`);
    }
  }
}

function loneSurrogate(path: string): CollectorError {
  return invalidField(
    "JSON_INVALID",
    path,
    "holds half of a surrogate pair, as in \\ud800; strings must be valid Unicode",
  );
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
