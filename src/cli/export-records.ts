import { sizeDelimitedEncode } from "@bufbuild/protobuf/wire";
import type { Any } from "@bufbuild/protobuf/wkt";
import { untilLeft } from "../client/until-left.ts";
import { type CollectionRecord, CollectionRecordSchema } from "../gen/collector/collection_pb.ts";
import type { DefineCommands } from "./define-commands.ts";
import { writeLocal } from "./file-transfer.ts";
import { count } from "./output.ts";
import { Progress } from "./progress.ts";
import { JsonRecords } from "./records.ts";
import { type TransferFormat, transferFormat } from "./transfer-format.ts";

interface ExportOptions {
  readonly file: string;
  readonly format?: string;
  readonly where?: string;
}

/** `collector record export …` */
export const defineExport: DefineCommands = (command, context, environment) => {
  command
    .command("export <collection>")
    .description("write all records, as they are at one moment, to a file or a pipe")
    .option("-f, --file <file>", "where to; - is stdout", "-")
    .option("--format <format>", "jsonl, or protobuf: CollectionRecord messages with their lengths")
    .option("--where <condition>", "only records for which this holds")
    .addHelpText("after", "\nExample:\n  collector record export products -f products.jsonl")
    .action(async (collection: string, options: ExportOptions, self) => {
      // An export takes as long as it takes, unless somebody says otherwise.
      const { output, connect, signal, namespace = "", timeoutMs = 0 } = context(self);
      const format = transferFormat(options.format, options.file);
      await using client = await connect();
      const records = new JsonRecords(client, namespace, collection);
      const request = { ...records.target, where: options.where ?? "" };
      let written = 0;
      async function* chunks(): AsyncIterable<Uint8Array> {
        using bars = new DisposableStack();
        let progress: Progress | undefined;
        let typeUrl = "";
        const call = (untilThen: AbortSignal) =>
          client.services.streams.export(request, { signal: untilThen, timeoutMs });
        for await (const part of untilLeft(call, signal)) {
          if (part.collection !== undefined) {
            typeUrl = `type.googleapis.com/${part.collection.messageType?.messageName ?? ""}`;
            progress = bars.use(
              new Progress({
                label: `exporting ${collection}`,
                total: request.where === "" ? Number(part.recordCount) : undefined,
                stream: environment.stderr,
                showFrom: 1000,
                format: (done) => count(done, "record"),
              }),
            );
          }
          for (const record of part.records) yield await encoded(record, typeUrl, format, records);
          written += part.records.length;
          progress?.add(part.records.length);
        }
      }
      await writeLocal(options.file, chunks(), environment);
      const sentence = `exported ${count(written, "record")}`;
      if (options.file === "-") output.note(sentence);
      else
        output.result(`${sentence} to ${options.file}`, { exported: written, file: options.file });
    });
};

async function encoded(
  record: CollectionRecord,
  typeUrl: string,
  format: TransferFormat,
  records: JsonRecords,
): Promise<Uint8Array> {
  if (format === "protobuf") return sizeDelimitedEncode(CollectionRecordSchema, record);
  const { id, version, metadata, protoData } = record;
  const item: Any = { $typeName: "google.protobuf.Any", typeUrl, value: protoData };
  const { labels = {}, createdAt, updatedAt } = metadata ?? {};
  const { full } = await records.show(item, { id, version, labels, createdAt, updatedAt });
  return Buffer.from(`${JSON.stringify(full)}\n`);
}
