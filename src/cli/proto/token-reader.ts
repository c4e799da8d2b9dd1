import { didYouMean } from "../../lib/suggest.ts";
import type { Token } from "./lexer.ts";
import { type Position, problemAt } from "./problem.ts";

/** How deep messages, options and their values may nest. */
const nestingMax = 64;

/** Reads tokens one after the other. */
export class TokenReader {
  readonly file: string;
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(file: string, tokens: readonly Token[]) {
    this.file = file;
    this.#tokens = tokens;
  }

  /** The next token, or the one `ahead` tokens behind it. */
  peek(ahead = 0): Token {
    const token = this.#tokens[Math.min(this.#at + ahead, this.#tokens.length - 1)];
    if (token === undefined) throw new RangeError("there are no tokens");
    return token;
  }

  next(): Token {
    const token = this.peek();
    this.#at += 1;
    return token;
  }

  /** Whether a sign or word is next. */
  sees(text: string): boolean {
    const token = this.peek();
    return (token.kind === "sign" || token.kind === "word") && token.text === text;
  }

  /** Takes a sign or word if it is next. */
  takes(text: string): boolean {
    if (!this.sees(text)) return false;
    this.#at += 1;
    return true;
  }

  /** Takes a sign or word that has to be next. */
  expect(text: string, after?: string): Token {
    if (this.sees(text)) return this.next();
    throw this.expected(`\`${text}\`${after === undefined ? "" : ` after ${after}`}`);
  }

  /** Takes the `;` that ends a statement; a missing one is reported where it belongs. */
  expectSemicolon(): void {
    if (this.takes(";")) return;
    const last = this.#tokens[this.#at - 1];
    const here = this.peek();
    if (last === undefined || last.line === here.line) throw this.expected("`;`");
    const position = { line: last.line, column: last.column + last.text.length };
    throw this.error("expects `;` here", position);
  }

  word(what: string): Token {
    if (this.peek().kind === "word") return this.next();
    throw this.expected(what);
  }

  /** A name with dots, as in `foo.bar.Baz`; `leadingDot` allows one in front. */
  dottedName(what: string, leadingDot = false): string {
    let name = leadingDot && this.takes(".") ? "." : "";
    name += this.word(what).text;
    while (this.takes(".")) name += `.${this.word(what).text}`;
    return name;
  }

  integer(what: string): bigint {
    const negative = this.takes("-");
    const token = this.peek();
    if (token.kind !== "integer") throw this.expected(what);
    this.next();
    return negative ? -token.value : token.value;
  }

  /** An integer that fits 32 bits, as field and enum numbers do. */
  int32(what: string): number {
    const position = this.peek();
    const value = this.integer(what);
    if (value < -2147483648n || value > 2147483647n) {
      throw this.error(`${what} must fit 32 bits, ${value} does not`, position);
    }
    return Number(value);
  }

  /** One string, or several in a row, which count as one. */
  bytes(what: string): Uint8Array {
    const parts: Uint8Array[] = [];
    for (let token = this.peek(); token.kind === "string"; token = this.peek()) {
      parts.push(token.value);
      this.next();
    }
    if (parts.length === 0) throw this.expected(what);
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  }

  text(what: string): string {
    const position = this.peek();
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(this.bytes(what));
    } catch (error) {
      if (error instanceof TypeError) throw this.error(`${what} is no UTF-8`, position);
      throw error;
    }
  }

  /** Runs `parse` one level deeper. */
  nested<T>(parse: () => T): T {
    this.#depth += 1;
    if (this.#depth > nestingMax) {
      throw this.error(`nests deeper than ${nestingMax} levels`, this.peek());
    }
    const result = parse();
    this.#depth -= 1;
    return result;
  }

  /** The error for a token that is not what belongs here. */
  expected(what: string, candidates: readonly string[] = []): Error {
    const token = this.peek();
    const seen = token.kind === "end" ? token.text : `\`${token.text}\``;
    const hint = token.kind === "word" ? didYouMean(token.text, candidates) : "";
    return this.error(`expects ${what}, not ${seen}${hint}`, token);
  }

  error(message: string, position: Position): Error {
    return problemAt(this.file, { line: position.line, column: position.column }, message);
  }
}
