import { CollectorError } from "../errors.ts";
import type { OperationRun } from "../operations/operation.ts";
import type { RecordStore, StoredRecord, WriteStep } from "../storage/record-store.ts";
import type { CollectionType, RecordRequests } from "./record-requests.ts";

/** Records derived between two turns of the event loop: about a millisecond of work. */
const chunkRecordsMax = 100;

export interface RederiveOptions {
  readonly store: RecordStore;
  readonly requests: RecordRequests;
  readonly type: CollectionType;
  readonly run: OperationRun;
}

/**
 * Derives document and text of every record anew, in small steps, while reads and writes go on: a
 * record that is written meanwhile keeps what was derived from the newer bytes. Doing it again
 * changes nothing, so one that was cut starts over.
 *
 * @returns how many records do not parse as the type any more and keep what they had.
 */
export async function rederive({ store, requests, type, run }: RederiveOptions): Promise<bigint> {
  const { recordCount: total } = await store.stats();
  await afterEarlierWrites(store);
  let after: string | undefined;
  let done = 0n;
  let skipped = 0n;
  do {
    run.signal.throwIfAborted();
    const page = await store.list({ limit: chunkRecordsMax, after }, { signal: run.signal });
    const steps = page.records.flatMap((record) => deriveStep(record, requests, type));
    if (steps.length > 0) await store.write({ steps });
    done += BigInt(page.records.length);
    skipped += BigInt(page.records.length - steps.length);
    run.report({ done, total, phase: "deriving records" });
    after = page.next;
  } while (after !== undefined);
  return skipped;
}

/** Writes are applied in order: once this one is, no write with the old derivation is under way. */
async function afterEarlierWrites(store: RecordStore): Promise<void> {
  const derived = { document: "{}", texts: [""] };
  await store.write({ steps: [{ kind: "derive", id: "-", ifVersion: 0n, derived }] });
}

function deriveStep(
  { id, data, version }: StoredRecord,
  requests: RecordRequests,
  type: CollectionType,
): WriteStep[] {
  try {
    const { document, texts } = requests.content(data, type, "item.value");
    return [{ kind: "derive", id, ifVersion: version, derived: { document, texts } }];
  } catch (error) {
    // Only where a namespace takes incompatible versions of its files.
    if (error instanceof CollectorError && error.reason === "ITEM_UNPARSABLE") return [];
    throw error;
  }
}
