import type { DescMessage, JsonObject } from "@bufbuild/protobuf";
import { fromJson } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { invalidField } from "../../errors.ts";
import type { Filter } from "../../gen/collector/collection_server_pb.ts";
import { FilterOperator } from "../../gen/collector/collection_server_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import { didYouMean } from "../../lib/suggest.ts";
import { quote } from "../../registry/names.ts";
import type { Condition } from "../../storage/record-query.ts";
import { compileComparison } from "./comparison.ts";
import { allOf } from "./conditions.ts";
import { resolveTarget } from "./filter-path.ts";
import { listOf, type Operand, operandOf } from "./operand.ts";
import type { Operator, OperatorNames } from "./operators.ts";
import type { Refuse } from "./refuse.ts";

export type FilterLimits = Pick<Limits, "filterCharsMax" | "filterTermsMax" | "filterDepthMax">;

const operators: ReadonlyMap<number, Operator> = new Map([
  [FilterOperator.OP_EQUALS, "equals"],
  [FilterOperator.OP_NOT_EQUALS, "not_equals"],
  [FilterOperator.OP_GREATER_THAN, "greater_than"],
  [FilterOperator.OP_LESS_THAN, "less_than"],
  [FilterOperator.OP_GREATER_EQUAL, "greater_equal"],
  [FilterOperator.OP_LESS_EQUAL, "less_equal"],
  [FilterOperator.OP_CONTAINS, "contains"],
  [FilterOperator.OP_IN, "in"],
  [FilterOperator.OP_EXISTS, "exists"],
  [FilterOperator.OP_NOT_EXISTS, "not_exists"],
]);

const names: OperatorNames = {
  equals: "OP_EQUALS",
  not_equals: "OP_NOT_EQUALS",
  greater_than: "OP_GREATER_THAN",
  less_than: "OP_LESS_THAN",
  greater_equal: "OP_GREATER_EQUAL",
  less_equal: "OP_LESS_EQUAL",
  contains: "OP_CONTAINS",
  in: "OP_IN",
  exists: "OP_EXISTS",
  not_exists: "OP_NOT_EXISTS",
  prefix: undefined,
  substring: undefined,
  has: undefined,
};
const operatorNames = Object.values(names).filter((name) => name !== undefined);

/**
 * Reads a filter that maps each path to a value it equals, or to `{operator, value}`; all must hold.
 *
 * @param argument the request's field, as in `filter`.
 * @throws {CollectorError} FIELD_UNKNOWN, QUERY_INVALID naming the path in the filter.
 */
export function parseStructFilter(
  filter: JsonObject,
  desc: DescMessage,
  argument: string,
  limits: FilterLimits,
): Condition {
  const budget = new TermBudget(argument, limits);
  const conditions = Object.entries(filter).map(([path, json]) => {
    const place = `${argument}.${shownPath(path)}`;
    const refuse: Refuse = (reason, description) => invalidField(reason, place, description);
    if (typeof json !== "object" || json === null || Array.isArray(json)) {
      return compileFilter(
        { path, operator: "equals", value: fromJson(ValueSchema, json), argument: place },
        desc,
        budget,
      );
    }
    const odd = Object.keys(json).find((key) => key !== "operator" && key !== "value");
    if (odd !== undefined || Object.keys(json).length === 0) {
      throw refuse(
        "QUERY_INVALID",
        `${odd === undefined ? "is an empty object" : `has ${quote(odd)}`}; send a value, or {"operator": "OP_…", "value": …}`,
      );
    }
    const operator = operatorOf(json["operator"], (reason, description) =>
      invalidField(reason, `${place}.operator`, description),
    );
    const value = Object.hasOwn(json, "value")
      ? fromJson(ValueSchema, json["value"] ?? null)
      : undefined;
    return compileFilter({ path, operator, value, argument: place }, desc, budget);
  });
  return allOf(conditions);
}

/**
 * Reads conditions by path; all must hold.
 *
 * @throws {CollectorError} FIELD_UNKNOWN, QUERY_INVALID naming the key of the map.
 */
