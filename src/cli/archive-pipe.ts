import type { CliEnvironment } from "./context.ts";
import { CliError, codeOf, usageError } from "./failure.ts";

/** Stands for stdin or stdout in the place of a file. */
export const pipeName = "-";

/**
 * What writes an archive to stdout, piece by piece, as fast as that is read.
 *
 * @throws {CliError} USAGE for a terminal; of the function, OUTPUT_CLOSED
 */
export function archiveOut({
  stdout,
  needWholeOutput,
}: CliEnvironment): (bytes: Uint8Array) => Promise<void> {
  if (stdout.isTTY) {
    throw usageError("an archive is nothing for a terminal", "send it on with `|`, or to a file");
  }
  needWholeOutput();
  return (bytes) =>
    new Promise((resolve, reject) => {
      stdout.write(bytes, (error) => {
        if (error === null || error === undefined) resolve();
        else reject(codeOf(error) === "EPIPE" ? closed(error) : error);
      });
    });
}

/** An archive that is read from stdin, once. Disposing it lets the process end. */
export interface ArchiveIn extends Disposable {
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** @throws {CliError} USAGE for a terminal */
export function archiveIn({ stdin }: CliEnvironment): ArchiveIn {
  if (stdin.isTTY) {
    throw usageError("there is no archive on stdin: it is a terminal", "send one with `|` or `<`");
  }
  return {
    chunks: stdin,
    [Symbol.dispose]: () => {
      stdin.destroy();
    },
  };
}

function closed(cause: unknown): CliError {
  const message = "the archive is not all written: whoever reads it has gone";
  return new CliError("OUTPUT_CLOSED", message, { cause });
}
