import type { Client } from "../client/client.ts";
import type { VerifyBackupResponse } from "../gen/collector/collection_repo_pb.ts";
import { fromArchiveFile } from "./archive-file.ts";
import { pipeName } from "./archive-pipe.ts";
import { backupSummary } from "./backup-table.ts";
import type { DefineCommands } from "./define-commands.ts";
import { CliError, usageError } from "./failure.ts";
import { isFileHere } from "./local-file.ts";
import { longWork } from "./long-work.ts";
import type { Output } from "./output.ts";

/** `collector backup verify` */
export const defineBackupVerify: DefineCommands = (command, context, environment) => {
  command
    .command("verify [id]")
    .description(
      "read a backup through, and all that it is based on, or with -f an archive here; fails if it is not valid",
    )
    .option(
      "-f, --file <file>",
      "archive here, or - for stdin; the server reads it and keeps nothing",
    )
    .addHelpText(
      "after",
      `
Examples:
  collector backup verify 0198c0de-7a2b-7f00-8000-000000000001
  collector backup verify products.collector`,
    )
    .action(async (id: string | undefined, options: { readonly file?: string }, self) => {
      const { output, connect } = context(self);
      if ((id === undefined) === (options.file === undefined)) {
        throw usageError("verify takes the id of a backup, or -f FILE");
      }
      const given = id ?? options.file ?? "";
      const isFile = id === undefined || isFileHere(id);
      await using client = await connect();
      const answer = await longWork(`verifying ${given}`, environment, async (long) =>
        isFile
          ? await fromArchiveFile({ path: given, output, environment }, (input) =>
              client.backups.verifyArchive(input, long),
            )
          : await client.backups.verify(given, long),
      );
      const stdin = given === pipeName ? "the archive on stdin" : given;
      await tell(isFile ? stdin : `backup ${given}`, answer, { output, client, isFile, given });
    });
};

interface Telling {
  readonly output: Output;
  readonly client: Client;
  readonly isFile: boolean;
  /** As the caller named it. */
  readonly given: string;
}

/** @throws {CliError} BACKUP_INVALID */
async function tell(
  subject: string,
  answer: VerifyBackupResponse,
  { output, client, isFile, given }: Telling,
): Promise<void> {
  const { isValid, errorMessage, backup, problems } = answer;
  if (isValid) {
    const of = backup === undefined ? "" : ` of ${backupSummary(backup)}`;
    if (output.format === "name") output.line(given);
    else output.result(`ok: ${subject}${of}`, await client.toJson(answer));
    return;
  }
  if (output.format === "table") {
    output.list(
      problems,
      [
        // An archive that was made to be sent is no backup, and has no id.
        ...(isFile ? [] : [{ header: "BACKUP", text: backupOf }]),
        { header: "PART", text: ({ part }) => part },
        { header: "AT", text: ({ offset }) => (offset < 0n ? "" : String(offset)), right: true },
        { header: "PROBLEM", text: ({ description }) => description, whole: true },
      ],
      ({ description }) => description,
    );
  } else {
    output.json(await client.toJson(answer));
  }
  const hint = isFile ? {} : { hint: "`collector backup list` shows the others" };
  throw new CliError("BACKUP_INVALID", `${subject} cannot be restored: ${errorMessage}`, hint);
}

function backupOf({ backupId }: VerifyBackupResponse["problems"][number]): string {
  return backupId;
}
