import { quote } from "../../registry/names.ts";
import type { Condition, FieldValue, ValueSource } from "../../storage/record-query.ts";
import { bytesFormMax } from "../derive/forms.ts";
import { anyOf, negate } from "./conditions.ts";
import {
  canonicalKey,
  type FieldTarget,
  type FilterTarget,
  ownSource,
  targetPath,
  valueSource,
} from "./filter-path.ts";
import { metaComparison } from "./meta-comparison.ts";
import { type Operand, operandForm } from "./operand.ts";
import { type Operator, type OperatorNames, operatorsFor } from "./operators.ts";
import { isSet } from "./presence.ts";
import type { Refuse } from "./refuse.ts";
import { typeLabel, type ValueType } from "./value-types.ts";

const orderOf = {
  greater_than: "gt",
  less_than: "lt",
  greater_equal: "ge",
  less_equal: "le",
} as const;

/** What one comparison of a filter asks for. */
export interface Comparison {
  readonly target: FilterTarget;
  readonly operator: Operator;
  /** One; for `in` any number; for `exists` and `not_exists` none. */
  readonly operands: readonly Operand[];
}

/**
 * The condition of one comparison. Negations are plain opposites, so they hold where there is no value.
 *
 * @throws what `refuse` makes, if the operator does not fit the field or the value its type.
 */
export function compileComparison(
  { target, operator, operands }: Comparison,
  names: OperatorNames,
  refuse: Refuse,
): Condition {
  // That a field equals null says that it is not set, whatever its type.
  const [operand] = operands;
  if (operand?.kind === "null" && target.kind !== "labels") {
    if (operator === "equals" || operator === "has") return negate(isSet(target));
    if (operator === "not_equals") return isSet(target);
    if (operator !== "in") {
      throw refuse("QUERY_INVALID", `null has no place in ${names[operator] ?? operator}`);
    }
  }
  const fitting = operatorsFor(target);
  if (!fitting.includes(operator)) {
    const valid = new Set(fitting.map((fits) => names[fits]).filter((name) => name !== undefined));
    throw refuse(
      "QUERY_INVALID",
      `${names[operator] ?? operator} does not fit ${quote(targetPath(target))}, ` +
        `${targetLabel(target)}; use ${[...valid].join(", ")}${hint(target)}`,
    );
  }
  if ((operator === "exists" || operator === "not_exists") && target.kind !== "labels") {
    const set = isSet(target);
    return operator === "exists" ? set : negate(set);
  }
  if (operator === "in") return isOneOf(target, operands, refuse);
  if (operator === "not_equals") {
    return negate(compare(target, "equals", operand, refuse));
  }
  return compare(target, operator, operand, refuse);
}

function compare(
  target: FilterTarget,
  operator: Operator,
  operand: Operand | undefined,
  refuse: Refuse,
): Condition {
  if (operand === undefined || operand.kind === "null") {
    throw refuse("QUERY_INVALID", "there is no value to compare with");
  }
  if (target.kind === "labels") {
    return { kind: "exists", source: { kind: "label", key: keyOf(target, operand, refuse) } };
  }
  if (target.kind === "meta" && target.name !== "id") {
    return metaComparison(target.name, operator, operand, refuse);
  }
  if (target.kind === "field" && (operator === "contains" || operator === "has")) {
    const inside = containsInside(target, operator, operand, refuse);
    if (inside !== undefined) return inside;
  }
  const type: ValueType = target.kind === "field" ? target.type : { kind: "string" };
  if (type.kind === "message" || type.kind === "object") {
    throw refuse("QUERY_INVALID", `${typeLabel(type)} has no one value to compare`);
  }
  const source = valueSource(target);
  const value = operandForm(type, operand, refuse);
  if (operator === "prefix" || operator === "substring" || operator === "contains") {
    if (typeof value !== "string")
      throw refuse("QUERY_INVALID", "only text has parts; send a string");
    return { kind: operator === "prefix" ? "prefix" : "substring", source, text: value };
  }
  // Nothing equals NaN, and nothing is before or after it.
  if (value === undefined) return { kind: "never" };
  const isOrder = operator in orderOf;
  if (isOrder) checkOrder(type, value, refuse);
  return {
    kind: "compare",
    source,
    operator: isOrder ? orderOf[operator as keyof typeof orderOf] : "eq",
    value,
  };
}

