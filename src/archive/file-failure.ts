import { CollectorError, type ErrorReason } from "../errors.ts";

/** A failure as it crosses from a thread. Without a reason it is a bug. */
export interface PackedFailure {
  readonly reason: ErrorReason | undefined;
  readonly message: string;
  readonly violations: CollectorError["violations"];
  readonly retryAfterMs?: number | undefined;
}

const noSpace = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/**
 * Makes a failure of the file system one that callers know; others stay as they are.
 *
 * @param what could not be done, as a sentence
 */
export function translateFileError(
  error: unknown,
  what = "an archive could not be read or written",
): unknown {
  if (!(error instanceof Error) || error instanceof CollectorError) return error;
  const code = errnoCode(error);
  if (code === undefined) return error;
  if (noSpace.has(code)) {
    return new CollectorError("DISK_FULL", "there is no room on the disk for the archive", {
      cause: error,
    });
  }
  return new CollectorError("STORAGE_UNAVAILABLE", `${what}: ${code}`, { cause: error });
}

/** As in `ENOENT`; undefined if it is no failure of the operating system. */
export function errnoCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error) || !("syscall" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

export function packFailure(error: unknown): PackedFailure {
  const known = translateFileError(error);
  if (known instanceof CollectorError) {
    const { reason, message, violations, retryAfterMs } = known;
    return { reason, message, violations, retryAfterMs };
  }
  const message = known instanceof Error ? (known.stack ?? known.message) : String(known);
  return { reason: undefined, message, violations: [] };
}

export function unpackFailure(failure: PackedFailure): Error {
  const { reason, message, violations, retryAfterMs } = failure;
  if (reason === undefined) return new Error(`a thread for archives failed: ${message}`);
  return new CollectorError(reason, message, {
    violations,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}
