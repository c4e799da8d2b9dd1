import { defineSetDownload } from "./backup-download.ts";
import { collect, compressionOf } from "./backup-options.ts";
import { contents, printBackups } from "./backup-table.ts";
import type { DefineCommands } from "./define-commands.ts";
import { CliError } from "./failure.ts";
import { parsePairs } from "./labels.ts";
import { longWork } from "./long-work.ts";
import { count } from "./output.ts";
import { rehearseSet } from "./rehearse-restore.ts";

interface CreateOptions {
  readonly to?: string;
  readonly files: boolean;
  readonly meta?: readonly string[];
  readonly incremental?: boolean;
  readonly compression?: string;
}

interface RestoreOptions {
  readonly collection?: string;
  readonly overwrite?: boolean;
  readonly dryRun?: boolean;
}

/** `collector backup server …` */
export const defineBackupServer: DefineCommands = (command, context, environment) => {
  command.description("back up and restore all of a server");

  command
    .command("create")
    .description("back up the registry and every collection, or those of the namespace of -n")
    .option("--to <folder>", "where in the server's backup folder")
    .option("--no-files", "leave out attached files")
    .option("--meta <key=value>", "note to keep with each; may be repeated", collect)
    .option("--incremental", "only what changed since the newest backups, if that can be told")
    .option("--compression <how>", "zstd or none")
    .action(async (options: CreateOptions, self) => {
      const { output, connect, namespace = "" } = context(self);
      const { to: destPath = "", files: includeFiles, incremental = false } = options;
      const metadata = parsePairs(options.meta ?? [], "--meta");
      const compression = compressionOf(options.compression);
      await using client = await connect();
      const answer = await longWork("backing up the server", environment, (long) =>
        client.backups.createServer({
          ...long,
          namespace,
          destPath,
          includeFiles,
          metadata,
          incremental,
          compression,
        }),
      );
      if (output.format === "table") await printBackups(output, client, answer.backups);
      else output.json(await client.toJson(answer));
      output.note(`set ${answer.setId}: ${count(answer.backups.length, "backup")}`);
    });

  defineSetDownload(command, context, environment);

  command
    .command("restore <set>")
    .description("restore a set of backups, or one collection of it")
    .option("--collection <name>", "only this one, as in products or shop/products")
    .option("--overwrite", "replace collections that are there")
    .option("--dry-run", "say what would be made or replaced, and change nothing")
    .action(async (setId: string, options: RestoreOptions, self) => {
      const { output, connect, confirm, signal } = context(self);
      const { collection, overwrite = false, dryRun = false } = options;
      if (dryRun) {
        await using client = await connect();
        await rehearseSet(client, setId, { collection, overwrite }, { output, signal });
        return;
      }
      if (overwrite) await confirm(`replace ${collection ?? "every collection of the set"}?`);
      await using client = await connect();
      const answer = await longWork(`restoring set ${setId}`, environment, (long) =>
        client.backups.restoreServer(setId, { ...long, collection, overwrite }),
      );
      const { restored } = answer;
      if (output.format === "table") {
        output.list(
          restored,
          [
            {
              header: "OF",
              text: ({ collection: of }) =>
                of === undefined ? "registry" : `${of.namespace}/${of.name}`,
            },
            {
              header: "RESTORED",
              text: ({ status, collection: of, ...counts }) => {
                if ((status?.code ?? 0) !== 0) return status?.message ?? "";
                if (of === undefined) return "yes";
                const { recordsRestored: recordCount, filesRestored: fileCount } = counts;
                return contents({ recordCount, fileCount });
              },
              whole: true,
            },
          ],
          ({ backupId }) => backupId,
        );
      } else {
        output.json(await client.toJson(answer));
      }
      const failed = restored.filter(({ status }) => (status?.code ?? 0) !== 0);
      if (failed.length === 0) return;
      const message = `${failed.length} of ${count(restored.length, "backup")} could not be restored`;
      throw new CliError("RESTORE_INCOMPLETE", message);
    });
};
