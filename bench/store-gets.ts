import { defaultLimits } from "../src/lib/limits.ts";
import type { RecordStore } from "../src/storage/record-store.ts";
import { SqliteEngine } from "../src/storage/sqlite/sqlite-engine.ts";
import { Random } from "../test/support/random.ts";
import { median } from "./harness.ts";
import { recordId } from "./load/sources.ts";

/**
 * Reads random records of prepared collections at the storage interface, in turns.
 *
 * @param dataFolder of a server that has ended.
 * @param sizes how many records were prepared in each of the collections.
 * @returns µs for one get from each.
 */
export async function storeGets(
  dataFolder: string,
  sizes: readonly number[],
  quick: boolean,
): Promise<readonly number[]> {
  await using engine = await SqliteEngine.open({ dataFolder, limits: defaultLimits });
  const stores = await Promise.all(sizes.map((size) => storeWith(engine, size)));
  const random = new Random(2);
  const times: number[][] = sizes.map(() => []);
  for (let round = 0; round < (quick ? 2 : 11); round += 1) {
    for (const [index, store] of stores.entries()) {
      times[index]?.push(await usPerGet(store, sizes[index] ?? 1, random, quick ? 100 : 20_000));
    }
  }
  return times.map(median);
}

/** The smallest store with at least so many records: benchmarks add some to what they prepared. */
async function storeWith(engine: SqliteEngine, records: number): Promise<RecordStore> {
  const found: { readonly store: RecordStore; readonly count: bigint }[] = [];
  for (const location of await engine.list()) {
    const store = engine.store(location);
    const { recordCount } = await store.stats();
    if (recordCount >= records) found.push({ store, count: recordCount });
  }
  const smallest = found.sort((a, b) => Number(a.count - b.count))[0];
  if (smallest === undefined) throw new Error(`no collection has ${records} records`);
  return smallest.store;
}

async function usPerGet(
  store: RecordStore,
  records: number,
  random: Random,
  gets: number,
): Promise<number> {
  const begin = performance.now();
  for (let get = 0; get < gets; get += 1) {
    const [record] = await store.get([recordId(random.below(records))]);
    if (record === undefined) throw new Error("a prepared record is missing");
  }
  return ((performance.now() - begin) * 1000) / gets;
}
