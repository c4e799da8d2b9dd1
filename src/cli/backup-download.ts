import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Client } from "../client/client.ts";
import { ClientError } from "../client/client-error.ts";
import type { BackupMetadata } from "../gen/collector/collection_repo_pb.ts";
import { toArchiveFile } from "./archive-file.ts";
import type { CliEnvironment } from "./context.ts";
import type { DefineCommands } from "./define-commands.ts";
import { exitCodes } from "./exit-codes.ts";
import { CliError, usageError } from "./failure.ts";
import { writable } from "./file-failure.ts";
import { longWork } from "./long-work.ts";
import { count, formatBytes } from "./output.ts";

interface DownloadOptions {
  readonly file?: string;
  readonly folder?: string;
}

/** `collector backup download` */
export const defineBackupDownload: DefineCommands = (command, context, environment) => {
  command
    .command("download <id>")
    .description("write a backup of the server to a file or folder here")
    .option("-f, --file <file>", "where to, or - for stdout")
    .option("--folder <folder>", "write it there, and those that it is based on")
    .addHelpText(
      "after",
      `
Examples:
  collector backup download 0198c0de-7a2b-7f00-8000-000000000001 -f products.collector
  collector backup download 0198c0de-7a2b-7f00-8000-000000000001 --folder saved
  collector --url http://new.example:50051 backup upload saved`,
    )
    .action(async (backupId: string, options: DownloadOptions, self) => {
      const { output, connect, signal } = context(self);
      const { file: path, folder } = options;
      if (path !== undefined && folder !== undefined) {
        throw usageError("--file and --folder exclude each other");
      }
      await using client = await connect();
      if (folder !== undefined) {
        const found = [await client.backups.get(backupId, { signal })];
        const backups = await withBases(client, found, signal);
        const { files, summary } = await toFolder(folder, backups, { client, environment, signal });
        output.result(`backup ${backupId}: ${summary}`, { backupId, files });
        return;
      }
      if (path === undefined) throw usageError("download takes -f FILE or --folder FOLDER");
      const source = { backupId };
      await alone(toArchiveFile({ client, source, label: backupId, path, output, environment }));
    });
};

/** `collector backup server download` */
export const defineSetDownload: DefineCommands = (command, context, environment) => {
  command
    .command("download <set>")
    .description(
      "write the archives of a set to a folder here, and those that they are based on; `backup upload` brings them back",
    )
    .requiredOption("--folder <folder>", "where to; it is made if need be")
    .action(async (setId: string, { folder }: { readonly folder: string }, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      const found = await Array.fromAsync(client.backups.list({ setId, signal }));
      if (found.length === 0) {
        throw new CliError("BACKUP_NOT_FOUND", `there is no backup of set ${setId}`, {
          exitCode: exitCodes.notFound,
          hint: "`collector backup list -o json` shows the sets",
        });
      }
      const backups = await withBases(client, found, signal);
      const { files, summary } = await toFolder(folder, backups, { client, environment, signal });
      output.result(`set ${setId}: ${summary}`, { setId, files });
    });
};

/** As it is told. */
type SavedArchive = Readonly<Record<"backupId" | "path" | "sizeBytes" | "sha256", string>>;

/** Writes each as `<id>.collector`; what an earlier run has written stays. */
async function toFolder(
  folder: string,
  backups: readonly BackupMetadata[],
  from: {
    readonly client: Client;
    readonly environment: CliEnvironment;
    readonly signal: AbortSignal;
  },
): Promise<{ readonly files: SavedArchive[]; readonly summary: string }> {
  const { client, environment, signal } = from;
  await writable(folder, mkdir(folder, { recursive: true }));
  const files: SavedArchive[] = [];
  let bytes = 0n;
  for (const [index, backup] of backups.entries()) {
    const { backupId, sizeBytes } = backup;
    const path = join(folder, `${backupId}.collector`);
    const label = `fetching ${index + 1} of ${count(backups.length, "archive")}`;
    const source = { backupId, incremental: true };
    let sha256 = await digestIfThere(path, backup, signal);
    if (sha256 === undefined) {
      const archive = await longWork(label, environment, (long) =>
        writable(path, client.backups.download(source, path, long)),
      );
      sha256 = archive.sha256;
    }
    files.push({ backupId, path, sizeBytes: String(sizeBytes), sha256 });
    bytes += sizeBytes;
  }
  const summary = `${count(files.length, "archive")} in ${folder}, ${formatBytes(bytes)}`;
  return { files, summary };
}

/** One file holds no chain. */
async function alone(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof ClientError) || error.reason !== "BASE_UNUSABLE") throw error;
    const hint = "--folder takes it with those that it is based on";
    const exitCode = exitCodes.conflict;
    throw new CliError(error.reason, error.message, { cause: error, exitCode, hint });
  }
}

/** These and what they are based on, which comes first. */
async function withBases(
  client: Client,
  backups: readonly BackupMetadata[],
  signal: AbortSignal,
): Promise<readonly BackupMetadata[]> {
  const found = [...backups];
  const known = new Set(found.map(({ backupId }) => backupId));
  // It grows meanwhile.
  for (const { baseBackupId } of found) {
    if (baseBackupId === "" || known.has(baseBackupId)) continue;
    known.add(baseBackupId);
    found.push(await client.backups.get(baseBackupId, { signal }));
  }
  return found.toSorted((one, other) => (one.backupId < other.backupId ? -1 : 1));
}

/** The SHA-256 of what an earlier run has written; undefined if it is not there, or is something else. */
async function digestIfThere(
  path: string,
  { sizeBytes, sha256 }: BackupMetadata,
  signal: AbortSignal,
): Promise<string | undefined> {
  const size = await stat(path, { bigint: true }).then(
    (stats) => stats.size,
    () => undefined,
  );
  if (size !== sizeBytes || sha256 === "") return undefined;
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash, { signal });
  return hash.digest("hex") === sha256 ? sha256 : undefined;
}
