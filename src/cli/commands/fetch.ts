import { contents } from "../backup-table.ts";
import type { DefineCommands } from "../define-commands.ts";
import { longWork } from "../long-work.ts";

interface FetchCommandOptions {
  readonly files: boolean;
  readonly refresh?: boolean;
}

/** `collector fetch`: a collection of another server to this one. */
export const define: DefineCommands = (command, context, environment) => {
  command
    .argument("<endpoint>", "server to copy from, as host:port")
    .argument("<source>", "collection there, as in products or shop/products")
    .argument("[dest]", "what to call the copy; what the source is called unless it is given")
    .option("--no-files", "leave out attached files")
    .option("--refresh", "bring an earlier copy of the same source up to date")
    .addHelpText(
      "after",
      `
Example:
  collector fetch production.example:50051 products staging/products --refresh`,
    )
    .action(
      async (
        endpoint: string,
        source: string,
        dest: string | undefined,
        options: FetchCommandOptions,
      ) => {
        const { output, connect } = context(command);
        const { files: includeFiles, refresh = false } = options;
        await using client = await connect();
        const answer = await longWork(`fetching ${source}`, environment, (long) =>
          client.fetch(endpoint, source, dest, { ...long, includeFiles, refresh }),
        );
        const { recordsFetched: recordCount, filesFetched: fileCount, incremental } = answer;
        const how = incremental ? "brought up to date: " : "";
        const sentence = `fetched ${source} of ${endpoint} to ${dest ?? source}: ${how}${contents({ recordCount, fileCount })}`;
        output.result(sentence, await client.toJson(answer));
      },
    );
};
