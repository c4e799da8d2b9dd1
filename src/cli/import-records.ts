import { createReadStream } from "node:fs";
import type { JsonValue } from "@bufbuild/protobuf";
import { sizeDelimitedDecodeStream } from "@bufbuild/protobuf/wire";
import type { Any } from "@bufbuild/protobuf/wkt";
import type { Client } from "../client/client.ts";
import { CollectionRecordSchema } from "../gen/collector/collection_pb.ts";
import type { DefineCommands } from "./define-commands.ts";
import { CliError, usageError } from "./failure.ts";
import { parseDocument, readJsonFile, readJsonInput } from "./json-input.ts";
import { count } from "./output.ts";
import { Progress } from "./progress.ts";
import { JsonRecords } from "./records.ts";
import { transferFormat } from "./transfer-format.ts";
import { type RecordWrite, writeBatches } from "./write-batches.ts";

interface ImportOptions {
  readonly file: string;
  readonly format?: string;
}

/** `collector record import …` */
export const defineImport: DefineCommands = (command, context, environment) => {
  command
    .command("import <collection>")
    .description(
      "write the records of an export: replace those whose id is there, create the others",
    )
    .requiredOption("-f, --file <file>", "what `record export` wrote; - is stdin")
    .option("--format <format>", "jsonl or protobuf; told by the file's name if it is not given")
    .addHelpText("after", "\nExample:\n  collector record import products -f products.jsonl")
    .action(async (collection: string, options: ImportOptions, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      const format = transferFormat(options.format, options.file);
      const { stdin, stderr } = environment;
      await using client = await connect();
      const records = new JsonRecords(client, namespace, collection);
      using progress = new Progress({
        label: `importing into ${collection}`,
        total: undefined,
        stream: stderr,
        showFrom: 1000,
        format: (done) => count(done, "record"),
      });
      const found =
        format === "jsonl"
          ? fromJsonLines(options.file, stdin, records)
          : fromMessages(options.file, stdin, client, records);
      const writes = shown(found, progress);
      const { length } = await writeBatches({ client, records, writes, signal });
      output.result(`imported ${count(length, "record")}`, { imported: length });
    });
};

async function* fromJsonLines(
  file: string,
  stdin: NodeJS.ReadStream,
  records: JsonRecords,
): AsyncIterable<RecordWrite> {
  const documents = file === "-" ? readJsonInput("-", { stdin }) : readJsonFile(file);
  for await (const document of documents) {
    const { id, labels, item } = asExported(parseDocument(document), document.where);
    const packed = await records.pack({ where: document.where, text: JSON.stringify(item) });
    yield { where: document.where, id, labels, item: packed, ...asExportedThen };
  }
}

function asExported(
  json: JsonValue,
  where: string,
): { id: string; labels: Record<string, string>; item: JsonValue } {
  const object = typeof json === "object" && json !== null && !Array.isArray(json) ? json : {};
  const { id = "", labels = {}, item } = object;
  if (item === undefined || typeof id !== "string") {
    throw new CliError("JSON_INVALID", `${where}: this is no exported record: it has no \`item\``, {
      hint: "`collector record put` writes plain JSON",
    });
  }
  const pairs = typeof labels === "object" && labels !== null ? Object.entries(labels) : [];
  const texts = pairs.flatMap(([key, value]) => (typeof value === "string" ? [[key, value]] : []));
  return {
    id,
    labels: Object.fromEntries(texts),
    item,
  };
}

async function* fromMessages(
  file: string,
  stdin: NodeJS.ReadStream,
  client: Client,
  records: JsonRecords,
): AsyncIterable<RecordWrite> {
  const { collectionDefinition } = await client.services.records.describe(records.target);
  const typeUrl = `type.googleapis.com/${collectionDefinition?.messageType?.messageName ?? ""}`;
  if (file === "-" && stdin.isTTY)
    throw usageError("-f - reads from stdin, which is this terminal");
  const stream: AsyncIterable<Uint8Array> = file === "-" ? stdin : createReadStream(file);
  let number = 0;
  try {
    for await (const record of sizeDelimitedDecodeStream(CollectionRecordSchema, stream)) {
      number += 1;
      const item: Any = { $typeName: "google.protobuf.Any", typeUrl, value: record.protoData };
      const labels = { ...record.metadata?.labels };
      const where = `${file}, record ${number}`;
      yield { where, id: record.id, labels, item, ...asExportedThen };
    }
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CliError(
      "ITEM_UNPARSABLE",
      `${file}: after ${count(number, "record")} there is no further CollectionRecord: ${why}`,
      { cause: error },
    );
  }
}

async function* shown(
  writes: AsyncIterable<RecordWrite>,
  progress: Progress,
): AsyncIterable<RecordWrite> {
  for await (const write of writes) {
    yield write;
    progress.add(1);
  }
}

/** An import brings records to what they were, labels included. */
const asExportedThen = { updateLabels: true, createOnly: false } as const;
