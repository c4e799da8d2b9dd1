import type { FilterTarget } from "./filter-path.ts";
import type { ValueType } from "./value-types.ts";

/** How a filter compares. */
export type Operator =
  | "equals"
  | "not_equals"
  | "greater_than"
  | "less_than"
  | "greater_equal"
  | "less_equal"
  | "contains"
  | "in"
  | "exists"
  | "not_exists"
  /** Only in filter texts: text that begins so, text that holds, and the `:` of AIP-160. */
  | "prefix"
  | "substring"
  | "has";

/** How the caller's syntax spells an operator, for messages; undefined if it has none such. */
export type OperatorNames = Readonly<Record<Operator, string | undefined>>;

const presence: readonly Operator[] = ["exists", "not_exists"];
const equality: readonly Operator[] = ["equals", "not_equals", "in", "has", ...presence];
const order: readonly Operator[] = ["greater_than", "less_than", "greater_equal", "less_equal"];
const text: readonly Operator[] = ["prefix", "substring"];

/** The operators that make sense for a target. */
export function operatorsFor(target: FilterTarget): readonly Operator[] {
  if (target.kind === "labels") return ["contains", "has"];
  if (target.kind === "label") return [...equality, ...order, ...text, "contains"];
  if (target.kind === "meta") {
    return target.name === "id"
      ? [...equality, ...order, ...text, "contains"]
      : [...equality, ...order];
  }
  if (target.shape === "map") return [...presence, "contains", "has"];
  const single = operatorsForType(target.type);
  const isElement = target.shape === "list" && target.type.kind !== "message";
  return isElement && target.type.kind !== "object" ? [...single, "contains"] : single;
}

function operatorsForType({ kind }: ValueType): readonly Operator[] {
  switch (kind) {
    case "message":
      return presence;
    case "object":
      return [...presence, "contains", "has"];
    case "bool":
      return equality;
    case "string":
    case "json":
      return [...equality, ...order, ...text, "contains"];
    default:
      return [...equality, ...order];
  }
}
