import { quote } from "../../registry/names.ts";
import type { Operand } from "./operand.ts";
import { characterAt, SyntaxProblem } from "./syntax-problem.ts";

const keywordPattern = /(AND|OR|NOT)(?=[\s(]|$)/y;
const spacePattern = /\s*/y;
/** A name in a path. A minus inside is part of it. */
const namePattern = /[^\s()"'`,=<>!:.]+/y;
/** A bare value: a word, a number, a time with its colons. */
const timePattern = /\d{4}-\d\d-\d\d[Tt][\d:.]+(?:[Zz]|[+-][\d:]+)?(?=[\s),]|$)/y;
const wordPattern = /[^\s()"'`,=<>!:]+/y;
const backtickPattern = /`((?:[^`]|``)+)`/y;

const escapes: Readonly<Record<string, string>> = {
  n: "\n",
  r: "\r",
  t: "\t",
  b: "\b",
  f: "\f",
  "/": "/",
  "\\": "\\",
  '"': '"',
  "'": "'",
};

/** A cursor over a filter text, and what its words look like. */
export class WhereReader {
  readonly #text: string;
  at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get isAtEnd(): boolean {
    return this.at >= this.#text.length;
  }

  peek(): string {
    return this.#text.charAt(this.at);
  }

  startsWith(token: string): boolean {
    return this.#text.startsWith(token, this.at);
  }

  slice(start: number, end: number): string {
    return this.#text.slice(start, end);
  }

  skipSpace(): void {
    this.#match(spacePattern);
  }

  /** Moves over a token and the space behind it, if it is there. */
  take(token: string): boolean {
    if (!this.startsWith(token)) return false;
    this.at += token.length;
    this.skipSpace();
    return true;
  }

  isKeyword(): boolean {
    keywordPattern.lastIndex = this.at;
    return keywordPattern.test(this.#text) && !this.startsWith("NOT");
  }

  takeKeyword(keyword: "AND" | "OR" | "NOT"): boolean {
    keywordPattern.lastIndex = this.at;
    if (keywordPattern.exec(this.#text)?.[1] !== keyword) return false;
    return this.take(keyword);
  }

  /** True at the parenthesis of a call: it stands right after the name. */
  isCall(): boolean {
    return this.peek() === "(";
  }

  /** A dotted path: names, with keys of maps also in quotes or backticks. */
  path(): string[] {
    const names: string[] = [];
    do names.push(this.#name());
    while (this.#skipDot());
    return names;
  }

  #skipDot(): boolean {
    if (this.peek() !== ".") return false;
    this.at += 1;
    return true;
  }

  #name(): string {
    const char = this.peek();
    if (char === '"' || char === "'") return this.#string(char);
    if (char === "`") {
      const quoted = this.#match(backtickPattern);
      if (quoted === undefined) throw this.problem(this.at, "the ` has no end");
      return quoted.slice(1, -1).replaceAll("``", "`");
    }
    const name = this.#match(namePattern);
    if (name === undefined) throw this.unexpected("the name of a field");
    return name;
  }

  /** @param wanted what should stand here, for the error. */
  operand(wanted: string): Operand {
    const char = this.peek();
    if (char === '"' || char === "'") {
      return { kind: "text", text: this.#string(char), isQuoted: true };
    }
    const text = this.isAtKeyword()
      ? undefined
      : (this.#match(timePattern) ?? this.#match(wordPattern));
    if (text === undefined) throw this.unexpected(wanted);
    return text === "null" ? { kind: "null" } : { kind: "text", text, isQuoted: false };
  }

  isAtKeyword(): boolean {
    keywordPattern.lastIndex = this.at;
    return keywordPattern.test(this.#text);
  }

  #string(quoteChar: string): string {
    const start = this.at;
    let result = "";
    let at = start + 1;
    for (;;) {
      const char = this.#text.charAt(at);
      if (char === "") throw this.problem(start, `the ${quoteChar} has no end`);
      if (char === quoteChar) break;
      if (char !== "\\") {
        result += char;
        at += 1;
        continue;
      }
      const escape = this.#text.charAt(at + 1);
      const hex = /^[0-9a-fA-F]{4}$/.exec(this.#text.slice(at + 2, at + 6))?.[0];
      if (escape === "u" && hex !== undefined) {
        result += String.fromCharCode(Number.parseInt(hex, 16));
        at += 6;
        continue;
      }
      const plain = escapes[escape];
      if (plain === undefined) {
        throw this.problem(
          at,
          `${quote(`\\${escape}`)} is no escape; there are \\" \\' \\\\ \\/ \\n \\r \\t \\b \\f \\uXXXX`,
        );
      }
      result += plain;
      at += 2;
    }
    this.at = at + 1;
    if (!result.isWellFormed()) throw this.problem(start, "the string has half a character in it");
    return result;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  characterOf(offset: number): number {
    return characterAt(this.#text, offset);
  }

  problem(at: number, message: string): SyntaxProblem {
    return new SyntaxProblem(at, message);
  }

  /** What stands at the position is not what should. */
  unexpected(wanted: string): SyntaxProblem {
    if (this.isAtEnd) return this.problem(this.at, `the text ends; ${wanted} is missing`);
    const found = /^(?:[^\s()"'`,=<>!:]+|[\s\S])/u.exec(this.#text.slice(this.at))?.[0] ?? "";
    return this.problem(this.at, `found ${quote(found)} where ${wanted} should be`);
  }
}
