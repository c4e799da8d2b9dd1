import { type Position, problemAt } from "./problem.ts";

/** One word, number, string or sign of a `.proto` file. */
export type Token = Position &
  (
    | { readonly kind: "word"; readonly text: string }
    | { readonly kind: "sign"; readonly text: string }
    | { readonly kind: "integer"; readonly text: string; readonly value: bigint }
    | { readonly kind: "float"; readonly text: string; readonly value: number }
    /** Strings hold bytes: escapes may spell what is no UTF-8. */
    | { readonly kind: "string"; readonly text: string; readonly value: Uint8Array }
    | { readonly kind: "end"; readonly text: string }
  );

const whitespace = /[\s\0]*/y;
const word = /[A-Za-z_][A-Za-z0-9_]*/y;
const float = /(?:\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)/y;
const integer = /(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)/y;
const simpleEscapes: Readonly<Record<string, number>> = {
  a: 7,
  b: 8,
  f: 12,
  n: 10,
  r: 13,
  t: 9,
  v: 11,
  "\\": 92,
  "'": 39,
  '"': 34,
  "?": 63,
};

/**
 * Splits the text of a `.proto` file into tokens, without its comments. The last one is `end`.
 *
 * @throws {ProtoCompileError} at the first character that begins no token
 */
export function tokenize(file: string, text: string): Token[] {
  return new Lexer(file, text).run();
}

class Lexer {
  readonly #file: string;
  readonly #text: string;
  readonly #tokens: Token[] = [];
  #at = 0;
  #line = 1;
  #lineStart = 0;

  constructor(file: string, text: string) {
    this.#file = file;
    this.#text = text.startsWith("\uFEFF") ? text.slice(1) : text;
  }

  run(): Token[] {
    for (;;) {
      this.#skipBlank();
      const position = this.#position();
      if (this.#at >= this.#text.length) {
        this.#tokens.push({ kind: "end", text: "the end of the file", ...position });
        return this.#tokens;
      }
      this.#tokens.push(this.#next(position));
    }
  }

  #next(position: Position): Token {
    const name = this.#match(word);
    if (name !== undefined) return { kind: "word", text: name, ...position };
    const char = this.#text[this.#at] ?? "";
    if (char === '"' || char === "'") return this.#string(position);
    const decimal = this.#match(float);
    if (decimal !== undefined) {
      this.#endNumber(position);
      return { kind: "float", text: decimal, value: Number(decimal), ...position };
    }
    const digits = this.#match(integer);
    if (digits !== undefined) {
      this.#endNumber(position);
      const octal = /^0[0-7]+$/.test(digits);
      const value = BigInt(octal ? `0o${digits.slice(1)}` : digits);
      return { kind: "integer", text: digits, value, ...position };
    }
    if ("{}[]()<>=;,.:-+/".includes(char)) {
      this.#at += 1;
      return { kind: "sign", text: char, ...position };
    }
    throw this.#error(`has an unexpected character ${JSON.stringify(char)}`, position);
  }

  #skipBlank(): void {
    for (;;) {
      const blank = this.#match(whitespace) ?? "";
      this.#countLines(blank);
      if (this.#text.startsWith("//", this.#at)) {
        const end = this.#text.indexOf("\n", this.#at);
        this.#at = end === -1 ? this.#text.length : end;
      } else if (this.#text.startsWith("/*", this.#at)) {
        const end = this.#text.indexOf("*/", this.#at + 2);
        if (end === -1) throw this.#error("has a comment without an end", this.#position());
        const start = this.#at;
        this.#at = end + 2;
        this.#countLines(this.#text.slice(start, this.#at));
      } else if (blank === "") {
        return;
      }
    }
  }

  /** Called once the blank has been passed. */
  #countLines(blank: string): void {
    const start = this.#at - blank.length;
    for (let at = blank.indexOf("\n"); at !== -1; at = blank.indexOf("\n", at + 1)) {
      this.#line += 1;
      this.#lineStart = start + at + 1;
    }
  }

  #string(position: Position): Token {
    const quote = this.#text[this.#at];
    const start = this.#at;
    this.#at += 1;
    const bytes: number[] = [];
    for (;;) {
      const code = this.#text.codePointAt(this.#at);
      if (code === undefined || code === 10)
        throw this.#error("has a string without an end", position);
      const char = String.fromCodePoint(code);
      this.#at += char.length;
      if (char === quote) break;
      if (char === "\\") this.#escape(bytes);
      else if (code < 128) bytes.push(code);
      else bytes.push(...Buffer.from(char));
    }
    const text = this.#text.slice(start, this.#at);
    return { kind: "string", text, value: Uint8Array.from(bytes), ...position };
  }

  #escape(bytes: number[]): void {
    const position = this.#position();
    const char = this.#text[this.#at] ?? "";
    const simple = simpleEscapes[char];
    if (simple !== undefined) {
      this.#at += 1;
      bytes.push(simple);
      return;
    }
    const octal = this.#match(/[0-7]{1,3}/y);
    if (octal !== undefined) {
      bytes.push(Number.parseInt(octal, 8) & 255);
      return;
    }
    const hex = this.#match(/[xX][0-9a-fA-F]{1,2}/y);
    if (hex !== undefined) {
      bytes.push(Number.parseInt(hex.slice(1), 16));
      return;
    }
    const unicode = this.#match(/u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}/y);
    const code = unicode === undefined ? Number.NaN : Number.parseInt(unicode.slice(1), 16);
    if (!(code <= 0x10ffff)) throw this.#error(`has an unknown escape \`\\${char}\``, position);
    bytes.push(...Buffer.from(String.fromCodePoint(code)));
  }

  #endNumber(position: Position): void {
    const next = this.#text[this.#at] ?? "";
    if (/[A-Za-z0-9_]/.test(next)) {
      throw this.#error(`needs a space between a number and \`${next}\``, position);
    }
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #position(): Position {
    return { line: this.#line, column: this.#at - this.#lineStart + 1 };
  }

  #error(message: string, position: Position): Error {
    return problemAt(this.#file, position, message);
  }
}
