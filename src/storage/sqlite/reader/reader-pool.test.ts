import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { defaultLimits, type Limits } from "../../../lib/limits.ts";
import { silentLog } from "../../../lib/log.ts";
import { contentOf, createStep, people, peopleLayout } from "../../testing/engine-harness.ts";
import { openSqliteHarness } from "../../testing/sqlite-harness.ts";
import type { ListRequest } from "../query/list.ts";
import { ReaderPool } from "./reader-pool.ts";

const key = join("people", "1");
const list: ListRequest = {
  kind: "list",
  where: undefined,
  order: [],
  limit: 10,
  after: undefined,
  nowUs: 0n,
  bytesMax: 1e6,
  countMs: 100,
};

interface OpenedPool extends AsyncDisposable {
  readonly pool: ReaderPool;
}

async function openPool(limits: Partial<Limits>): Promise<OpenedPool> {
  const harness = await openSqliteHarness();
  await harness.engine.create(people, peopleLayout);
  await harness.engine.store(people).write({ steps: [createStep("a"), createStep("b")] });
  const storesFolder = join(harness.dataFolder, "stores");
  const pool = new ReaderPool({
    storesFolder,
    limits: { ...defaultLimits, ...limits },
    log: silentLog,
  });
  return {
    pool,
    async [Symbol.asyncDispose]() {
      await pool.close();
      await harness[Symbol.asyncDispose]();
    },
  };
}

/** Holds the pool's only reader, as a query that never comes to a row would. */
function freeze(pool: ReaderPool): number {
  const [pid] = pool.pids;
  assert(pid !== undefined);
  process.kill(pid, "SIGSTOP");
  return pid;
}

describe("ReaderPool", () => {
  it("kills a reader that does not stop after its budget, and goes on with another", async () => {
    await using opened = await openPool({ readersMax: 1 });
    const { pool } = opened;
    await pool.run(key, list);
    const pid = freeze(pool);
    const stuck = pool.run(key, list, { budgetMs: 20 });
    const behind = pool.run(key, list);
    await assert.rejects(stuck, { reason: "QUERY_TIMEOUT" });
    assert.equal((await behind).totalCount, 2n);
    assert.equal(pool.pids.includes(pid), false);
  });

  it("answers a caller that hangs up at once, and frees the reader", async () => {
    await using opened = await openPool({ readersMax: 1 });
    const { pool } = opened;
    await pool.run(key, list);
    freeze(pool);
    const running = new AbortController();
    const queued = new AbortController();
    const first = pool.run(key, list, { signal: running.signal });
    const second = pool.run(key, list, { signal: queued.signal });
    const third = pool.run(key, list);
    queued.abort();
    await assert.rejects(second, { reason: "CANCELLED" });
    running.abort();
    await assert.rejects(first, { reason: "CANCELLED" });
    assert.equal((await third).totalCount, 2n);
  });

  it("runs a query again whose reader was killed under it", async () => {
    await using opened = await openPool({ readersMax: 2 });
    const { pool } = opened;
    await Promise.all([pool.run(key, list), pool.run(key, list)]);
    const queries = Array.from({ length: 50 }, () => pool.run(key, list));
    for (const pid of pool.pids) process.kill(pid, "SIGKILL");
    const results = await Promise.all(queries);
    assert(results.every(({ totalCount }) => totalCount === 2n));
  });

  it("refuses more waiting queries than its bound, with a time to retry", async () => {
    await using opened = await openPool({ readersMax: 1, readQueueMax: 3 });
    const { pool } = opened;
    await pool.run(key, list);
    await setImmediate();
    const results = await Promise.allSettled(Array.from({ length: 6 }, () => pool.run(key, list)));
    const refused = results.flatMap((result) =>
      result.status === "rejected" ? [result.reason] : [],
    );
    assert.deepEqual(
      refused.map(({ reason, retryAfterMs }) => [reason, retryAfterMs]),
      Array.from({ length: refused.length }, () => ["OVERLOADED", 200]),
    );
    assert.equal(refused.length, 2);
  });

  it("says STORAGE_CORRUPT or STORAGE_UNAVAILABLE of that store alone", async () => {
    await using opened = await openPool({ readersMax: 1 });
    const { pool } = opened;
    await assert.rejects(pool.run(join("nowhere", "1"), list), { reason: "STORAGE_UNAVAILABLE" });
    assert.equal((await pool.run(key, list)).totalCount, 2n);
  });

  it("leaves no process behind", async () => {
    let pids: readonly number[];
    {
      await using opened = await openPool({ readersMax: 2 });
      await Promise.all([opened.pool.run(key, list), opened.pool.run(key, list)]);
      ({ pids } = opened.pool);
      assert.equal(pids.length, 2);
    }
    for (const pid of pids) assert.throws(() => process.kill(pid, 0), { code: "ESRCH" });
  });

  it("ends whatever an allowed query does, by its rows or with its process", async () => {
    await using harness = await openSqliteHarness({ limits: { readersMax: 1 } });
    const location = { storeId: "heavy", generation: 1n };
    const layout = { durability: "relaxed", text: undefined, vectors: [], indexes: [] } as const;
    await harness.engine.create(location, layout);
    const store = harness.engine.store(location);
    // One record that takes SQLite a minute to look at, and many that take it a moment each.
    for (const [id, count, items] of [["one", 1, 300_000] as const, ["many", 300, 1000] as const]) {
      const list = Array.from({ length: items }, (_, at) => `item ${at}`);
      const content = contentOf({ list }, { texts: [], data: new Uint8Array(0) });
      const steps = Array.from({ length: count }, (_, at) => ({
        kind: "create" as const,
        id: `${id} ${at}`,
        content,
        labels: {},
      }));
      await store.write({ steps });
    }
    const steps = [{ kind: "member", name: "list" } as const, { kind: "items" } as const];
    const source = { kind: "field", steps, index: undefined } as const;
    const searched = Array.from({ length: 200 }, (_, at) => ({
      kind: "substring" as const,
      source,
      text: `not there ${at}`,
    }));
    const where = { kind: "or", conditions: searched } as const;
    const id = { kind: "meta", name: "id" } as const;
    const beginsWith = (text: string) => ({ kind: "prefix", source: id, text }) as const;
    for (const text of ["one", "many"]) {
      for (const order of [[], [{ source, descending: true }]]) {
        const all = { kind: "and", conditions: [beginsWith(text), where] } as const;
        const stopped = { reason: "QUERY_TIMEOUT" };
        for (const budgetMs of [50, 100]) {
          await assert.rejects(store.list({ where: all, order, limit: 10 }, { budgetMs }), stopped);
        }
        assert.equal((await store.list({ limit: 10 })).totalCount, 301n);
      }
    }
  });
});
