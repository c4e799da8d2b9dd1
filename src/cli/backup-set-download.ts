import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Client } from "../client/client.ts";
import type { BackupMetadata } from "../gen/collector/collection_repo_pb.ts";
import { writable } from "./archive-file.ts";
import type { DefineCommands } from "./define-commands.ts";
import { exitCodes } from "./exit-codes.ts";
import { CliError } from "./failure.ts";
import { longWork } from "./long-work.ts";
import { count, formatBytes } from "./output.ts";

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
      const backups = await withBases(client, setId, signal);
      await writable(folder, mkdir(folder, { recursive: true }));
      const files: { backupId: string; path: string; sizeBytes: string; sha256: string }[] = [];
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
      output.result(
        `set ${setId}: ${count(files.length, "archive")} in ${folder}, ${formatBytes(bytes)}`,
        { setId, files },
      );
    });
};

/** Those that others are based on first. @throws {CliError} BACKUP_NOT_FOUND */
async function withBases(
  client: Client,
  setId: string,
  signal: AbortSignal,
): Promise<readonly BackupMetadata[]> {
  const found = await Array.fromAsync(client.backups.list({ setId, signal }));
  if (found.length === 0) {
    throw new CliError("BACKUP_NOT_FOUND", `there is no backup of set ${setId}`, {
      exitCode: exitCodes.notFound,
      hint: "`collector backup list -o json` shows the sets",
    });
  }
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
