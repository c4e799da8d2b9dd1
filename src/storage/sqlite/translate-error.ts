import { CollectorError } from "../../errors.ts";

/** How soon a refused write may be tried again, in ms: free space is looked at this often. */
export const diskRetryMs = 1000;

const resultCode = {
  busy: 5,
  locked: 6,
  noMemory: 7,
  readOnly: 8,
  interrupt: 9,
  inputOutput: 10,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  notADatabase: 26,
} as const;

const diskFullCodes = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);
const handleCodes = new Set(["EMFILE", "ENFILE"]);

/**
 * What a failure of SQLite or of the operating system means to a caller. The original is kept as
 * the cause, for the log; nothing of it is in the message.
 */
export function translateError(error: unknown): CollectorError {
  if (error instanceof CollectorError) return error;
  const code = sqliteCode(error);
  if (code !== undefined) return translateResult(code & 0xff, error);
  const systemCode = systemErrorCode(error);
  if (systemCode !== undefined) return translateSystemError(systemCode, error);
  return new CollectorError("INTERNAL", "the storage engine failed", { cause: error });
}

/** True if the disk or the file failed, and not the one statement: nothing more is to be tried. */
export function isFatal(error: unknown): boolean {
  const code = sqliteCode(error);
  // A write that is refused for what it asks is no fault of the file.
  if (code === undefined) {
    return error instanceof CollectorError && error.reason === "STORAGE_CORRUPT";
  }
  const primary = code & 0xff;
  return (
    primary === resultCode.noMemory ||
    primary === resultCode.readOnly ||
    primary === resultCode.inputOutput ||
    primary === resultCode.corrupt ||
    primary === resultCode.full ||
    primary === resultCode.cannotOpen ||
    primary === resultCode.notADatabase
  );
}

/** True if the disk failed to read, write or sync. */
export function isInputOutputError(error: unknown): boolean {
  const code = sqliteCode(error);
  return code !== undefined && (code & 0xff) === resultCode.inputOutput;
}

/** True if there is no room left, in the file system or by quota. */
export function isDiskFull(error: unknown): boolean {
  const code = sqliteCode(error);
  return code !== undefined && (code & 0xff) === resultCode.full;
}

/** True if a connection could not be opened: a missing file, or no file handles left. */
export function isCannotOpen(error: unknown): boolean {
  const code = sqliteCode(error);
  return code !== undefined && (code & 0xff) === resultCode.cannotOpen;
}

/** True if another connection holds a lock just now. */
export function isBusy(error: unknown): boolean {
  const code = sqliteCode(error);
  return code !== undefined && (code & 0xff) === resultCode.busy;
}

export function diskFull(cause?: unknown): CollectorError {
  return new CollectorError(
    "DISK_FULL",
    "the disk is full: nothing was written; free space or delete records, then try again",
    { retryAfterMs: diskRetryMs, cause },
  );
}

function translateResult(primary: number, cause: unknown): CollectorError {
  switch (primary) {
    case resultCode.full:
      return diskFull(cause);
    case resultCode.corrupt:
    case resultCode.notADatabase:
      return new CollectorError("STORAGE_CORRUPT", "the data of this collection is damaged", {
        cause,
      });
    case resultCode.inputOutput:
      return unavailable("the disk failed", cause);
    case resultCode.cannotOpen:
      return unavailable("the data of this collection cannot be opened now", cause);
    case resultCode.readOnly:
      return unavailable("the data folder is read-only", cause);
    case resultCode.busy:
    case resultCode.locked:
      return unavailable("the data of this collection is locked", cause);
    case resultCode.noMemory:
      return unavailable("there is no memory left", cause);
    case resultCode.interrupt:
      return new CollectorError("CANCELLED", "the query was cancelled", { cause });
    default:
      return new CollectorError("INTERNAL", "the storage engine failed", { cause });
  }
}

function translateSystemError(code: string, cause: unknown): CollectorError {
  if (diskFullCodes.has(code)) return diskFull(cause);
  if (handleCodes.has(code)) return unavailable("there are no file handles left", cause);
  return unavailable("the data folder cannot be used now", cause);
}

function unavailable(message: string, cause: unknown): CollectorError {
  return new CollectorError("STORAGE_UNAVAILABLE", `${message}; try again`, {
    retryAfterMs: diskRetryMs,
    cause,
  });
}

function sqliteCode(error: unknown): number | undefined {
  return error instanceof Error && "errcode" in error && typeof error.errcode === "number"
    ? error.errcode
    : undefined;
}

function systemErrorCode(error: unknown): string | undefined {
  return error instanceof Error && "syscall" in error && "code" in error
    ? String(error.code)
    : undefined;
}
