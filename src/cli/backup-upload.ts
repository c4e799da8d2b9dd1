import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Client } from "../client/client.ts";
import { ClientError } from "../client/client-error.ts";
import type { BackupMetadata } from "../gen/collector/collection_repo_pb.ts";
import { fromArchiveFile } from "./archive-file.ts";
import { printBackups } from "./backup-table.ts";
import type { CliEnvironment } from "./context.ts";
import type { DefineCommands } from "./define-commands.ts";
import { CliError } from "./failure.ts";
import { unreadable } from "./file-failure.ts";
import { longWork } from "./long-work.ts";
import { count, type Output } from "./output.ts";

/** Ends the names of archives that are sent with their folder. */
const archiveSuffix = ".collector";

/** What is wrong with one archive, rather than with the server. */
const refusals: ReadonlySet<string> = new Set([
  "ARCHIVE_INVALID",
  "ARCHIVE_DAMAGED",
  "ARCHIVE_TOO_NEW",
  "BACKUP_EXISTS",
  "BASE_UNUSABLE",
  "KEY_UNAVAILABLE",
]);

/** `collector backup upload` */
export const defineBackupUpload: DefineCommands = (command, context, environment) => {
  command
    .command("upload <path...>")
    .description(
      `have the server keep archives of backups that are here, or all *${archiveSuffix} of a folder`,
    )
    .addHelpText(
      "after",
      `
Examples:
  collector backup upload backup.collector
  collector backup server download <set> --folder saved
  collector --url http://new.example:50051 backup upload saved`,
    )
    .action(async (given: readonly string[], _options, self) => {
      const { output, connect } = context(self);
      const paths = (await Promise.all(given.map(archivesAt))).flat();
      await using client = await connect();
      const { kept, refused } = await keepAll(paths, { client, output, environment });
      const [first] = refused;
      if (first !== undefined && paths.length === 1) throw first.error;
      if (output.format === "table") await printBackups(output, client, kept);
      else output.json({ backups: await Promise.all(kept.map((backup) => client.toJson(backup))) });
      for (const { path, error } of refused) output.note(`not kept: ${path}: ${error.message}`);
      if (first === undefined) return;
      const message = `${refused.length} of ${count(paths.length, "archive")} could not be kept`;
      throw new CliError("UPLOAD_INCOMPLETE", message);
    });
};

interface Refused {
  readonly path: string;
  readonly error: ClientError | CliError;
}

/** Sends one after the other; what is based on one that comes later is sent again after that. */
async function keepAll(
  paths: readonly string[],
  to: {
    readonly client: Client;
    readonly output: Output;
    readonly environment: CliEnvironment;
  },
): Promise<{ readonly kept: readonly BackupMetadata[]; readonly refused: readonly Refused[] }> {
  const { client, output, environment } = to;
  const kept: BackupMetadata[] = [];
  const refused: Refused[] = [];
  for (let left = paths; left.length > 0; ) {
    const baseless: Refused[] = [];
    for (const path of left) {
      try {
        const backup = await longWork(`sending ${path}`, environment, (long) =>
          fromArchiveFile({ path, output, environment }, (input) =>
            client.backups.keepArchive(input, long),
          ),
        );
        kept.push(backup);
      } catch (error) {
        if (!isOfArchive(error)) throw error;
        const isBaseless = error instanceof ClientError && error.reason === "BASE_UNUSABLE";
        (isBaseless ? baseless : refused).push({ path, error });
      }
    }
    if (baseless.length === left.length) refused.push(...baseless);
    left = baseless.length === left.length ? [] : baseless.map(({ path }) => path);
  }
  return { kept, refused };
}

function isOfArchive(error: unknown): error is Refused["error"] {
  if (error instanceof ClientError) return refusals.has(error.reason);
  return error instanceof CliError && error.code === "FILE_UNREADABLE";
}

/** The file, or the archives of the folder, by their names, which servers begin with the time. */
async function archivesAt(path: string): Promise<readonly string[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [path];
    const found = await readdir(path, { recursive: true, withFileTypes: true });
    const archives = found.filter((entry) => entry.isFile() && entry.name.endsWith(archiveSuffix));
    if (archives.length > 0) {
      return archives.map(({ parentPath, name }) => join(parentPath, name)).toSorted();
    }
  } catch (error) {
    throw unreadable(path, error);
  }
  throw new CliError("FILE_UNREADABLE", `there is no *${archiveSuffix} in ${path}`);
}
