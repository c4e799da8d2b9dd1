import { createInterface } from "node:readline/promises";
import { CliError, usageError } from "./failure.ts";

export interface Asking {
  /** `--yes`: whatever is asked, yes. */
  readonly yes: boolean;
  /** False with `--no-input`: whoever runs this does not answer. */
  readonly input: boolean;
}

/** Where to ask, and until when. */
export interface Terminal {
  readonly stdin: NodeJS.ReadStream;
  readonly stderr: NodeJS.WriteStream;
  readonly signal: AbortSignal;
}

/**
 * Asks on a terminal; elsewhere nobody can answer, so the caller has to have said yes.
 *
 * @throws {CliError} USAGE if nobody can be asked, CANCELLED if the answer is no
 */
export async function confirmOrRefuse(
  question: string,
  { yes, input }: Asking,
  { stdin, stderr, signal }: Terminal,
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
