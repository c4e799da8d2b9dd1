import type { DefineCommands } from "../define-commands.ts";
import { parseDocument, readJsonInput } from "../json-input.ts";

/** `collector call SERVICE/METHOD -d JSON` */
export const define: DefineCommands = (command, context, environment) => {
  command
    .argument("<method>", "as in shop.v1.Shop/Quote")
    .option(
      "-d, --data <json>",
      "the request, @FILE, or - for stdin; a stream takes a line each",
      "{}",
    )
    .addHelpText(
      "after",
      `
Examples:
  collector call shop.v1.Shop/Quote -d '{"sku":"esp-1"}'
  collector call collector.CollectionService/Meta`,
    )
    .action(async (method: string, { data }: { data: string }) => {
      const { output, connect, signal } = context(command);
      await using client = await connect();
      const requests = (async function* () {
        const input = readJsonInput(data, { stdin: environment.stdin });
        for await (const document of input) yield parseDocument(document);
      })();
      for await (const answer of client.callJson(method, requests, { signal })) output.json(answer);
    });
};
