import { rm } from "node:fs/promises";
import { join } from "node:path";
import { defaultLimits } from "../../src/lib/limits.ts";
import type { RecordStore } from "../../src/storage/record-store.ts";
import { SqliteEngine } from "../../src/storage/sqlite/sqlite-engine.ts";
import type { StoreLayout } from "../../src/storage/store-layout.ts";
import { contentOf, peopleLayout } from "../../src/storage/testing/engine-harness.ts";
import { Random } from "../../test/support/random.ts";
import { tempFolder } from "../../test/support/temp-folder.ts";
import { median } from "../harness.ts";
import { recordId } from "../load/sources.ts";

/** What is written to the disk later would say how the disk is, not whether a writer had to wait. */
const layout: StoreLayout = { ...peopleLayout, durability: "relaxed" };

const fillBatch = 500;

export interface SnapshotTimes {
  /** The first one, with the start of its process. */
  readonly firstMs: number;
  /** The middle of those that follow. */
  readonly ms: number;
  readonly sizeBytes: bigint;
  /** Longest wait of a write, one at a time, with no snapshot. */
  readonly worstWriteAloneMs: number;
  /** The same while snapshots are taken back to back, and how many writes there were. */
  readonly worstWriteMs: number;
  readonly writes: number;
}

/** Takes snapshots at the storage interface, with no server. Records have about 1 kB. */
export async function storeSnapshots(records: number, quick: boolean): Promise<SnapshotTimes> {
  await using folder = await tempFolder("snapshots");
  await using engine = await SqliteEngine.open({
    dataFolder: folder.path,
    limits: defaultLimits,
  });
  const location = { storeId: "people", generation: 1n };
  await engine.create(location, layout);
  const store = engine.store(location);
  await fill(store, records);
  const path = join(folder.path, "snapshot");
  let sizeBytes = 0n;
  const take = async (): Promise<number> => {
    const begin = performance.now();
    await using snapshot = await store.snapshot({ path, files: true, isTransient: true });
    const tookMs = performance.now() - begin;
    sizeBytes = snapshot.dataBytes;
    await rm(path);
    return tookMs;
  };
  const firstMs = await take();
  const times: number[] = [];
  for (let round = 0; round < (quick ? 2 : 15); round += 1) times.push(await take());

  const writeMs = quick ? 50 : 3_000;
  await writeFor(store, records, writeMs);
  const alone = await writeFor(store, records, writeMs);
  const over = new AbortController();
  const snapshots = (async () => {
    while (!over.signal.aborted) await take();
  })();
  const during = await writeFor(store, records, writeMs);
  over.abort();
  await snapshots;
  return {
    firstMs,
    ms: median(times),
    sizeBytes,
    worstWriteAloneMs: Math.max(...alone),
    worstWriteMs: Math.max(...during),
    writes: during.length,
  };
}

async function fill(store: RecordStore, records: number): Promise<void> {
  const data = new Uint8Array(600);
  for (let next = 0; next < records; next += fillBatch) {
    const steps = Array.from({ length: Math.min(fillBatch, records - next) }, (_, index) => ({
      kind: "create" as const,
      id: recordId(next + index),
      content: contentOf({ name: `name ${next + index}`, age: next + index }, { data }),
      labels: {},
    }));
    await store.write({ steps });
  }
}

/** One write after the other. @returns how long each took, in ms */
async function writeFor(store: RecordStore, records: number, ms: number): Promise<number[]> {
  const random = new Random(3);
  const times: number[] = [];
  const end = performance.now() + ms;
  for (let begin = performance.now(); begin < end; begin = performance.now()) {
    const id = recordId(random.below(records));
    const labels = { written: String(times.length) };
    await store.write({ steps: [{ kind: "update", id, content: undefined, labels }] });
    times.push(performance.now() - begin);
  }
  return times;
}
