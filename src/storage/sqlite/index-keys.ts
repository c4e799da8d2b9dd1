/** A value as SQLite orders it. True and false are 1 and 0, as SQLite's own JSON functions say. */
export type IndexKey = bigint | number | string;

/** Reads the values at some paths of a document: one list per path, in the order of the paths. */
export type IndexKeyReader = (document: string) => readonly (readonly IndexKey[])[];

interface PathNode {
  readonly children: Map<string, PathNode>;
  /** The paths that end here, by their position. */
  readonly slots: number[];
}

const quote = 0x22;
const backslash = 0x5c;
const int64Min = -(2n ** 63n);
const int64Max = 2n ** 63n - 1n;

/**
 * Makes a reader that takes all values in one pass over the text. An array along a path stands for
 * each of its items; a null, an object at the end of a path and a missing field have no value.
 * Integers are exact up to 64 bits, which they would not be by way of `JSON.parse`.
 */
export function compileIndexKeys(paths: readonly string[]): IndexKeyReader {
  const root = newNode();
  for (const [slot, path] of paths.entries()) {
    let node = root;
    for (const name of path.split(".")) {
      let child = node.children.get(name);
      if (child === undefined) {
        child = newNode();
        node.children.set(name, child);
      }
      node = child;
    }
    node.slots.push(slot);
  }
  if (paths.length === 0) return () => [];
  return (document) => {
    const found: IndexKey[][] = paths.map(() => []);
    new Scanner(document, found).value(root);
    return found;
  };
}

function newNode(): PathNode {
  return { children: new Map(), slots: [] };
}

/** Walks over one JSON text that is known to be valid. */
class Scanner {
  readonly #text: string;
  readonly #found: IndexKey[][];
  #at = 0;

  constructor(text: string, found: IndexKey[][]) {
    this.#text = text;
    this.#found = found;
  }

  /** Reads the value at the position, looking for what `node` leads to. */
  value(node: PathNode | undefined): void {
    this.#skipSpace();
    const start = this.#at;
    switch (this.#text.charAt(start)) {
      case "{":
        this.#object(node);
        return;
      case "[":
        this.#array(node);
        return;
      case '"': {
        const value = this.#string();
        if (node !== undefined) this.#keep(node, value);
        return;
      }
      default: {
        while (this.#at < this.#text.length && !isEnd(this.#text.charCodeAt(this.#at))) this.#at++;
        if (node !== undefined && node.slots.length > 0) {
          const value = scalarOf(this.#text.slice(start, this.#at));
          if (value !== undefined) this.#keep(node, value);
        }
      }
    }
  }

  #object(node: PathNode | undefined): void {
    this.#at++;
    this.#skipSpace();
    while (this.#at < this.#text.length && this.#text[this.#at] !== "}") {
      const name = this.#string();
      this.#skipSpace();
      this.#at++;
      this.value(node?.children.get(name));
      this.#skipSeparator();
    }
    this.#at++;
  }

  #array(node: PathNode | undefined): void {
    this.#at++;
    this.#skipSpace();
    while (this.#at < this.#text.length && this.#text[this.#at] !== "]") {
      this.value(node);
      this.#skipSeparator();
    }
    this.#at++;
  }

  #string(): string {
    const start = this.#at;
    let plain = true;
    let at = start + 1;
    for (;;) {
      const char = this.#text.charCodeAt(at);
      // Past the end, the code is NaN: the text was cut.
      if (char === quote || Number.isNaN(char)) break;
      if (char === backslash) {
        plain = false;
        at++;
      }
      at++;
    }
    this.#at = at + 1;
    if (plain) return this.#text.slice(start + 1, at);
    return String(JSON.parse(this.#text.slice(start, at + 1)));
  }

  #keep(node: PathNode, value: IndexKey): void {
    for (const slot of node.slots) this.#found[slot]?.push(value);
  }

  #skipSeparator(): void {
    this.#skipSpace();
    if (this.#text[this.#at] === ",") this.#at++;
    this.#skipSpace();
  }

  #skipSpace(): void {
    while (isSpace(this.#text.charCodeAt(this.#at))) this.#at++;
  }
}

function scalarOf(token: string): IndexKey | undefined {
  if (token === "true") return 1n;
  if (token === "false") return 0n;
  if (token === "null") return undefined;
  if (/^-?\d+$/.test(token)) {
    const integer = BigInt(token);
    return integer >= int64Min && integer <= int64Max ? integer : Number(token);
  }
  return Number(token);
}

function isSpace(char: number): boolean {
  return char === 0x20 || char === 0x0a || char === 0x0d || char === 0x09;
}

function isEnd(char: number): boolean {
  return char === 0x2c || char === 0x7d || char === 0x5d || isSpace(char);
}