/** `contains` and `has` of what holds several things; undefined if the target is no such. */
function containsInside(
  target: FieldTarget,
  operator: "contains" | "has",
  operand: Exclude<Operand, { kind: "null" }>,
  refuse: Refuse,
): Condition | undefined {
  const { shape, type } = target;
  if (shape === "map" || (shape === "single" && type.kind === "object")) {
    return hasKey(target, keyOf(target, operand, refuse));
  }
  if (shape === "list" || type.kind !== "json") {
    return shape === "list" || operator === "has"
      ? compare(target, "equals", operand, refuse)
      : undefined;
  }
  // JSON can be a string, a list or an object.
  const conditions = [compare(target, "equals", operand, refuse)];
  if (operand.kind === "text") {
    if (operator === "contains") {
      const source = ownSource(target);
      conditions.push({ kind: "substring", source, text: operand.text });
    }
    conditions.push(hasKey(target, operand.text));
  }
  return anyOf(conditions);
}

function hasKey(target: FieldTarget, key: string): Condition {
  const steps = [...target.steps, { kind: "member", name: key } as const];
  return { kind: "exists", source: { kind: "field", steps, index: undefined } };
}

function keyOf(
  target: FilterTarget,
  operand: Exclude<Operand, { kind: "null" }>,
  refuse: Refuse,
): string {
  const written = operand.kind === "text" ? operand.text : String(operand.value);
  const type = target.kind === "field" ? target.keyType : undefined;
  const key = type === undefined ? written : canonicalKey(written, type);
  if (key === undefined || (type === undefined && operand.kind !== "text")) {
    throw refuse("QUERY_INVALID", `${quote(written)} is no key of ${quote(targetPath(target))}`);
  }
  return key;
}

function isOneOf(target: FilterTarget, operands: readonly Operand[], refuse: Refuse): Condition {
  if (target.kind === "labels") throw refuse("QUERY_INVALID", "name a key, as in @labels.team");
  const conditions: Condition[] = [];
  const values: FieldValue[] = [];
  let source: ValueSource | undefined;
  for (const operand of operands) {
    const condition =
      operand.kind === "null" ? negate(isSet(target)) : compare(target, "equals", operand, refuse);
    if (condition.kind === "compare") {
      source = condition.source;
      if (!values.includes(condition.value)) values.push(condition.value);
    } else conditions.push(condition);
  }
  if (source !== undefined) {
    const [first = 0, ...others] = values;
    conditions.push(
      others.length === 0
        ? { kind: "compare", source, operator: "eq", value: first }
        : { kind: "in", source, values },
    );
  }
  return anyOf(conditions);
}

function checkOrder(type: ValueType, value: FieldValue, refuse: Refuse): void {
  if (typeof value === "boolean") throw refuse("QUERY_INVALID", "true and false have no order");
  if (type.kind === "bytes" && typeof value === "string" && value.length > 2 * bytesFormMax) {
    throw refuse(
      "QUERY_INVALID",
      `bytes are ordered by their first ${bytesFormMax}; send no more to compare with`,
    );
  }
}

function targetLabel(target: FilterTarget): string {
  if (target.kind === "labels") return "the labels";
  if (target.kind === "label") return "a label";
  if (target.kind === "meta") {
    if (target.name === "id") return "a string";
    return target.name === "version" ? "an integer" : "a timestamp";
  }
  if (target.shape === "map") return "a map";
  return target.shape === "list"
    ? `repeated, each item ${typeLabel(target.type)}`
    : typeLabel(target.type);
}

function hint(target: FilterTarget): string {
  if (target.kind === "labels") return ", or name a key, as in @labels.team";
  if (target.kind !== "field") return "";
  if (target.shape === "map" || target.type.kind === "object") return ", or name a key in it";
  return target.type.kind === "message" ? ", or name a field in it" : "";
}
