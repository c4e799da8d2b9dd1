import { statSync } from "node:fs";
import type { BackupMetadata } from "../../gen/collector/collection_repo_pb.ts";
import { fromArchiveFile, toArchiveFile } from "../archive-file.ts";
import { pipeName } from "../archive-pipe.ts";
import { defineBackupDownload } from "../backup-download.ts";
import { collect, compressionOf } from "../backup-options.ts";
import { defineBackupPolicy } from "../backup-policy.ts";
import { defineBackupServer } from "../backup-server.ts";
import { backupFacts, backupSummary, contents, printBackups } from "../backup-table.ts";
import { defineBackupUpload } from "../backup-upload.ts";
import { defineBackupVerify } from "../backup-verify.ts";
import type { DefineCommands } from "../define-commands.ts";
import { type DryRun, dryRunOption, tellDryRun } from "../dry-run.ts";
import { CliError, usageError } from "../failure.ts";
import { unreadable } from "../file-failure.ts";
import { parsePairs } from "../labels.ts";
import { isFileHere } from "../local-file.ts";
import { longWork } from "../long-work.ts";
import { count, formatBytes } from "../output.ts";
import { parseCount, parseMoment } from "../period.ts";
import { type RestoreTarget, rehearseRestore } from "../rehearse-restore.ts";

interface CreateOptions {
  readonly to?: string;
  readonly files: boolean;
  readonly meta?: readonly string[];
  readonly incremental?: boolean;
  readonly base?: string;
  readonly compression?: string;
  readonly file?: string;
}

interface ListOptions {
  readonly since?: string;
  readonly limit?: string;
  readonly set?: string;
}

interface RestoreOptions {
  readonly file?: string;
  readonly as?: string;
  readonly overwrite?: boolean;
  readonly dryRun?: boolean;
}

const limitDefault = "100";

