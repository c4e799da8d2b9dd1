import { createInterface } from "node:readline/promises";
import type { CliEnvironment } from "./context.ts";
import { CliError, usageError } from "./failure.ts";

/**
 * Asks on a terminal; elsewhere nobody can answer, so the caller has to have said yes.
 *
 * @throws {CliError} USAGE without a terminal, CANCELLED if the answer is no
 */
export async function confirmOrRefuse(
  question: string,
  confirmed: boolean,
  { stdin, stderr, signal }: CliEnvironment,
): Promise<void> {
  if (confirmed) return;
  if (!stdin.isTTY || !stderr.isTTY)
    throw usageError(`will not ${question.replace("?", "")} unasked`, "say --yes");
  const terminal = createInterface({ input: stdin, output: stderr });
  try {
    const answer = await terminal.question(`${question} [y/N] `, { signal });
    if (!/^y(es)?$/i.test(answer.trim())) throw new CliError("CANCELLED", "nothing was changed");
  } finally {
    terminal.close();
  }
}
