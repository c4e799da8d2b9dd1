import { didYouMean } from "../../lib/suggest.ts";
import { quote } from "../../registry/names.ts";
import type { Operand } from "./operand.ts";
import type { Operator } from "./operators.ts";
import { WhereReader } from "./where-reader.ts";

/** A filter text as it is written, before its names and values mean anything. */
export type WhereNode =
  | { readonly kind: "and" | "or"; readonly nodes: readonly WhereNode[] }
  | { readonly kind: "not"; readonly node: WhereNode }
  | WhereTerm;

export interface WhereTerm {
  readonly kind: "term";
  readonly path: readonly string[];
  /** Offset of the path in the text. */
  readonly pathAt: number;
  readonly operator: Operator;
  readonly operands: readonly Operand[];
  /** Offset of the operand, or of the operator if there is none. */
  readonly operandAt: number;
}

export interface WhereLimits {
  readonly filterTermsMax: number;
  readonly filterDepthMax: number;
}

const comparators: readonly (readonly [string, Operator])[] = [
  ["<=", "less_equal"],
  [">=", "greater_equal"],
  ["!=", "not_equals"],
  ["=", "equals"],
  ["<", "less_than"],
  [">", "greater_than"],
  [":", "has"],
];

const functions: ReadonlyMap<string, Operator> = new Map([
  ["prefix", "prefix"],
  ["substring", "substring"],
  ["in", "in"],
  ["exists", "exists"],
]);

/**
 * Parses a filter text by the grammar of AIP-160: `AND` of sequences of `OR`s, so `OR` binds tighter.
 * A sequence, which has nothing between its parts, is an `AND`.
 *
 * @returns undefined for a text without a condition.
 * @throws {SyntaxProblem} with the offset of the mistake.
 */
export function parseWhereText(text: string, limits: WhereLimits): WhereNode | undefined {
  const reader = new WhereReader(text);
  reader.skipSpace();
  if (reader.isAtEnd) return undefined;
  const parser = new WhereParser(reader, limits);
  const node = parser.expression(0);
  if (!reader.isAtEnd) throw reader.unexpected("AND, OR, another condition or the end");
  return node;
}

class WhereParser {
  readonly #reader: WhereReader;
  readonly #limits: WhereLimits;
  #terms = 0;

  constructor(reader: WhereReader, limits: WhereLimits) {
    this.#reader = reader;
    this.#limits = limits;
  }

  expression(depth: number): WhereNode {
    const reader = this.#reader;
    const nodes: WhereNode[] = [];
    do {
      do nodes.push(this.#factor(depth));
      while (!reader.isAtEnd && reader.peek() !== ")" && !reader.isKeyword());
    } while (reader.takeKeyword("AND"));
    return group("and", nodes);
  }

  #factor(depth: number): WhereNode {
    const nodes: WhereNode[] = [];
    do nodes.push(this.#term(depth));
    while (this.#reader.takeKeyword("OR"));
    return group("or", nodes);
  }

  #term(depth: number): WhereNode {
    const reader = this.#reader;
    const isNegated = reader.takeKeyword("NOT") || reader.take("-");
    const node = reader.peek() === "(" ? this.#composite(depth + 1) : this.#restriction();
    return isNegated ? { kind: "not", node } : node;
  }

  #composite(depth: number): WhereNode {
    const reader = this.#reader;
    const start = reader.at;
    const { filterDepthMax } = this.#limits;
    if (depth > filterDepthMax) {
      throw reader.problem(start, `parentheses are nested deeper than ${filterDepthMax}`);
    }
    reader.take("(");
    const node = this.expression(depth);
    if (!reader.take(")")) {
      throw reader.unexpected(`a ")" for the "(" at character ${reader.characterOf(start)}`);
    }
    return node;
  }

  #restriction(): WhereTerm {
    const reader = this.#reader;
    if (reader.isAtEnd || reader.isKeyword()) {
      throw reader.unexpected('a condition, as in name = "x"');
    }
    const pathAt = reader.at;
    const path = reader.path();
    if (reader.isCall()) return this.#call(path, pathAt);
    reader.skipSpace();
    const operatorAt = reader.at;
    for (const [token, operator] of comparators) {
      if (reader.take(token)) return this.#comparison(path, pathAt, operator, token);
    }
    const written = reader.slice(pathAt, operatorAt).trim();
    throw reader.problem(
      pathAt,
      `${quote(written)} is no condition by itself; compare a field with it, as in field = "x"` +
        ` (= != < <= > >= :), or search for words with full_text`,
    );
  }

  #comparison(
    path: readonly string[],
    pathAt: number,
    operator: Operator,
    token: string,
  ): WhereTerm {
    const reader = this.#reader;
    this.#spend(1, pathAt);
    reader.skipSpace();
    const operandAt = reader.at;
    if (reader.peek() === "(") {
      throw reader.problem(operandAt, `a list of values is no value; write in(field, "a", "b")`);
    }
    const operand = reader.operand(`a value after ${token}`);
    reader.skipSpace();
    if (operator === "has" && operand.kind === "text" && operand.text === "*") {
      if (!operand.isQuoted) {
        return { kind: "term", path, pathAt, operator: "exists", operands: [], operandAt };
      }
    }
    return { kind: "term", path, pathAt, operator, operands: [operand], operandAt };
  }

  #call(name: readonly string[], nameAt: number): WhereTerm {
    const reader = this.#reader;
    const written = name.join(".");
    const operator = functions.get(written);
    if (operator === undefined) {
      const names = [...functions.keys()];
      throw reader.problem(
        nameAt,
        `there is no function ${quote(written)}${didYouMean(written, names) || `; there are ${names.join(", ")}`}`,
      );
    }
    reader.take("(");
    const pathAt = reader.at;
    if (reader.isAtEnd || reader.peek() === ")") throw reader.unexpected("a field");
    const path = reader.path();
    reader.skipSpace();
    const operandAt = reader.at;
    const operands: Operand[] = [];
    const operandsMax = operator === "exists" ? 0 : operator === "in" ? undefined : 1;
    while (operands.length !== operandsMax && reader.take(",")) {
      this.#spend(1, nameAt);
      operands.push(reader.operand("a value"));
      reader.skipSpace();
    }
    if (operandsMax === undefined ? operands.length === 0 : operands.length < operandsMax) {
      throw reader.unexpected(`"," and a value`);
    }
    if (!reader.take(")")) {
      throw reader.unexpected(operandsMax === undefined ? '"," or ")"' : '")"');
    }
    if (operandsMax === 0) this.#spend(1, nameAt);
    if (comparators.some(([token]) => reader.startsWith(token))) {
      throw reader.problem(
        reader.at,
        `${written}(…) is a condition by itself; compare nothing with it`,
      );
    }
    return { kind: "term", path, pathAt, operator, operands, operandAt };
  }

  #spend(terms: number, at: number): void {
    this.#terms += terms;
    const { filterTermsMax } = this.#limits;
    if (this.#terms > filterTermsMax) {
      throw this.#reader.problem(at, `there are over ${filterTermsMax} values to compare with`);
    }
  }
}

function group(kind: "and" | "or", nodes: readonly WhereNode[]): WhereNode {
  const [first, second] = nodes;
  return first !== undefined && second === undefined ? first : { kind, nodes };
}
