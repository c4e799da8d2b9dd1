import type { Limits } from "../../lib/limits.ts";
import { didYouMean } from "../../lib/suggest.ts";
import { quote } from "../../registry/names.ts";
import type { TextMatch } from "../../storage/record-query.ts";
import { characterAt, countCharacters, SyntaxProblem } from "./syntax-problem.ts";

type ParserLimits = Pick<Limits, "fullTextTermsMax" | "fullTextPrefixesMax" | "filterDepthMax">;

/** Fewest characters before a `*`: fewer would begin too many words. */
const prefixCharsMin = 3;

const spacePattern = /[\s\0]*/y;
const wordPattern = /[^\s\0()":*]+/y;
const operatorPattern = /(?:AND|OR|NOT)(?=[\s\0()"]|$)/y;

/** A part of an `and`: what must be there, or what must not. */
interface Part {
  readonly match: TextMatch;
  readonly isNegated: boolean;
  readonly at: number;
}

/**
 * Parses a search text with `AND`, `OR`, `NOT`, parentheses, phrases, prefixes and fields. `AND` binds
 * tighter than `OR`, and stands between any two terms that have nothing else between them.
 *
 * @param checkTerm throws for a term that cannot be searched for.
 * @throws {SyntaxProblem} with the offset of the mistake.
 */
export function parseAdvancedText(
  text: string,
  fields: readonly string[],
  limits: ParserLimits,
  checkTerm: (term: string, at: number) => void,
): TextMatch {
  return new TextParser(text, fields, limits, checkTerm).parse();
}

class TextParser {
  readonly #text: string;
  readonly #fields: readonly string[];
  readonly #limits: ParserLimits;
  readonly #checkTerm: (term: string, at: number) => void;
  #at = 0;
  #terms = 0;
  #prefixes = 0;

  constructor(
    text: string,
    fields: readonly string[],
    limits: ParserLimits,
    checkTerm: (term: string, at: number) => void,
  ) {
    this.#text = text;
    this.#fields = fields;
    this.#limits = limits;
    this.#checkTerm = checkTerm;
  }

  parse(): TextMatch {
    this.#skipSpace();
    const { match, isNegated, at } = this.#anyOf(0);
    if (this.#at < this.#text.length) throw this.#unexpected("AND, OR, NOT, a word or the end");
    if (isNegated) throw onlyNegated(at);
    return match;
  }

  #anyOf(depth: number): Part {
    const parts: Part[] = [];
    do parts.push(this.#allOf(depth));
    while (this.#takeOperator("OR"));
    const [first, second] = parts;
    if (first !== undefined && second === undefined) return first;
    const negated = parts.find(({ isNegated }) => isNegated);
    if (negated !== undefined) throw onlyNegated(negated.at);
    const matches = parts.map(({ match }) => match);
    return { match: { kind: "or", matches }, isNegated: false, at: first?.at ?? 0 };
  }

  #allOf(depth: number): Part {
    const parts: Part[] = [this.#part(depth)];
    for (;;) {
      if (this.#takeOperator("AND")) {
        parts.push(this.#part(depth));
        continue;
      }
      const isOver = this.#at >= this.#text.length || this.#peek() === ")";
      if (isOver || this.#isOperator("OR")) break;
      parts.push(this.#part(depth));
    }
    const [first, second] = parts;
    if (first !== undefined && second === undefined) return first;
    const wanted = parts.filter(({ isNegated }) => !isNegated).map(({ match }) => match);
    const unwanted = parts.filter(({ isNegated }) => isNegated).map(({ match }) => match);
    const at = first?.at ?? 0;
    if (wanted.length === 0) throw onlyNegated(at);
    const match = group("and", wanted);
    return {
      match:
        unwanted.length === 0 ? match : { kind: "butNot", match, without: group("or", unwanted) },
      isNegated: false,
      at,
    };
  }

  #part(depth: number): Part {
    const at = this.#at;
    const isNegated = this.#takeOperator("NOT");
    const match = this.#peek() === "(" ? this.#parenthesized(depth + 1) : this.#term();
    this.#skipSpace();
    return { match, isNegated, at };
  }

  #parenthesized(depth: number): TextMatch {
    const start = this.#at;
    const { filterDepthMax } = this.#limits;
    if (depth > filterDepthMax) {
      throw new SyntaxProblem(start, `parentheses are nested deeper than ${filterDepthMax}`);
    }
    this.#at += 1;
    this.#skipSpace();
    const { match, isNegated, at } = this.#anyOf(depth);
    if (isNegated) throw onlyNegated(at);
    if (this.#peek() !== ")") {
      throw this.#unexpected(`a ")" for the "(" at character ${characterAt(this.#text, start)}`);
    }
    this.#at += 1;
    return match;
  }

  #term(): TextMatch {
    if (["AND", "OR", "NOT"].some((operator) => this.#isOperator(operator))) {
      throw this.#unexpected("a word");
    }
    const start = this.#at;
    const field = this.#field();
    const termAt = this.#at;
    if (this.#peek() === '"') {
      const text = this.#phrase();
      this.#spend(text.split(/[\s\0]+/u).filter((word) => word !== "").length, start);
      return { kind: "term", text, prefix: this.#takePrefix(text, termAt), field };
    }
    const text = this.#match(wordPattern);
    if (text === undefined)
      throw this.#unexpected(field === undefined ? "a word" : "a word after the :");
    this.#spend(1, start);
    const prefix = this.#takePrefix(text, termAt);
    return { kind: "term", text, prefix, field };
  }

  /** Takes `field:`; the name of a field may hold dots. */
  #field(): string | undefined {
    const start = this.#at;
    const name = this.#match(wordPattern);
    if (name === undefined || this.#peek() !== ":") {
      this.#at = start;
      return undefined;
    }
    const fields = this.#fields.filter((field) => field !== "");
    if (!fields.includes(name)) {
      const valid =
        fields.length === 0
          ? "the text of this collection is one field without a name"
          : `there are ${fields.join(", ")}`;
      throw new SyntaxProblem(
        start,
        `${quote(name)} is no text field${didYouMean(name, fields) || `; ${valid}`}; a word with a : in it has to stand in quotes`,
      );
    }
    this.#at += 1;
    return name;
  }

  #phrase(): string {
    const start = this.#at;
    const end = this.#text.indexOf('"', start + 1);
    if (end < 0) throw new SyntaxProblem(start, 'the " has no end');
    const text = this.#text.slice(start + 1, end).replaceAll("\0", " ");
    if (text.trim() === "") throw new SyntaxProblem(start, "there is no word between the quotes");
    this.#checkTerm(text.trim(), start);
    this.#at = end + 1;
    return text;
  }

  #takePrefix(text: string, at: number): boolean {
    if (this.#peek() !== "*") {
      this.#checkTerm(text.trim(), at);
      return false;
    }
    const star = this.#at;
    this.#at += 1;
    const last =
      text
        .trimEnd()
        .split(/[\s\0]+/u)
        .at(-1) ?? "";
    if (countCharacters(last) < prefixCharsMin) {
      throw new SyntaxProblem(
        star,
        `${quote(`${last}*`)} begins too many words; put ${prefixCharsMin} or more characters before the *`,
      );
    }
    this.#prefixes += 1;
    const { fullTextPrefixesMax } = this.#limits;
    if (this.#prefixes > fullTextPrefixesMax) {
      throw new SyntaxProblem(star, `over ${fullTextPrefixesMax} words end in *, the limit`);
    }
    return true;
  }

  #spend(words: number, at: number): void {
    this.#terms += words;
    const { fullTextTermsMax } = this.#limits;
    if (this.#terms > fullTextTermsMax) {
      throw new SyntaxProblem(at, `there are over ${fullTextTermsMax} words, which is the limit`);
    }
  }

  #peek(): string {
    return this.#text.charAt(this.#at);
  }

  #isOperator(operator: string): boolean {
    operatorPattern.lastIndex = this.#at;
    return operatorPattern.exec(this.#text)?.[0] === operator;
  }

  #takeOperator(operator: "AND" | "OR" | "NOT"): boolean {
    if (!this.#isOperator(operator)) return false;
    this.#at += operator.length;
    this.#skipSpace();
    return true;
  }

  #skipSpace(): void {
    this.#match(spacePattern);
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #unexpected(wanted: string): SyntaxProblem {
    if (this.#at >= this.#text.length) {
      return new SyntaxProblem(this.#at, `the text ends; ${wanted} is missing`);
    }
    const found = /^(?:[^\s\0()":*]+|[\s\S])/u.exec(this.#text.slice(this.#at))?.[0] ?? "";
    return new SyntaxProblem(this.#at, `found ${quote(found)} where ${wanted} should be`);
  }
}

function group(kind: "and" | "or", matches: readonly TextMatch[]): TextMatch {
  const [first, second] = matches;
  return first !== undefined && second === undefined ? first : { kind, matches };
}

function onlyNegated(at: number): SyntaxProblem {
  return new SyntaxProblem(
    at,
    "NOT needs something beside it that must be there, as in apple NOT pie",
  );
}
