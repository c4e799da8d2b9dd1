import type { Condition } from "../../storage/record-query.ts";
import { allOf } from "./conditions.ts";

/** That a record has these labels with these values. */
export function labelConditions(labels: Readonly<Record<string, string>>): Condition {
  return allOf(
    Object.entries(labels).map(([key, value]) => ({
      kind: "compare",
      source: { kind: "label", key },
      operator: "eq",
      value,
    })),
  );
}
