import type { JsonValue } from "@bufbuild/protobuf";
import type { Output } from "./output.ts";

/** The option of a command that destroys something: says what it would, and leaves it. */
export const dryRunOption = ["--dry-run", "say what would go, and change nothing"] as const;

export interface DryRun {
  readonly dryRun?: boolean;
}

/** Says what a command would have done, as in `would delete default/products with 3 records`. */
export function tellDryRun(output: Output, what: string, json: Record<string, JsonValue>): void {
  output.result(`would ${what}; nothing was changed, as this is a dry run`, {
    ...json,
    dryRun: true,
  });
}
