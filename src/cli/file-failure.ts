import { exitCodes } from "./exit-codes.ts";
import { CliError, codeOf } from "./failure.ts";

/** Waits for work that reads a file here. @throws {CliError} FILE_UNREADABLE */
export async function readable<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw isFileError(error) ? unreadable(path, error) : error;
  }
}

/** Waits for work that writes a file here. @throws {CliError} FILE_UNWRITABLE */
export async function writable<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw isFileError(error) ? unwritable(path, error) : error;
  }
}

/** The file or folder that a command was told to read is not there or cannot be read. */
export function unreadable(path: string, error: unknown): CliError {
  const code = codeOf(error) ?? "";
  return new CliError("FILE_UNREADABLE", `cannot read ${path}: ${unreadWhy[code] ?? code}`, {
    cause: error,
    exitCode: code === "ENOENT" ? exitCodes.notFound : exitCodes.failed,
  });
}

/** The file that a command was told to write cannot be written. */
export function unwritable(path: string, error: unknown): CliError {
  const code = codeOf(error) ?? "";
  const why = unwrittenWhy[code] ?? code;
  return new CliError("FILE_UNWRITABLE", `cannot write ${path}: ${why}`, { cause: error });
}

function isFileError(error: unknown): boolean {
  return codeOf(error) !== undefined && error instanceof Error && "syscall" in error;
}

const unreadWhy: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EISDIR: "it is a folder",
};

const unwrittenWhy: Readonly<Record<string, string>> = {
  EACCES: "that is not allowed",
  EDQUOT: "there is no room left",
  EEXIST: "there is a file of that name",
  EFBIG: "it would be larger than files may be here",
  EISDIR: "it is a folder",
  ENOENT: "there is no such folder",
  ENOSPC: "there is no room left",
  ENOTDIR: "there is a file of that name",
  EPIPE: "whoever reads it has gone",
};
