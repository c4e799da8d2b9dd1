import { createReadStream, createWriteStream } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CliError, codeOf, unreadable } from "./failure.ts";

/** Content that is to be sent. */
export interface LocalContent {
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Undefined if it is only known at the end. */
  readonly sizeBytes: number | undefined;
}

const readBytes = 256 * 1024;

/** Opens a file, or stdin for `-`. @throws {CliError} FILE_UNREADABLE */
export async function readLocal(path: string, stdin: NodeJS.ReadStream): Promise<LocalContent> {
  if (path === "-") return { chunks: stdin, sizeBytes: undefined };
  try {
    const found = await stat(path);
    if (found.isDirectory()) throw Object.assign(new Error(), { code: "EISDIR" });
    const chunks = createReadStream(path, { highWaterMark: readBytes });
    return { chunks, sizeBytes: found.isFile() ? found.size : undefined };
  } catch (error) {
    throw unreadable(path, error);
  }
}

/**
 * Writes content to a file, or to stdout for `-`. A file appears under its name when it is complete.
 *
 * @throws {CliError} FILE_UNWRITABLE; what `chunks` throws
 */
export async function writeLocal(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  stdout: NodeJS.WriteStream,
): Promise<void> {
  if (path === "-") {
    await pipeline(Readable.from(chunks), stdout, { end: false });
    return;
  }
  const partial = `${path}.${process.pid}.part`;
  try {
    await pipeline(Readable.from(chunks), createWriteStream(partial, { flags: "wx" }));
    await rename(partial, path);
  } catch (error) {
    const isOwn = codeOf(error) !== "EEXIST";
    if (isOwn) await rm(partial, { force: true });
    throw isFileError(error) ? unwritable(path, error) : error;
  }
}

function isFileError(error: unknown): boolean {
  return error instanceof Error && "syscall" in error && "path" in error;
}

function unwritable(path: string, error: unknown): CliError {
  const code = codeOf(error);
  const why = code === "ENOENT" ? "there is no such folder" : (code ?? "");
  return new CliError("FILE_UNWRITABLE", `cannot write ${path}: ${why}`, { cause: error });
}
