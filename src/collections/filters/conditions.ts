import type { Condition } from "../../storage/record-query.ts";

const always: Condition = { kind: "always" };
const never: Condition = { kind: "never" };

/** All of them hold; of none, always. */
export function allOf(conditions: readonly Condition[]): Condition {
  const parts = conditions
    .flatMap((condition) => (condition.kind === "and" ? condition.conditions : [condition]))
    .filter(({ kind }) => kind !== "always");
  if (parts.some(({ kind }) => kind === "never")) return never;
  const [first = always, ...others] = parts;
  return others.length === 0 ? first : { kind: "and", conditions: parts };
}

/** One of them holds; of none, never. */
export function anyOf(conditions: readonly Condition[]): Condition {
  const parts = conditions
    .flatMap((condition) => (condition.kind === "or" ? condition.conditions : [condition]))
    .filter(({ kind }) => kind !== "never");
  if (parts.some(({ kind }) => kind === "always")) return always;
  const [first = never, ...others] = parts;
  return others.length === 0 ? first : { kind: "or", conditions: parts };
}

export function negate(condition: Condition): Condition {
  switch (condition.kind) {
    case "always":
      return never;
    case "never":
      return always;
    case "not":
      return condition.condition;
    default:
      return { kind: "not", condition };
  }
}
