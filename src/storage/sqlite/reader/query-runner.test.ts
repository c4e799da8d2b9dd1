import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Worker } from "node:worker_threads";
import { createStep, people, peopleLayout } from "../../testing/engine-harness.ts";
import { openSqliteHarness, type SqliteHarness } from "../../testing/sqlite-harness.ts";
import type { ReaderQuery } from "./queries.ts";
import { QueryRunner } from "./query-runner.ts";

const key = join("people", "1");

async function openFilled(): Promise<SqliteHarness> {
  const harness = await openSqliteHarness();
  await harness.engine.create(people, peopleLayout);
  const steps = Array.from({ length: 500 }, (_, number) =>
    createStep(`${number}`, { name: "same" }),
  );
  await harness.engine.store(people).write({ steps });
  return harness;
}

function newRunner({ dataFolder }: SqliteHarness): {
  runner: QueryRunner;
  cancelled: Int32Array;
} {
  const cancelled = new Int32Array(new SharedArrayBuffer(4));
  const storesFolder = join(dataFolder, "stores");
  const options = { storesFolder, handlesMax: 2, cancelled: cancelled.buffer };
  return { runner: new QueryRunner(options), cancelled };
}

const budgetMs = 60_000;
const storeKey = key;

const queries: readonly ReaderQuery[] = [
  {
    kind: "list",
    where: undefined,
    order: [],
    limit: 10,
    after: undefined,
    nowUs: 0n,
    bytesMax: 1e6,
    countMs: 100,
  },
  {
    kind: "search",
    query: {
      text: { kind: "term", text: "same", prefix: false, field: undefined },
      limit: 10,
      offset: 0,
    },
    nowUs: 0n,
    bytesMax: 1e6,
    countMs: 100,
  },
  { kind: "changes", revision: 0n, limit: 10, bytesMax: 1e6 },
];

describe("QueryRunner", () => {
  it("stops any query at the first row it looks at once it is told to, or its time is over", async () => {
    await using harness = await openFilled();
    const { runner, cancelled } = newRunner(harness);
    for (const query of queries) {
      Atomics.store(cancelled, 0, 7);
      assert.throws(() => runner.run({ call: 7, storeKey, query, budgetMs }), {
        reason: "CANCELLED",
      });
      assert.throws(() => runner.run({ call: 8, storeKey, query, budgetMs: -1 }), {
        reason: "QUERY_TIMEOUT",
      });
      assert.equal(runner.run({ call: 8, storeKey, query, budgetMs }).kind, query.kind);
    }
    runner.release(key);
  });

  it("notices from another thread, in the middle of its work", async () => {
    await using harness = await openFilled();
    const { runner, cancelled } = newRunner(harness);
    const source = `
      const { workerData } = require("node:worker_threads");
      setTimeout(() => Atomics.store(workerData, 0, 7), 20);
    `;
    const other = new Worker(source, { eval: true, workerData: cancelled });
    assert.throws(
      () => {
        for (;;) for (const query of queries) runner.run({ call: 7, storeKey, query, budgetMs });
      },
      { reason: "CANCELLED" },
    );
    runner.release(key);
    await other.terminate();
  });
});
