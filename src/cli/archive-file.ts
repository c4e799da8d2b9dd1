import type { ArchiveSource } from "../client/archive-transfer.ts";
import type { Client } from "../client/client.ts";
import { contents } from "./backup-table.ts";
import type { CliEnvironment } from "./context.ts";
import { CliError, codeOf } from "./failure.ts";
import { longWork } from "./long-work.ts";
import { count, type Output } from "./output.ts";

export interface ArchiveFileOptions {
  readonly client: Client;
  readonly source: ArchiveSource;
  /** What the bar says it is of. */
  readonly label: string;
  readonly path: string;
  readonly output: Output;
  readonly environment: CliEnvironment;
}

/**
 * Streams an archive into a file here and tells of it.
 *
 * @throws {CliError} FILE_UNWRITABLE; then nothing is left at the path but what was there
 */
export async function toArchiveFile(options: ArchiveFileOptions): Promise<void> {
  const { client, source, label, path, output, environment } = options;
  const archive = await longWork(`fetching ${label}`, environment, async (long) => {
    try {
      return await client.backups.download(source, path, long);
    } catch (error) {
      throw isFileError(error) ? unwritable(path, error) : error;
    }
  });
  const { metadata, sha256, resumed } = archive;
  const { recordCount, fileCount, totalSize: sizeBytes, collection } = metadata;
  if (resumed > 0) output.note(`the connection broke ${count(resumed, "time")}`);
  const name = `${collection?.namespace ?? ""}/${collection?.name ?? ""}`;
  const of = collection === undefined ? "" : `${name}, `;
  output.result(`wrote ${path}: ${of}${contents({ recordCount, fileCount, sizeBytes })}`, {
    path,
    collection: collection === undefined ? "" : name,
    recordCount: String(recordCount),
    fileCount: String(fileCount),
    sizeBytes: String(sizeBytes),
    sha256,
    resumed,
  });
}

function isFileError(error: unknown): boolean {
  return codeOf(error) !== undefined && error instanceof Error && "syscall" in error;
}

function unwritable(path: string, error: unknown): CliError {
  const code = codeOf(error);
  const why =
    code === "ENOENT"
      ? "there is no such folder"
      : code === "EISDIR"
        ? "it is a folder"
        : (code ?? "");
  return new CliError("FILE_UNWRITABLE", `cannot write ${path}: ${why}`, { cause: error });
}
