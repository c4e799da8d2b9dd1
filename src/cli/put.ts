import type { JsonValue } from "@bufbuild/protobuf";
import type { Client } from "../client/client.ts";
import { CliError, usageError } from "./failure.ts";
import { type JsonDocument, parseDocument } from "./json-input.ts";
import { parseLabels } from "./labels.ts";
import type { JsonRecords } from "./records.ts";
import { type RecordWrite, writeBatches } from "./write-batches.ts";

export interface PutOptions {
  readonly id?: string;
  readonly idField?: string;
  readonly label?: readonly string[];
  readonly create?: boolean;
}

export interface PutRequest {
  readonly client: Client;
  readonly records: JsonRecords;
  readonly documents: AsyncIterable<JsonDocument>;
  readonly options: PutOptions;
  readonly signal: AbortSignal;
}

/** Writes documents as records; see {@link writeBatches} for what is done when it fails. */
export async function putRecords(request: PutRequest): Promise<string[]> {
  const { options, client, records, signal } = request;
  if (options.id !== undefined && options.idField !== undefined) {
    throw usageError("--id and --id-field exclude each other");
  }
  return writeBatches({ client, records, writes: writesOf(request), signal });
}

async function* writesOf({ documents, options, records }: PutRequest): AsyncIterable<RecordWrite> {
  const labels = parseLabels(options.label ?? []);
  const updateLabels = options.label !== undefined;
  const createOnly = options.create === true;
  let isFirst = true;
  for await (const document of documents) {
    if (options.id !== undefined && !isFirst) {
      throw usageError("--id is for one record, and the input has several", "use --id-field");
    }
    isFirst = false;
    const id = options.id ?? idOf(document, options.idField);
    const item = await records.pack(document);
    yield { where: document.where, id, item, labels, updateLabels, createOnly };
  }
}

function idOf(document: JsonDocument, idField: string | undefined): string {
  if (idField === undefined) return "";
  let value: JsonValue | undefined = parseDocument(document);
  for (const name of idField.split(".")) value = memberOf(value, name);
  if (typeof value === "string" && value !== "") return value;
  if (typeof value === "number") return String(value);
  throw new CliError("ID_INVALID", `${document.where}: field \`${idField}\` holds no id`, {
    field: idField,
    hint: "--id-field names a field that every document has, with text or a number in it",
  });
}

/** A field by its name in the document, or by its other name: `priceCents` is `price_cents`. */
function memberOf(value: JsonValue | undefined, name: string): JsonValue | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  if (Object.hasOwn(value, name)) return value[name];
  const plain = (text: string): string => text.replaceAll("_", "").toLowerCase();
  const other = Object.keys(value).find((key) => plain(key) === plain(name));
  return other === undefined ? undefined : value[other];
}
