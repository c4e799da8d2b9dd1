import type { Condition, FieldValue } from "../../storage/record-query.ts";
import { uint64Operand } from "../derive/forms.ts";
import { anyOf } from "./conditions.ts";
import { type FilterTarget, ownSource, valueSource } from "./filter-path.ts";
import type { ValueType } from "./value-types.ts";

/**
 * That a field is set: it is there if it has presence; otherwise it is not its type's zero, as the wire
 * would not hold that. A repeated field or a map is set if it is not empty.
 */
export function isSet(target: Exclude<FilterTarget, { kind: "labels" }>): Condition {
  if (target.kind === "meta") return { kind: "always" };
  if (target.kind === "label") return { kind: "exists", source: valueSource(target) };
  if (target.shape !== "single" || target.hasPresence) {
    return { kind: "exists", source: ownSource(target) };
  }
  const source = valueSource(target);
  const compare = (operator: "eq" | "lt" | "gt", value: FieldValue): Condition => ({
    kind: "compare",
    source,
    operator,
    value,
  });
  const { type } = target;
  if (type.kind === "bool") return compare("eq", true);
  const zero = zeroOf(type);
  const isLeast = typeof zero === "string" || (type.kind === "integer" && type.min === 0n);
  // Not "unequal", which would hold as well where the message around the field is not set.
  return isLeast ? compare("gt", zero) : anyOf([compare("lt", zero), compare("gt", zero)]);
}

function zeroOf(type: ValueType): bigint | number | string {
  if (type.kind === "string" || type.kind === "bytes") return "";
  if (type.kind === "number") return 0;
  return type.kind === "integer" && type.isUint64 ? uint64Operand(0n) : 0n;
}
