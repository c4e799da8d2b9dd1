import type { Any } from "@bufbuild/protobuf/wkt";
import type { Client } from "../client/client.ts";
import { ClientError } from "../client/client-error.ts";
import { CliError } from "./failure.ts";
import type { JsonRecords } from "./records.ts";

/** One batch stays below the server's limits on operations and on the size of a message. */
const batchOperationsMax = 500;
const batchBytesMax = 2 * 1024 * 1024;

/** A record on its way to the server. */
export interface RecordWrite {
  /** Where it came from, for messages. */
  readonly where: string;
  /** Empty: the server makes one. */
  readonly id: string;
  readonly item: Any;
  readonly labels: Record<string, string>;
  /** Replaces the labels of a record that is there, even by none. */
  readonly updateLabels: boolean;
  /** Refuses a record whose id is there, instead of replacing it. */
  readonly createOnly: boolean;
}

export interface WriteBatches {
  readonly client: Client;
  readonly records: JsonRecords;
  readonly writes: AsyncIterable<RecordWrite>;
  readonly signal: AbortSignal;
}

/**
 * Writes records in batches, each of which is done as a whole or not at all.
 *
 * @returns the ids, in the order of the records
 * @throws {CliError | ClientError} earlier batches are done; the message says how many records they hold
 */
export async function writeBatches(request: WriteBatches): Promise<string[]> {
  const ids: string[] = [];
  let batch: RecordWrite[] = [];
  let bytes = 0;
  const flush = async (): Promise<void> => {
    if (batch.length === 0) return;
    ids.push(...(await sendBatch(request, batch)));
    batch = [];
    bytes = 0;
  };
  try {
    for await (const write of request.writes) {
      const size = write.item.value.byteLength;
      if (batch.length >= batchOperationsMax || bytes + size > batchBytesMax) await flush();
      batch.push(write);
      bytes += size;
    }
    await flush();
  } catch (error) {
    throw ids.length === 0 ? error : afterSome(error, ids.length);
  }
  return ids;
}

async function sendBatch(
  { client, records: { target }, signal }: WriteBatches,
  batch: readonly RecordWrite[],
): Promise<string[]> {
  const operations = batch.map(({ id, item, labels, updateLabels, createOnly }) =>
    id === "" || createOnly
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
function atDocument(error: unknown, batch: readonly RecordWrite[]): unknown {
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
