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
  /** The longest wait of a write during each snapshot: the middle of those, and how many snapshots there were. */
  readonly longestWriteMs: number;
  readonly snapshots: number;
}

/** When something was done, by this process's clock. */
interface Span {
  readonly beginMs: number;
  readonly endMs: number;
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
  const take = async (): Promise<Span> => {
    const beginMs = performance.now();
    await using snapshot = await store.snapshot({ path, files: true, isTransient: true });
    const endMs = performance.now();
    sizeBytes = snapshot.dataBytes;
    await rm(path);
    return { beginMs, endMs };
  };
  const firstMs = lengthOf(await take());
  const times: number[] = [];
  for (let round = 0; round < (quick ? 2 : 15); round += 1) times.push(lengthOf(await take()));

  const writeMs = quick ? 50 : 3_000;
  await writeFor(store, records, writeMs);
  const alone = await writeFor(store, records, writeMs);
  const over = new AbortController();
  const snapshots: Span[] = [];
  const taking = (async () => {
    while (!over.signal.aborted) snapshots.push(await take());
  })();
  const during = await writeFor(store, records, writeMs);
  over.abort();
  await taking;
  return {
    firstMs,
    ms: median(times),
    sizeBytes,
    worstWriteAloneMs: Math.max(...alone.map(lengthOf)),
    worstWriteMs: Math.max(...during.map(lengthOf)),
    writes: during.length,
    longestWriteMs: median(longestDuring(snapshots, during)),
    snapshots: snapshots.length,
  };
}

/** Of the writes during each of the snapshots the longest, in ms; both are in the order of time. */
function longestDuring(snapshots: readonly Span[], writes: readonly Span[]): number[] {
  let first = 0;
  return snapshots.flatMap(({ beginMs, endMs }) => {
    while (first < writes.length && (writes[first]?.endMs ?? 0) < beginMs) first += 1;
    let longest = 0;
    for (let at = first; at < writes.length && (writes[at]?.beginMs ?? 0) < endMs; at += 1) {
      const write = writes[at];
      if (write !== undefined) longest = Math.max(longest, lengthOf(write));
    }
    return longest > 0 ? [longest] : [];
  });
}

function lengthOf({ beginMs, endMs }: Span): number {
  return endMs - beginMs;
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

/** One write after the other. */
async function writeFor(store: RecordStore, records: number, ms: number): Promise<Span[]> {
  const random = new Random(3);
  const spans: Span[] = [];
  const end = performance.now() + ms;
  for (let beginMs = performance.now(); beginMs < end; beginMs = performance.now()) {
    const id = recordId(random.below(records));
    const labels = { written: String(spans.length) };
    await store.write({ steps: [{ kind: "update", id, content: undefined, labels }] });
    spans.push({ beginMs, endMs: performance.now() });
  }
  return spans;
}
