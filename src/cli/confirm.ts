import { createInterface } from "node:readline/promises";
import type { JsonValue } from "@bufbuild/protobuf";
import type { CliEnvironment } from "./context.ts";
import { CliError, usageError } from "./failure.ts";
import type { Output } from "./output.ts";

export interface Asking {
  /** `--yes`: whatever is asked, yes. */
  readonly yes: boolean;
  /** False with `--no-input`: whoever runs this does not answer. */
  readonly input: boolean;
}

/**
 * Asks on a terminal; elsewhere nobody can answer, so the caller has to have said yes.
 *
 * @throws {CliError} USAGE if nobody can be asked, CANCELLED if the answer is no
 */
export async function confirmOrRefuse(
  question: string,
  { yes, input }: Asking,
  { stdin, stderr, signal }: CliEnvironment,
): Promise<void> {
  if (yes) return;
  if (!input || !stdin.isTTY || !stderr.isTTY)
    throw usageError(`will not ${question.replace("?", "")} unasked`, "say --yes");
  const terminal = createInterface({ input: stdin, output: stderr });
  try {
    const answer = await terminal.question(`${question} [y/N] `, { signal });
    if (!/^y(es)?$/i.test(answer.trim())) throw new CliError("CANCELLED", "nothing was changed");
  } finally {
    terminal.close();
  }
}

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
