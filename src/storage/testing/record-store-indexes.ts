import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { WriteStep } from "../record-store.ts";
import {
  createStep,
  type OpenHarness,
  people,
  peopleLayout,
  updateStep,
} from "./engine-harness.ts";

/** What every engine must do while it builds and drops indexes. */
export function describeRecordStoreIndexes(engineName: string, open: OpenHarness): void {
  describe(`RecordStore on ${engineName}: indexes`, () => {
    it("adds an index while writes go on, and drops it", async () => {
      await using harness = await open();
      await harness.engine.create(people, peopleLayout);
      const store = harness.engine.store(people);
      const steps = Array.from({ length: 1000 }, (_, number) =>
        createStep(`${number}`, { number }),
      );
      await store.write({ steps });
      const progress: bigint[] = [];
      const built = store.addIndex(
        { path: "number" },
        { onProgress: (at) => progress.push(at.done) },
      );
      const joined = store.addIndex({ path: "number" });
      for (let number = 0; number < 50; number++) {
        await store.write({ steps: [updateStep(`${number * 20}`, { number: -number })] });
      }
      await Promise.all([built, joined]);
      assert.deepEqual((await store.stats()).indexes, [
        { path: "age", state: "ready" },
        { path: "number", state: "ready" },
      ]);
      assert(progress.length > 0);
      await store.addIndex({ path: "number" });
      await store.dropIndex("number");
      await store.dropIndex("number");
      assert.deepEqual((await store.stats()).indexes, [{ path: "age", state: "ready" }]);
    });

    it("builds an index and changes the shape though there are writes all the time", async () => {
      await using harness = await open();
      await harness.engine.create(people, peopleLayout);
      const store = harness.engine.store(people);
      const numbers = Array.from({ length: 1000 }, (_, number) => number);
      await store.write({ steps: numbers.map((number) => createStep(`${number}`, { number })) });
      const work = { isDone: false };
      const writers = numbers.slice(0, 64).map(async (number) => {
        for (let write = 0; write < 500 && !work.isDone; write++) {
          const steps: WriteStep[] = [
            { kind: "update", id: `${number}`, content: undefined, labels: { write: `${write}` } },
          ];
          await store.write({ steps });
        }
        return work.isDone;
      });
      await store.addIndex({ path: "number" });
      await store.reshape({ text: undefined, vectors: [] });
      work.isDone = true;
      assert(
        (await Promise.all(writers)).every((wasDone) => wasDone),
        "only after the writes",
      );
    });

    it("builds an index anew while it serves and writes go on", async () => {
      await using harness = await open();
      await harness.engine.create(people, peopleLayout);
      const store = harness.engine.store(people);
      const ages = Array.from({ length: 1000 }, (_, age) => age);
      await store.write({ steps: ages.map((age) => createStep(`${age}`, { age })) });
      const oldest = async (): Promise<string | undefined> => {
        const source = {
          kind: "field",
          steps: [{ kind: "member", name: "age" }],
          index: "age",
        } as const;
        const { records } = await store.list({ limit: 1, order: [{ source, descending: true }] });
        return records[0]?.id;
      };
      const work = { isDone: false };
      const rebuilt = store.rebuildIndex({ path: "age" }).finally(() => {
        work.isDone = true;
      });
      for (let age = 1000; !work.isDone || age < 1010; age++) {
        await store.write({ steps: [createStep(`${age}`, { age })] });
        assert.equal(await oldest(), `${age}`);
        assert.deepEqual((await store.stats()).indexes, [{ path: "age", state: "ready" }]);
      }
      await rebuilt;
      await store.dropRebuild("age");
      await store.rebuildIndex({ path: "number" });
      assert.deepEqual((await store.stats()).indexes, [
        { path: "age", state: "ready" },
        { path: "number", state: "ready" },
      ]);
    });

    it("goes on with an index that is built anew, or gives it up and serves on", async () => {
      await using harness = await open();
      await harness.engine.create(people, peopleLayout);
      const store = harness.engine.store(people);
      for (let from = 0; from < 20_000; from += 1000) {
        const ids = Array.from({ length: 1000 }, (_, age) => from + age);
        await store.write({ steps: ids.map((age) => createStep(`${age}`, { age })) });
      }
      const abort = new AbortController();
      const stopped = store.rebuildIndex(
        { path: "age" },
        { signal: abort.signal, onProgress: () => abort.abort() },
      );
      await assert.rejects(stopped, { reason: "CANCELLED" });
      await harness.reopen();
      const again = harness.engine.store(people);
      const ready = [{ path: "age", state: "ready" }];
      assert.deepEqual((await again.stats()).indexes, ready);
      let first: bigint | undefined;
      await again.rebuildIndex({ path: "age" }, { onProgress: ({ done }) => (first ??= done) });
      assert((first ?? 0n) > 256n, "it went on where it had stopped");
      await again.dropRebuild("age");
      assert.deepEqual((await again.stats()).indexes, ready);
    });

    it("leaves an index half-built when it is told to stop, and goes on later", async () => {
      await using harness = await open();
      await harness.engine.create(people, peopleLayout);
      const store = harness.engine.store(people);
      for (let from = 0; from < 20_000; from += 1000) {
        const ids = Array.from({ length: 1000 }, (_, number) => from + number);
        await store.write({ steps: ids.map((number) => createStep(`${number}`, { number })) });
      }
      const abort = new AbortController();
      const stopped = store.addIndex(
        { path: "number" },
        { signal: abort.signal, onProgress: () => abort.abort() },
      );
      await assert.rejects(stopped, { reason: "CANCELLED" });
      assert.deepEqual((await store.stats()).indexes.at(1), { path: "number", state: "building" });
      await harness.reopen();
      const again = harness.engine.store(people);
      assert.deepEqual((await again.stats()).indexes.at(1), { path: "number", state: "building" });
      let first: bigint | undefined;
      await again.addIndex({ path: "number" }, { onProgress: ({ done }) => (first ??= done) });
      assert((first ?? 0n) > 256n, "it went on where it had stopped");
      assert.deepEqual((await again.stats()).indexes.at(1), { path: "number", state: "ready" });
    });
  });
}