export function parseFilterMap(
  filters: Readonly<Record<string, Filter>>,
  desc: DescMessage,
  argument: string,
  limits: FilterLimits,
): Condition {
  const budget = new TermBudget(argument, limits);
  const conditions = Object.entries(filters).map(([path, { operator, value }]) => {
    const place = `${argument}[${quote(path)}]`;
    const known = operatorOf(operator, (reason, description) =>
      invalidField(reason, `${place}.operator`, description),
    );
    return compileFilter({ path, operator: known, value, argument: place }, desc, budget);
  });
  return allOf(conditions);
}

interface PathFilter {
  readonly path: string;
  readonly operator: Operator;
  readonly value: Value | undefined;
  readonly argument: string;
}

function compileFilter(
  { path, operator, value, argument }: PathFilter,
  desc: DescMessage,
  budget: TermBudget,
): Condition {
  const refuse: Refuse = (reason, description) => invalidField(reason, argument, description);
  const refuseValue: Refuse = (reason, description) =>
    invalidField(reason, `${argument}.value`, description);
  const target = resolveTarget(desc, path, refuse);
  const isUnary = operator === "exists" || operator === "not_exists";
  const operands = isUnary ? [] : readOperands(operator, value, refuseValue);
  budget.spend(Math.max(1, operands.length), operands);
  return compileComparison({ target, operator, operands }, names, refuse);
}

function readOperands(operator: Operator, value: Value | undefined, refuse: Refuse): Operand[] {
  if (operator === "in") {
    const list = listOf(value);
    if (list === undefined) throw refuse("QUERY_INVALID", "is no list; OP_IN needs one");
    return list.map((item) => readOperand(item, refuse));
  }
  if (value?.kind.case === "listValue") {
    throw refuse("QUERY_INVALID", "is a list; only OP_IN compares with one");
  }
  return [readOperand(value, refuse)];
}

function readOperand(value: Value | undefined, refuse: Refuse): Operand {
  const operand = operandOf(value);
  if (operand !== undefined) return operand;
  const seen = value?.kind.case === undefined ? "is missing" : "is a list or an object";
  throw refuse("QUERY_INVALID", `${seen}; send a number, a string, a bool or null`);
}

/** An operator by number, or by name with or without `OP_`, in any letter case. */
function operatorOf(given: unknown, refuse: Refuse): Operator {
  if (given === undefined) return "equals";
  const name = typeof given === "string" ? given.toUpperCase().replace(/^(?:OP_)?/, "OP_") : "";
  const number = typeof given === "number" ? given : numberOf(name);
  const known = typeof number === "number" ? operators.get(number) : undefined;
  if (known !== undefined) return known;
  throw refuse(
    "QUERY_INVALID",
    `there is no operator ${quote(typeof given === "string" ? given : JSON.stringify(given))}` +
      (didYouMean(name, operatorNames) || `; there are ${operatorNames.join(", ")}`),
  );
}

function numberOf(name: string): unknown {
  return Object.hasOwn(FilterOperator, name) ? Reflect.get(FilterOperator, name) : undefined;
}

/** A path for the name of an argument, not longer than makes sense there. */
function shownPath(path: string): string {
  return path.length <= 120 ? path : `${path.slice(0, 119)}…`;
}

/** Counts what a filter asks for against its limits. */
class TermBudget {
  readonly #argument: string;
  readonly #limits: FilterLimits;
  #terms = 0;

  constructor(argument: string, limits: FilterLimits) {
    this.#argument = argument;
    this.#limits = limits;
  }

  spend(terms: number, operands: readonly Operand[]): void {
    const { filterTermsMax, filterCharsMax } = this.#limits;
    this.#terms += terms;
    if (this.#terms > filterTermsMax) {
      throw invalidField(
        "QUERY_INVALID",
        this.#argument,
        `has over ${filterTermsMax} values to compare with, which is the limit`,
      );
    }
    for (const operand of operands) {
      if (operand.kind === "text" && operand.text.length > filterCharsMax) {
        throw invalidField(
          "QUERY_INVALID",
          this.#argument,
          `has a value of ${operand.text.length} characters, the limit is ${filterCharsMax}`,
        );
      }
    }
  }
}
