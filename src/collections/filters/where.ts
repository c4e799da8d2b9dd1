import type { DescMessage } from "@bufbuild/protobuf";
import { invalidField } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Condition } from "../../storage/record-query.ts";
import { compileComparison } from "./comparison.ts";
import { allOf, anyOf, negate } from "./conditions.ts";
import { resolveNames } from "./filter-path.ts";
import type { OperatorNames } from "./operators.ts";
import type { Refuse } from "./refuse.ts";
import { characterAt, SyntaxProblem } from "./syntax-problem.ts";
import { parseWhereText, type WhereNode, type WhereTerm } from "./where-parser.ts";

const names: OperatorNames = {
  equals: "=",
  not_equals: "!=",
  greater_than: ">",
  less_than: "<",
  greater_equal: ">=",
  less_equal: "<=",
  contains: undefined,
  in: "in()",
  exists: "exists()",
  not_exists: "NOT exists()",
  prefix: "prefix()",
  substring: "substring()",
  has: ":",
};

/**
 * Reads a condition in the filter language of AIP-160; docs/search.md describes it. An empty text
 * always holds.
 *
 * @throws {CollectorError} QUERY_INVALID, FIELD_UNKNOWN naming the character where the mistake is.
 */
export function parseWhere(
  text: string,
  desc: DescMessage,
  limits: Pick<Limits, "filterCharsMax" | "filterTermsMax" | "filterDepthMax">,
  argument = "where",
): Condition {
  if (text.length > limits.filterCharsMax) {
    throw invalidField(
      "QUERY_INVALID",
      argument,
      `has ${text.length} characters, the limit is ${limits.filterCharsMax}`,
    );
  }
  const refuseAt =
    (at: number): Refuse =>
    (reason, description) =>
      invalidField(reason, argument, `at character ${characterAt(text, at)}: ${description}`);
  let node: WhereNode | undefined;
  try {
    node = parseWhereText(text, limits);
  } catch (error) {
    if (!(error instanceof SyntaxProblem)) throw error;
    throw refuseAt(error.at)("QUERY_INVALID", error.message);
  }
  return node === undefined ? { kind: "always" } : compileNode(node, desc, refuseAt);
}

function compileNode(
  node: WhereNode,
  desc: DescMessage,
  refuseAt: (at: number) => Refuse,
): Condition {
  switch (node.kind) {
    case "and":
      return allOf(node.nodes.map((part) => compileNode(part, desc, refuseAt)));
    case "or":
      return anyOf(node.nodes.map((part) => compileNode(part, desc, refuseAt)));
    case "not":
      return negate(compileNode(node.node, desc, refuseAt));
    case "term":
      return compileTerm(node, desc, refuseAt);
  }
}

function compileTerm(
  { path, pathAt, operator, operands, operandAt }: WhereTerm,
  desc: DescMessage,
  refuseAt: (at: number) => Refuse,
): Condition {
  const target = resolveNames(desc, path, refuseAt(pathAt));
  return compileComparison({ target, operator, operands }, names, refuseAt(operandAt));
}
