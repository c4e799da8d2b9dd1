import { contents } from "../backup-table.ts";
import type { DefineCommands } from "../define-commands.ts";
import { usageError } from "../failure.ts";
import { longWork } from "../long-work.ts";

interface CloneCommandOptions {
  readonly to?: string;
  readonly files: boolean;
  readonly refresh?: boolean;
}

/** `collector clone`: a collection to another name, here or on another server. */
export const define: DefineCommands = (command, context, environment) => {
  command
    .argument("<source>", "collection to copy, as in products or shop/products")
    .argument("[dest]", "what to call the copy; without namespace it is in the source's")
    .option("--to <host:port>", "server to copy to; this one unless it is given")
    .option("--no-files", "leave out attached files")
    .option("--refresh", "bring an earlier copy of the same source up to date")
    .addHelpText(
      "after",
      `
Examples:
  collector clone products staging/products
  collector clone products --to mirror.example:50051 --refresh`,
    )
    .action(async (source: string, dest: string | undefined, options: CloneCommandOptions) => {
      const { output, connect } = context(command);
      const { to, files: includeFiles, refresh = false } = options;
      if (dest === undefined && to === undefined) {
        throw usageError("the copy needs a name", "name it, or another server with --to");
      }
      await using client = await connect();
      const answer = await longWork(`cloning ${source}`, environment, (long) =>
        client.clone(source, dest ?? "", { ...long, to, includeFiles, refresh }),
      );
      const { recordsCloned: recordCount, filesCloned: fileCount, incremental } = answer;
      const target = `${dest ?? source}${to === undefined ? "" : ` on ${to}`}`;
      const how = incremental ? "brought up to date: " : "";
      const sentence = `cloned ${source} to ${target}: ${how}${contents({ recordCount, fileCount })}`;
      output.result(sentence, await client.toJson(answer));
    });
};
