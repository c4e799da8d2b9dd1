/** A value as SQLite orders it. True and false are 1 and 0, as SQLite's own JSON functions say. */
export type IndexKey = bigint | number | string;

/** Reads the values at some paths of a document: one list per path, in the order of the paths. */
export type IndexKeyReader = (document: string) => readonly (readonly IndexKey[])[];

interface PathNode {
  readonly names: string[];
  /** Where the names lead to, in their order. */
  readonly children: PathNode[];
  /** The paths that end here, by their position. */
  readonly slots: number[];
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;

const int64Min = -(2n ** 63n);
const int64Max = 2n ** 63n - 1n;
const integerPattern = /^-?\d+$/;

/**
 * Makes a reader that takes all values in one pass over the text. An array along a path stands for
 * each of its items; a null, an object at the end of a path and a missing field have no value.
 * Integers are exact up to 64 bits, which they would not be by way of `JSON.parse`.
 */
export function compileIndexKeys(paths: readonly string[]): IndexKeyReader {
  if (paths.length === 0) return () => [];
  const root = newNode();
  for (const [slot, path] of paths.entries()) {
    let node = root;
    for (const name of path.split(".")) node = childOf(node, name);
    node.slots.push(slot);
  }
  return (document) => {
    const found: IndexKey[][] = paths.map(() => []);
    new Scanner(document, found).value(root);
    return found;
  };
}

function newNode(): PathNode {
  return { names: [], children: [], slots: [] };
}

function childOf(node: PathNode, name: string): PathNode {
  const known = node.children[node.names.indexOf(name)];
  if (known !== undefined) return known;
  const child = newNode();
  node.names.push(name);
  node.children.push(child);
  return child;
}

/**
 * Walks over one JSON text that is known to be valid. It runs for each write, so what is not looked
 * for is skipped without making strings of it.
 */
class Scanner {
  readonly #text: string;
  readonly #found: IndexKey[][];
  #at = 0;

  constructor(text: string, found: IndexKey[][]) {
    this.#text = text;
    this.#found = found;
  }

  /** Reads the value at the position, looking for what `node` leads to. */
  value(node: PathNode): void {
    const char = this.#skipSpace();
    if (char === openBrace) this.#object(node);
    else if (char === openBracket) this.#array(node);
    else if (node.slots.length === 0) this.#skipValue();
    else this.#keep(node, char === quote ? this.#string() : this.#scalar());
  }

  #object(node: PathNode): void {
    this.#at++;
    while (this.#skipSpace() === quote) {
      const child = this.#member(node);
      this.#skipSpace();
      this.#at++;
      if (child === undefined) this.#skipValue();
      else this.value(child);
      if (this.#skipSpace() === comma) this.#at++;
    }
    this.#at++;
  }

  #array(node: PathNode): void {
    this.#at++;
    while (this.#at < this.#text.length && this.#skipSpace() !== closeBracket) {
      this.value(node);
      if (this.#skipSpace() === comma) this.#at++;
    }
    this.#at++;
  }

  /** Reads a member's name. */
  #member({ names, children }: PathNode): PathNode | undefined {
    const start = this.#at + 1;
    if (this.#skipString()) {
      const length = this.#at - 1 - start;
      for (let position = 0; position < names.length; position++) {
        const name = names[position];
        if (name?.length === length && this.#text.startsWith(name, start)) {
          return children[position];
        }
      }
      return undefined;
    }
    return children[names.indexOf(this.#unescape(start - 1))];
  }

  #string(): string {
    const start = this.#at;
    if (this.#skipString()) return this.#text.slice(start + 1, this.#at - 1);
    return this.#unescape(start);
  }

  #unescape(start: number): string {
    return String(JSON.parse(this.#text.slice(start, this.#at)));
  }

  #scalar(): IndexKey | undefined {
    const start = this.#at;
    this.#skipScalar();
    return scalarOf(this.#text.slice(start, this.#at));
  }

  #keep(node: PathNode, value: IndexKey | undefined): void {
    if (value === undefined) return;
    for (const slot of node.slots) this.#found[slot]?.push(value);
  }

  #skipValue(): void {
    let depth = 0;
    do {
      const char = this.#skipSpace();
      if (char === quote) {
        this.#skipString();
      } else if (char === openBrace || char === openBracket) {
        depth++;
        this.#at++;
      } else if (char === closeBrace || char === closeBracket) {
        depth--;
        this.#at++;
      } else if (depth > 0 && (char === comma || char === 0x3a)) {
        this.#at++;
      } else {
        this.#skipScalar();
      }
    } while (depth > 0 && this.#at < this.#text.length);
  }

  /** @returns true if the string is written without escapes. */
  #skipString(): boolean {
    const text = this.#text;
    const end = text.indexOf('"', this.#at + 1);
    // A quote after a backslash is mostly part of the string.
    if (end > 0 && text.charCodeAt(end - 1) !== backslash) {
      const plain = isPlain(text, this.#at + 1, end);
      this.#at = end + 1;
      return plain;
    }
    let at = this.#at + 1;
    while (at < text.length && text.charCodeAt(at) !== quote) {
      at += text.charCodeAt(at) === backslash ? 2 : 1;
    }
    this.#at = at + 1;
    return false;
  }

  #skipScalar(): void {
    const text = this.#text;
    while (this.#at < text.length && !isEnd(text.charCodeAt(this.#at))) this.#at++;
  }

  /** @returns the character after the space; NaN at the end. */
  #skipSpace(): number {
    let char = this.#text.charCodeAt(this.#at);
    while (isSpace(char)) char = this.#text.charCodeAt(++this.#at);
    return char;
  }
}

function isPlain(text: string, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (text.charCodeAt(at) === backslash) return false;
  return true;
}

function scalarOf(token: string): IndexKey | undefined {
  if (token === "true") return 1n;
  if (token === "false") return 0n;
  if (token === "null") return undefined;
  if (integerPattern.test(token)) {
    const integer = BigInt(token);
    return integer >= int64Min && integer <= int64Max ? integer : Number(token);
  }
  return Number(token);
}

function isSpace(char: number): boolean {
  return char === 0x20 || char === 0x0a || char === 0x0d || char === 0x09;
}

function isEnd(char: number): boolean {
  return char === comma || char === closeBrace || char === closeBracket || isSpace(char);
}
