import { CollectorError } from "../errors.ts";
import type { OperationRun } from "../operations/operation.ts";
import type { RecordStore, WriteStep } from "../storage/record-store.ts";
import type { StoredRecord } from "../storage/stored-record.ts";
import type { RecordRequests, WriteTarget } from "./record-requests.ts";

/** Records derived between two turns of the event loop: about a millisecond of work. */
const chunkRecordsMax = 100;
/** How often a chunk is derived again because the store's shape has changed meanwhile. */
const attemptsMax = 8;

export interface RederiveOptions {
  readonly store: RecordStore;
  readonly requests: RecordRequests;
  /** How records are written now; asked again and again, as it may change meanwhile. */
  readonly target: () => Promise<WriteTarget>;
  readonly signal: AbortSignal;
  readonly report: OperationRun["report"];
  /** What it is done for, for people. */
  readonly phase: string;
}

/**
 * Derives anew what every record is found by, in small steps, while reads and writes go on: a record
 * that is written meanwhile keeps what was derived from the newer bytes. Doing it again changes
 * nothing, so one that was cut starts over.
 *
 * @returns how many records do not parse as the type any more and keep what they had.
 */
export async function rederive(options: RederiveOptions): Promise<bigint> {
  const { store, signal, report, phase } = options;
  const { recordCount: total } = await store.stats();
  await afterEarlierWrites(options);
  let after: string | undefined;
  let done = 0n;
  let skipped = 0n;
  do {
    signal.throwIfAborted();
    const page = await store.list({ limit: chunkRecordsMax, after }, { signal });
    const derived = await write(options, (target) =>
      page.records.flatMap((record) => deriveStep(record, options.requests, target)),
    );
    done += BigInt(page.records.length);
    skipped += BigInt(page.records.length - derived);
    report({ done, total, phase });
    after = page.next;
  } while (after !== undefined);
  return skipped;
}

/** Writes are applied in order: once this one is, no write with the old derivation is under way. */
async function afterEarlierWrites(options: RederiveOptions): Promise<void> {
  await write(options, ({ plan }) => [
    {
      kind: "derive",
      id: "-",
      ifVersion: 0n,
      derived: plan.derive(new Uint8Array(0), { writtenUs: 0n }),
    },
  ]);
}

/** @returns how many steps there were. */
async function write(
  { store, target }: RederiveOptions,
  stepsFor: (target: WriteTarget) => WriteStep[],
): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    // From here to the call of the store nothing else runs, so no newer derivation is undone.
    const steps = stepsFor(await target());
    if (steps.length === 0) return 0;
    try {
      await store.write({ steps });
      return steps.length;
    } catch (error) {
      const isOutdated = error instanceof CollectorError && error.reason === "SHAPE_OUTDATED";
      if (!isOutdated || attempt === attemptsMax) throw error;
    }
  }
}

function deriveStep(
  record: StoredRecord,
  requests: RecordRequests,
  target: WriteTarget,
): WriteStep[] {
  try {
    const { id, version } = record;
    const derived = requests.derivedAnew(record, target);
    return [{ kind: "derive", id, ifVersion: version, derived }];
  } catch (error) {
    // Only where a namespace takes incompatible versions of its files.
    if (error instanceof CollectorError && error.reason === "ITEM_UNPARSABLE") return [];
    throw error;
  }
}
