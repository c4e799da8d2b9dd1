import { CollectorError } from "../errors.ts";
import type { OperationRun } from "../operations/operation.ts";
import type { BuildProgress } from "../storage/record-store.ts";
import { complete, wantedBy } from "./alteration.ts";
import type { CatalogEntry } from "./catalog-entry.ts";
import type { RecordRequests } from "./record-requests.ts";
import { rederive } from "./rederive.ts";

export interface ReindexOptions {
  readonly entry: CatalogEntry;
  readonly requests: RecordRequests;
  readonly run: OperationRun;
}

/** What became of the records. */
export interface Reindexed {
  readonly recordCount: bigint;
  /** Those that do not parse as the type any more, and keep what they had. */
  readonly skippedCount: bigint;
}

/**
 * Makes everything that records are found by anew from their bytes, while they are read and written:
 * documents first, with the indexes of text and vectors beside those that serve, then the indexes on
 * fields, one after the other. Each takes the place of the one that serves when it is complete. Vectors
 * that came beside records are taken over as they are.
 *
 * A text index that is too damaged to be written to is dropped first, and searches for words are refused
 * until there is another.
 *
 * @throws the reason of the run's signal, with all that was begun still there: see {@link takeBackReindex}.
 */
export async function reindex(options: ReindexOptions): Promise<Reindexed> {
  const { entry, run } = options;
  const { store } = entry;
  run.signal.throwIfAborted();
  const skippedCount = await renewRecords(options);
  run.report({ phase: "putting new indexes in force" });
  await complete(store, await store.shape());
  const { recordCount } = await store.stats();
  let before = recordCount;
  for (const path of entry.definition.indexedFields) {
    run.signal.throwIfAborted();
    let total = 0n;
    const onProgress = (progress: BuildProgress): void => {
      ({ total } = progress);
      const done = before + progress.done;
      run.report({ done, total: before + total, phase: `building the index on ${path}` });
    };
    await store.rebuildIndex({ path }, { signal: run.signal, onProgress });
    before += total;
  }
  return { recordCount, skippedCount };
}

/** After a reindex has failed or was cancelled: what serves is complete, and nothing is being built. */
export async function takeBackReindex({ entry, requests, run }: ReindexOptions): Promise<void> {
  const { store, definition } = entry;
  if (entry.isDeleted || entry.isReplaced) return;
  for (const path of definition.indexedFields) await store.dropRebuild(path);
  const shape = await store.reshape(wantedBy(definition));
  const isComplete = [...shape.texts, ...shape.vectors].every(({ state }) => state === "ready");
  if (isComplete) return;
  // What served was dropped, as it could not be written to: without another there would be none.
  await rederive({
    store,
    requests,
    target: () => entry.records.target(),
    signal: run.stopping,
    report: run.report,
    phase: "taking back what was begun",
  });
  await store.completeShape();
}

/** @returns how many records keep what they had. */
async function renewRecords(options: ReindexOptions): Promise<bigint> {
  const { entry, requests, run } = options;
  const { store } = entry;
  const wanted = { ...wantedBy(entry.definition), anew: true };
  const work = {
    store,
    requests,
    target: () => entry.records.target(),
    signal: run.signal,
    report: run.report,
    phase: "deriving records",
  };
  await store.reshape(wanted);
  try {
    return await rederive(work);
  } catch (error) {
    const isDamaged = error instanceof CollectorError && error.reason === "STORAGE_CORRUPT";
    if (!isDamaged || wanted.text === undefined) throw error;
  }
  run.report({ phase: "dropping a damaged text index" });
  await store.reshape({ ...wanted, text: undefined });
  await store.reshape(wanted);
  return await rederive(work);
}
