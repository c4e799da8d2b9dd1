import { PassThrough } from "node:stream";
import { runCli } from "../../src/cli/cli.ts";
import type { CliResult } from "./run-cli.ts";

/**
 * Runs `collector` with these arguments in this process, which is quicker than one of its own. The folder
 * it works in is the test's, so paths have to be absolute.
 */
export async function runCliHere(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<CliResult> {
  const [stdout, stderr] = [new Sink(), new Sink()];
  const stdin = new PassThrough();
  stdin.end();
  const exitCode = await runCli({
    argv: args,
    env: { NO_COLOR: "1", ...env },
    stdin: stdin as unknown as NodeJS.ReadStream,
    stdout: stdout as unknown as NodeJS.WriteStream,
    stderr: stderr as unknown as NodeJS.WriteStream,
    signal: new AbortController().signal,
    needWholeOutput: () => undefined,
    outputWritten: () => Promise.resolve(),
  });
  return { exitCode, stdout: stdout.text, stderr: stderr.text };
}

/** Keeps what is written to it; no terminal. */
class Sink {
  readonly isTTY = false;
  text = "";

  write(chunk: string | Uint8Array): boolean {
    this.text += typeof chunk === "string" ? chunk : Buffer.from(chunk).toString("utf8");
    return true;
  }
}
