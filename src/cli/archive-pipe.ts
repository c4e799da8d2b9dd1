import type { CliEnvironment } from "./context.ts";
import { usageError } from "./failure.ts";
import { notWritten } from "./stdout.ts";

/** Stands for stdin or stdout in the place of a file. */
export const pipeName = "-";

/**
 * What writes an archive to stdout, piece by piece, as fast as that is read.
 *
 * @throws {CliError} USAGE for a terminal; of the function, OUTPUT_CLOSED, FILE_UNWRITABLE
 */
export function archiveOut(environment: CliEnvironment): (bytes: Uint8Array) => Promise<void> {
  if (environment.stdout.isTTY === true) {
    throw usageError("an archive is nothing for a terminal", "send it on with `|`, or to a file");
  }
  return contentOut(environment);
}

/**
 * What writes content to stdout that is worth nothing in part, piece by piece, as fast as that is read.
 *
 * @throws {CliError} of the function, OUTPUT_CLOSED, FILE_UNWRITABLE
 */
export function contentOut({
  stdout,
  signal,
  needWholeOutput,
}: CliEnvironment): (bytes: Uint8Array) => Promise<void> {
  needWholeOutput();
  return async (bytes) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // A reader may take its time.
    const giveUp = (): void => reject(signal.reason);
    if (signal.aborted) giveUp();
    signal.addEventListener("abort", giveUp, { once: true });
    stdout.write(bytes, (error) => {
      if (error === null || error === undefined) resolve();
      else reject(notWritten(error));
    });
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
  };
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
