import { ScalarType } from "@bufbuild/protobuf";
import { quote } from "../../registry/names.ts";
import type { Condition, FieldValue, ValueSource } from "../../storage/record-query.ts";
import { type Operand, operandForm } from "./operand.ts";
import type { Operator } from "./operators.ts";
import type { Refuse } from "./refuse.ts";
import { momentNanos, parseMoment } from "./times.ts";
import { scalarType, type ValueType } from "./value-types.ts";

const versionType = scalarType(ScalarType.INT64) as Extract<ValueType, { kind: "integer" }>;

/** Compares a record's version or one of its times, which are kept in whole microseconds. */
export function metaComparison(
  name: "version" | "created" | "updated",
  operator: Operator,
  operand: Exclude<Operand, { kind: "null" }>,
  refuse: Refuse,
): Condition {
  const source: ValueSource = { kind: "meta", name };
  if (name === "version") {
    const value = operandForm(versionType, operand, refuse);
    return value === undefined ? { kind: "never" } : compareInteger(source, operator, value);
  }
  const moment = operand.kind === "text" ? parseMoment(operand.text) : undefined;
  if (moment === undefined) {
    const seen = operand.kind === "text" ? quote(operand.text) : `the ${operand.kind}`;
    throw refuse(
      "QUERY_INVALID",
      `${seen} is no value of a timestamp; send RFC 3339, as in 2026-01-31T12:00:00.5Z`,
    );
  }
  const nanos = momentNanos(moment);
  const floor = (nanos - (((nanos % 1000n) + 1000n) % 1000n)) / 1000n;
  const isWhole = floor * 1000n === nanos;
  switch (operator) {
    case "less_than":
      return { kind: "compare", source, operator: isWhole ? "lt" : "le", value: floor };
    case "greater_equal":
      return { kind: "compare", source, operator: isWhole ? "ge" : "gt", value: floor };
    default:
      if (isWhole || operator === "greater_than" || operator === "less_equal") {
        return compareInteger(source, operator, floor);
      }
      return { kind: "never" };
  }
}

const orders = {
  greater_than: "gt",
  less_than: "lt",
  greater_equal: "ge",
  less_equal: "le",
} as const;

function compareInteger(source: ValueSource, operator: Operator, value: FieldValue): Condition {
  const order = operator in orders ? orders[operator as keyof typeof orders] : "eq";
  return { kind: "compare", source, operator: order, value };
}
