import type { JsonValue } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import type { Client } from "../client/client.ts";
import { ClientError } from "../client/client-error.ts";
import { CliError, usageError } from "./failure.ts";
import { type JsonDocument, parseDocument } from "./json-input.ts";
import { parseLabels } from "./labels.ts";
import type { JsonRecords } from "./records.ts";

/** One batch stays below the server's limits on operations and on the size of a message. */
const batchOperationsMax = 500;
const batchBytesMax = 2 * 1024 * 1024;

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

interface Write {
  readonly where: string;
  readonly id: string;
  readonly item: Any;
}

/**
 * Writes documents in batches, each of which is done as a whole or not at all.
 *
 * @returns the ids, in the order of the documents
 * @throws {CliError | ClientError} earlier batches are done; the message says how many records they hold
 */
export async function putRecords(request: PutRequest): Promise<string[]> {
  const { documents, options, records } = request;
  if (options.id !== undefined && options.idField !== undefined) {
    throw usageError("--id and --id-field exclude each other");
  }
  const ids: string[] = [];
  let batch: Write[] = [];
  let bytes = 0;
  const flush = async (): Promise<void> => {
    if (batch.length === 0) return;
    ids.push(...(await sendBatch(request, batch)));
    batch = [];
    bytes = 0;
  };
  try {
    for await (const document of documents) {
      if (options.id !== undefined && ids.length + batch.length > 0) {
        throw usageError("--id is for one record, and the input has several", "use --id-field");
      }
      const id = options.id ?? idOf(document, options.idField);
      const item = await records.pack(document);
      if (batch.length >= batchOperationsMax || bytes + item.value.byteLength > batchBytesMax) {
        await flush();
      }
      batch.push({ where: document.where, id, item });
      bytes += item.value.byteLength;
    }
    await flush();
  } catch (error) {
    throw ids.length === 0 ? error : afterSome(error, ids.length);
  }
  return ids;
}

async function sendBatch(request: PutRequest, batch: readonly Write[]): Promise<string[]> {
  const { client, records, options, signal } = request;
  const { target } = records;
  const labels = parseLabels(options.label ?? []);
  const updateLabels = options.label !== undefined;
  const operations = batch.map(({ id, item }) =>
    id === "" || options.create === true
      ? { operation: { case: "create" as const, value: { ...target, id, item, labels } } }
      : {
          operation: {
            case: "update" as const,
            value: { ...target, id, item, labels, updateLabels, allowMissing: true },
          },
        },
  );
  try {
    const { responses } = await client.services.records.batch(
      { ...target, operations },
      { signal },
    );
    return responses.map(({ response }, index) => {
      const made = response.case === "create" ? response.value.id : "";
      return made === "" ? (batch[index]?.id ?? "") : made;
    });
  } catch (error) {
    throw atDocument(error, batch);
  }
}

/** Says which document a batch failed at, where the server says which operation. */
function atDocument(error: unknown, batch: readonly Write[]): unknown {
  if (!(error instanceof ClientError) || batch.length === 1) return error;
  const fields = error.violations.map(({ field }) => field).join(" ");
  const index = /operations\[(\d+)\]/.exec(`${fields} ${error.message}`)?.[1];
  const where = index === undefined ? undefined : batch[Number(index)]?.where;
  return where === undefined ? error : withMessage(error, `${where}: ${error.message}`);
}

function afterSome(error: unknown, done: number): unknown {
  const note = `; ${done} records before it were put`;
  if (error instanceof ClientError) return withMessage(error, error.message + note);
  if (!(error instanceof CliError)) return error;
  const { code, exitCode, hint } = error;
  const options = { cause: error, exitCode, ...(hint === undefined ? {} : { hint }) };
  return new CliError(code, error.message + note, options);
}

function withMessage(error: ClientError, message: string): ClientError {
  const { reason, code, subject, violations, retryAfterMs, requestId } = error;
  const options = { cause: error, code, subject, violations, retryAfterMs, requestId };
  return new ClientError(reason, message, options);
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