/** `collector backup …` */
export const define: DefineCommands = (command, context, environment) => {
  command
    .command("create <collection>")
    .description(
      "back up a collection while it is in use: on the server, or with -f to a file here",
    )
    .option("-f, --file <file>", "write the archive to this file here, or - for stdout")
    .option("--to <path>", "where in the server's backup folder")
    .option("--no-files", "leave out attached files")
    .option("--meta <key=value>", "note to keep with it; may be repeated", collect)
    .option("--incremental", "only what changed since the newest backup, if that can be told")
    .option("--base <id>", "only what changed since this backup")
    .option("--compression <how>", "zstd or none")
    .addHelpText(
      "after",
      `
Note retention=30d has the server remove the backup after 30 days.

Examples:
  collector backup create products --meta reason=before-import --meta retention=30d
  collector backup create shop/products -f products.collector
  collector backup create shop/products -f - | ssh host 'cat > products.collector'`,
    )
    .action(async (collection: string, options: CreateOptions, self) => {
      const { output, connect } = context(self);
      const { to: destPath = "", base: baseBackupId = "", incremental = false } = options;
      const { file, files: includeFiles } = options;
      if (file !== undefined) {
        refuseWithFile(options);
        await using client = await connect();
        const source = { collection, includeFiles };
        await toArchiveFile({ client, source, label: collection, path: file, output, environment });
        return;
      }
      const metadata = parsePairs(options.meta ?? [], "--meta");
      const compression = compressionOf(options.compression);
      await using client = await connect();
      const backup = await longWork(`backing up ${collection}`, environment, (long) =>
        client.backups.create(collection, {
          ...long,
          destPath,
          includeFiles,
          metadata,
          baseBackupId,
          incremental,
          compression,
        }),
      );
      const sentence = `backup ${backup.backupId} of ${backupSummary(backup)}`;
      output.result(sentence, await client.toJson(backup));
      if (backup.fullReason !== "") output.note(`it holds everything: ${backup.fullReason}`);
    });

  command
    .command("list [collection]")
    .description("list backups, the newest first; --limit 0 lists all")
    .option("--since <moment>", "only from then on: a date, or how long ago, as in 7d")
    .option("--limit <number>", "most backups to list", limitDefault)
    .option("--set <id>", "only those of a backup of the whole server")
    .action(async (collection: string | undefined, options: ListOptions, self) => {
      const { output, connect, signal, namespace } = context(self);
      const { since, set: setId } = options;
      const limit = parseCount(options.limit ?? limitDefault, "--limit");
      await using client = await connect();
      const backups = await Array.fromAsync(
        client.backups.list({
          collection,
          namespace,
          setId,
          signal,
          since: since === undefined ? undefined : parseMoment(since, "--since"),
          limit: limit === 0 ? undefined : limit,
        }),
      );
      await printBackups(output, client, backups);
      if (backups.length === 0) output.note("no backups");
      if (backups.length === limit) output.note(`these are ${limit}; --limit 0 lists all`);
    });

  command
    .command("show <id>")
    .description("show what is known of a backup")
    .action(async (id: string, _options, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      const backup = await client.backups.get(id, { signal });
      output.facts(backupFacts(backup), await client.toJson(backup));
    });

  defineBackupVerify(command, context, environment);

  command
    .command("restore [id]")
    .description("make a collection from a backup, or with -f from an archive here")
    .option("-f, --file <file>", "archive here, as `backup create -f` wrote it, or - for stdin")
    .option("--as <name>", "what to call it, as in restored or staging/products")
    .option("--overwrite", "replace the collection of that name, once the backup is verified")
    .option("--dry-run", "say what would be made or replaced, and change nothing")
    .addHelpText(
      "after",
      `
Examples:
  collector backup restore 0198c0de-7a2b-7f00-8000-000000000001 --as products-restored
  collector backup restore -f products.collector --overwrite --yes
  ssh host 'cat products.collector' | collector backup restore -f - --as staging/products`,
    )
    .action(async (given: string | undefined, options: RestoreOptions, self) => {
      const { output, connect, confirm, signal, namespace = "" } = context(self);
      const { as, overwrite = false, dryRun = false } = options;
      if ((given === undefined) === (options.file === undefined)) {
        throw usageError("restore takes the id of a backup, or -f FILE");
      }
      const source = given ?? options.file ?? "";
      const file = given === undefined || isFileHere(given) ? source : undefined;
      if (dryRun) {
        await using client = await connect();
        const target =
          file === undefined
            ? fromBackup(await client.backups.get(source, { signal }), as)
            : fromFile(file, as);
        await rehearseRestore(client, { namespace, ...target, overwrite }, { output, signal });
        return;
      }
      if (overwrite) await confirm(`replace ${as ?? `the collection that ${source} is of`}?`);
      await using client = await connect();
      const label = `restoring ${source}`;
      if (file !== undefined) {
        const response = await longWork(label, environment, (long) =>
          fromArchiveFile({ path: file, output, environment }, (input) =>
            client.backups.upload(input, { ...long, as, overwrite }),
          ),
        );
        const { recordsCloned: recordCount, filesCloned: fileCount } = response;
        const into = as === undefined ? "" : ` into ${as}`;
        output.result(
          `restored ${contents({ recordCount, fileCount })}${into}`,
          await client.toJson(response),
        );
        return;
      }
      const answer = await longWork(label, environment, (long) =>
        client.backups.restore(source, { ...long, as, overwrite }),
      );
      const { recordsRestored: recordCount, filesRestored: fileCount } = answer;
      const into = as === undefined ? "" : ` into ${as}`;
      output.result(
        `restored ${contents({ recordCount, fileCount })}${into}`,
        await client.toJson(answer),
      );
    });

  defineBackupDownload(command, context, environment);
  defineBackupUpload(command, context, environment);

  command
    .command("import [path]")
    .description(
      "take up archives that lie in the server's backup folder and that it does not know",
    )
    .action(async (path: string | undefined, _options, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      const request = { path: path ?? "" };
      const answer = await client.services.backups.importBackups(request, { signal, timeoutMs: 0 });
      if (output.format === "table") await printBackups(output, client, answer.backups);
      else output.json(await client.toJson(answer));
      const { refused } = answer;
      for (const { path, reason } of refused) output.note(`not taken: ${path}: ${reason}`);
      output.note(`imported ${count(answer.backups.length, "backup")}`);
      if (refused.length === 0) return;
      const message = `${count(refused.length, "archive")} could not be taken`;
      throw new CliError("IMPORT_INCOMPLETE", message);
    });

  command
    .command("rm <id>")
    .description("remove a backup")
    .option(...dryRunOption)
    .action(async (id: string, { dryRun = false }: DryRun, self) => {
      const { output, connect, confirm, signal } = context(self);
      await using client = await connect();
      const backup = await client.backups.get(id, { signal });
      const what = `delete backup ${id} of ${backupSummary(backup)}`;
      if (dryRun) {
        tellDryRun(output, what, { backupId: id, sizeBytes: String(backup.sizeBytes) });
        return;
      }
      await confirm(`${what}?`);
      const { bytesFreed } = await client.backups.delete(id, { signal });
      output.result(`deleted backup ${id} (${formatBytes(bytesFreed)})`, {
        backupId: id,
        bytesFreed: String(bytesFreed),
      });
    });

  defineBackupServer(command.command("server"), context, environment);
  defineBackupPolicy(command.command("policy"), context, environment);
};

function fromBackup(
  backup: BackupMetadata,
  as: string | undefined,
): Pick<RestoreTarget, "as" | "namespace" | "source"> {
  const { namespace = "", name = "" } = backup.collection ?? {};
  const source = `backup ${backup.backupId} of ${backupSummary(backup)}`;
  return { as: as ?? `${namespace}/${name}`, namespace, source };
}

/** What is in the file is read only when it is sent. @throws {CliError} USAGE, FILE_UNREADABLE */
function fromFile(path: string, as: string | undefined): Pick<RestoreTarget, "as" | "source"> {
  if (as === undefined) {
    throw usageError("a dry run of a file needs --as", "the name in it is read when it is sent");
  }
  if (path === pipeName) return { as, source: "the archive on stdin" };
  try {
    return { as, source: `${path} (${formatBytes(BigInt(statSync(path).size))})` };
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** What the server keeps of a backup it does not keep of a file here. */
function refuseWithFile({ to, meta, incremental, base, compression }: CreateOptions): void {
  const given = Object.entries({ to, meta, incremental, base, compression }).find(
    ([, value]) => value !== undefined,
  );
  if (given !== undefined) throw usageError(`-f and --${given[0]} exclude each other`);
}
