import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Worker } from "node:worker_threads";
import { createStep, people, peopleLayout } from "../../testing/engine-harness.ts";
import { openSqliteHarness, type SqliteHarness } from "../../testing/sqlite-harness.ts";
import { stopFlag } from "./messages.ts";
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

function newRunner({ dataFolder }: SqliteHarness): { runner: QueryRunner; stop: Int32Array } {
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const storesFolder = join(dataFolder, "stores");
  return { runner: new QueryRunner({ storesFolder, handlesMax: 2, stop: stop.buffer }), stop };
}

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
  it("stops any query at the first row it looks at once it is told to", async () => {
    await using harness = await openFilled();
    const { runner, stop } = newRunner(harness);
    for (const query of queries) {
      Atomics.store(stop, 0, stopFlag.cancelled);
      assert.throws(() => runner.run(key, query), { reason: "CANCELLED" });
      Atomics.store(stop, 0, stopFlag.timedOut);
      assert.throws(() => runner.run(key, query), { reason: "QUERY_TIMEOUT" });
      Atomics.store(stop, 0, stopFlag.run);
      assert.equal(runner.run(key, query).kind, query.kind);
    }
    runner.release(key);
  });

  it("notices from another thread, in the middle of its work", async () => {
    await using harness = await openFilled();
    const { runner, stop } = newRunner(harness);
    const source = `
      const { workerData } = require("node:worker_threads");
      setTimeout(() => Atomics.store(workerData, 0, ${stopFlag.cancelled}), 20);
    `;
    const other = new Worker(source, { eval: true, workerData: stop });
    assert.throws(
      () => {
        for (;;) for (const query of queries) runner.run(key, query);
      },
      { reason: "CANCELLED" },
    );
    runner.release(key);
    await other.terminate();
  });
});
