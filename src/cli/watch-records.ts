import type { JsonValue } from "@bufbuild/protobuf";
import { type Change, Change_Kind } from "../gen/collector/record_streams_pb.ts";
import type { DefineCommands } from "./define-commands.ts";
import { JsonRecords } from "./records.ts";

interface WatchCommandOptions {
  readonly where?: string;
  readonly resume?: string;
}

const kindNames: Readonly<Record<number, string>> = {
  [Change_Kind.CREATED]: "created",
  [Change_Kind.UPDATED]: "updated",
  [Change_Kind.DELETED]: "deleted",
  [Change_Kind.LEFT]: "left",
};

/** `collector record watch …` */
export const defineWatch: DefineCommands = (command, context) => {
  command
    .command("watch <collection>")
    .description("print what changes, as it happens, until Ctrl-C")
    .option("--where <filter>", "only records for which this holds, as in 'price_cents < 1000'")
    .option("--resume <token>", "go on after the change that had this token (see -o jsonl)")
    .action(async (collection: string, options: WatchCommandOptions, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      const { watchCollection } = await import("../client/watch.ts");
      await using client = await connect();
      const records = new JsonRecords(client, namespace, collection);
      const { where = "", resume = "" } = options;
      const onBegin = (): void => output.note(`watching ${collection}`);
      const { streams } = client.services;
      const responses = watchCollection(streams, records.target, {
        where,
        resumeToken: resume,
        signal,
        onBegin,
      });
      for await (const { changes, resumeToken } of responses) {
        for (const change of changes) {
          const token = change === changes.at(-1) ? { resumeToken } : {};
          if (output.format === "table") output.line(await lineOf(records, change));
          else output.json({ ...(await documentOf(records, change)), ...token });
        }
      }
    });
};

async function lineOf(records: JsonRecords, change: Change): Promise<string> {
  const kind = (kindNames[change.kind] ?? "changed").padEnd(7);
  if (change.item === undefined) return `${kind}  ${change.id}`;
  const { item } = await records.show(change.item, change.meta);
  return `${kind}  ${change.id}  ${JSON.stringify(item)}`;
}

async function documentOf(
  records: JsonRecords,
  { kind, id, item, meta }: Change,
): Promise<{ [key: string]: JsonValue }> {
  const change = { change: kindNames[kind] ?? "changed", id, version: meta?.version ?? "" };
  if (item === undefined) return change;
  const { full } = await records.show(item, meta);
  return { ...change, record: full };
}
