import type {
  ArchiveSource,
  KeptArchive,
  UploadedArchive,
  VerifiedArchive,
} from "../client/archive-transfer.ts";
import type { Client } from "../client/client.ts";
import { archiveIn, archiveOut, pipeName } from "./archive-pipe.ts";
import { contents } from "./backup-table.ts";
import type { CliEnvironment } from "./context.ts";
import { readable, writable } from "./file-failure.ts";
import { longWork } from "./long-work.ts";
import { count, type Output } from "./output.ts";

export interface ArchiveFileOptions {
  readonly client: Client;
  readonly source: ArchiveSource;
  /** What the bar says it is of. */
  readonly label: string;
  /** `-` for stdout. */
  readonly path: string;
  readonly output: Output;
  readonly environment: CliEnvironment;
}

/**
 * Streams an archive into a file here, or to stdout, and tells of it: on stderr if stdout has the archive.
 *
 * @throws {CliError} FILE_UNWRITABLE; then nothing is left at the path but what was there. OUTPUT_CLOSED
 */
export async function toArchiveFile(options: ArchiveFileOptions): Promise<void> {
  const { client, source, label, path, output, environment } = options;
  const isPiped = path === pipeName;
  const to = isPiped ? archiveOut(environment) : path;
  const archive = await longWork(`fetching ${label}`, environment, (long) =>
    writable(path, client.backups.download(source, to, long)),
  );
  const { metadata, sha256, resumed } = archive;
  const { recordCount, fileCount, totalSize: sizeBytes, collection } = metadata;
  if (resumed > 0) output.note(`the connection broke ${count(resumed, "time")}`);
  const name = `${collection?.namespace ?? ""}/${collection?.name ?? ""}`;
  const of = collection === undefined ? "" : `${name}, `;
  const wrote = `${of}${contents({ recordCount, fileCount, sizeBytes })}`;
  if (isPiped) {
    output.note(`wrote ${wrote}, SHA-256 ${sha256}`);
    return;
  }
  output.result(`wrote ${path}: ${wrote}`, {
    path,
    collection: collection === undefined ? "" : name,
    recordCount: String(recordCount),
    fileCount: String(fileCount),
    sizeBytes: String(sizeBytes),
    sha256,
    resumed,
  });
}

/** What is done with an archive that is here. */
type ArchiveWork<T> = (input: string | AsyncIterable<Uint8Array>) => Promise<T>;

/**
 * Lends an archive that is here, in a file or on stdin, and says how often the connection broke.
 *
 * @param path `-` for stdin
 * @throws {CliError} FILE_UNREADABLE, USAGE
 */
export async function fromArchiveFile<T extends UploadedArchive | VerifiedArchive | KeptArchive>(
  { path, output, environment }: Pick<ArchiveFileOptions, "path" | "output" | "environment">,
  work: ArchiveWork<T>,
): Promise<T["response"]> {
  using piped = path === pipeName ? archiveIn(environment) : undefined;
  const { response, resumed } = await readable(path, work(piped?.chunks ?? path));
  if (resumed > 0) output.note(`the connection broke ${count(resumed, "time")}`);
  return response;
}
