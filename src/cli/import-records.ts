import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { JsonValue } from "@bufbuild/protobuf";
import { sizeDelimitedDecodeStream } from "@bufbuild/protobuf/wire";
import type { Any } from "@bufbuild/protobuf/wkt";
import type { Client } from "../client/client.ts";
import { CollectionRecordSchema } from "../gen/collector/collection_pb.ts";
import type { DefineCommands } from "./define-commands.ts";
import { CliError, unreadable, usageError } from "./failure.ts";
import { parseDocument, readJsonFile, readJsonInput } from "./json-input.ts";
import { count } from "./output.ts";
import { Progress } from "./progress.ts";
import { JsonRecords } from "./records.ts";
import { transferFormat } from "./transfer-format.ts";

/** One batch stays below the server's limits on operations and on the size of a message. */
const batchOperationsMax = 500;
const batchBytesMax = 2 * 1024 * 1024;

interface ImportOptions {
  readonly file: string;
  readonly format?: string;
}

/** A record on its way in. */
interface ImportedRecord {
  /** Empty: the server makes one. */
  readonly id: string;
  readonly item: Any;
  readonly labels: Record<string, string>;
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
      const bytes = options.file === "-" ? undefined : await sizeOf(options.file);
      using progress = new Progress({
        label: `importing into ${collection}`,
        total: bytes,
        stream: stderr,
        showFrom: 1024 * 1024,
      });
      const found =
        format === "jsonl"
          ? fromJsonLines(options.file, stdin, records)
          : fromMessages(options.file, stdin, client, records);
      let written = 0;
      try {
        for await (const batch of batchesOf(found, progress)) {
          const operations = batch.map((record) => operationOf(record, records));
          await client.services.records.batch({ ...records.target, operations }, { signal });
          written += batch.length;
        }
      } catch (error) {
        if (written > 0) output.note(`${count(written, "record")} were written before this failed`);
        throw error;
      }
      output.result(`imported ${count(written, "record")}`, { imported: written });
    });
};

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    throw unreadable(file, error instanceof Error ? error : new Error(String(error)));
  }
}

async function* fromJsonLines(
  file: string,
  stdin: NodeJS.ReadStream,
  records: JsonRecords,
): AsyncIterable<ImportedRecord> {
  const documents = file === "-" ? readJsonInput("-", { stdin }) : readJsonFile(file);
  for await (const document of documents) {
    const { id, labels, item } = asExported(parseDocument(document), document.where);
    const packed = await records.pack({ where: document.where, text: JSON.stringify(item) });
    yield { id, labels, item: packed };
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
): AsyncIterable<ImportedRecord> {
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
      yield { id: record.id, labels: { ...record.metadata?.labels }, item };
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

async function* batchesOf(
  records: AsyncIterable<ImportedRecord>,
  progress: Progress,
): AsyncIterable<readonly ImportedRecord[]> {
  let batch: ImportedRecord[] = [];
  let bytes = 0;
  for await (const record of records) {
    const size = record.item.value.byteLength;
    if (batch.length >= batchOperationsMax || (bytes + size > batchBytesMax && batch.length > 0)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(record);
    bytes += size;
    progress.add(size);
  }
  if (batch.length > 0) yield batch;
}

function operationOf({ id, item, labels }: ImportedRecord, { target }: JsonRecords) {
  if (id === "") {
    return { operation: { case: "create" as const, value: { ...target, item, labels } } };
  }
  const value = { ...target, id, item, labels, updateLabels: true, allowMissing: true };
  return { operation: { case: "update" as const, value } };
}
