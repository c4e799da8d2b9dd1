import type { JsonValue } from "@bufbuild/protobuf";
import type { Command } from "commander";
import type { DefineCommands } from "./define-commands.ts";
import { usageError } from "./failure.ts";
import { type JsonDocument, parseDocument, readJsonInput } from "./json-input.ts";
import { parseLabels } from "./labels.ts";
import { JsonRecords } from "./records.ts";

interface PatchOptions {
  readonly data?: string;
  readonly ifVersion?: string;
  readonly label?: readonly string[];
}

/** `collector record patch` */
export const definePatch: DefineCommands = (command, context, environment) => {
  command
    .command("patch <collection> <id>")
    .description("change the fields that the JSON has, and no others; null clears one")
    .option("-d, --data <json>", "an object, @FILE, or - for stdin")
    .option("--if-version <version>", "only if the record still has this version")
    .option("--label <key=value>", "instead of the record's labels; may be repeated", collect)
    .addHelpText(
      "after",
      `
Example:
  collector record patch products esp-1 -d '{"priceCents": "19900", "tags": null}'`,
    )
    .action(async (collection: string, id: string, options: PatchOptions, self: Command) => {
      const { output, connect, signal, namespace = "" } = context(self);
      const document = await onlyDocument(options.data ?? "{}", environment.stdin);
      const keys = keysOf(document);
      if (keys.length === 0 && options.label === undefined) {
        throw usageError("there is nothing to change", "give JSON with -d, or --label");
      }
      await using client = await connect();
      const records = new JsonRecords(client, namespace, collection);
      const { meta } = await client.services.records.update(
        {
          ...records.target,
          id,
          // Without a mask, an item would replace the whole record.
          ...(keys.length === 0
            ? {}
            : { item: await records.pack(document), updateMask: await records.pathsOf(keys) }),
          ifMatch: options.ifVersion ?? "",
          labels: parseLabels(options.label ?? []),
          updateLabels: options.label !== undefined,
        },
        { signal },
      );
      output.result(`patched ${id}`, { id, version: meta?.version ?? "" });
    });
};

async function onlyDocument(data: string, stdin: NodeJS.ReadStream): Promise<JsonDocument> {
  const documents: JsonDocument[] = [];
  for await (const document of readJsonInput(data, { stdin })) documents.push(document);
  const [first, second] = documents;
  if (first !== undefined && second === undefined) return first;
  throw usageError("a patch is one JSON object", "`record put` writes several records");
}

function keysOf(document: JsonDocument): readonly string[] {
  const json: JsonValue = parseDocument(document);
  if (typeof json === "object" && json !== null && !Array.isArray(json)) return Object.keys(json);
  throw usageError(`${document.where}: a patch is a JSON object`);
}

function collect(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}
