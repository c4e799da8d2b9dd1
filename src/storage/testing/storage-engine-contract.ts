import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { StoreLayout } from "../store-layout.ts";
import {
  contentOf,
  createStep,
  type OpenHarness,
  people,
  peopleLayout,
  peopleText,
  searchWords,
} from "./engine-harness.ts";

const noSearch: StoreLayout = { durability: "relaxed", text: undefined, vectors: [], indexes: [] };

/** What every engine must do with whole stores. */
export function describeStorageEngine(engineName: string, open: OpenHarness): void {
  describe(`StorageEngine on ${engineName}`, () => {
    it("makes, finds, lists and removes stores, each generation by itself", async () => {
      await using harness = await open();
      const { engine } = harness;
      const next = { ...people, generation: 2n };
      assert.equal(await engine.exists(people), false);
      assert.deepEqual(await engine.list(), []);
      await engine.create(people, peopleLayout);
      await engine.create(next, noSearch);
      assert.deepEqual(
        (await engine.list()).toSorted((a, b) => Number(a.generation - b.generation)),
        [people, next],
      );
      await engine.store(people).write({ steps: [createStep("a")] });
      assert.deepEqual(await engine.store(next).get(["a"]), [undefined]);
      await engine.drop(people);
      assert.deepEqual([await engine.exists(people), await engine.exists(next)], [false, true]);
      await engine.drop(people);
      await engine.drop(next);
      assert.deepEqual(await engine.list(), []);
    });

    it("refuses to make a store twice and leaves the first as it is", async () => {
      await using harness = await open();
      const { engine } = harness;
      await engine.create(people, peopleLayout);
      await engine.store(people).write({ steps: [createStep("a")] });
      await assert.rejects(engine.create(people, peopleLayout), { reason: "COLLECTION_EXISTS" });
      assert.equal((await engine.store(people).stats()).recordCount, 1n);
    });

    it("finds everything again when it is opened anew", async () => {
      await using harness = await open();
      await harness.engine.create(people, peopleLayout);
      const before = harness.engine.store(people);
      await before.write({ steps: [createStep("a", { name: "Ada" }, { k: "v" })] });
      const [record] = await before.get(["a"]);
      const { incarnation } = await before.stats();
      await harness.reopen();
      const after = harness.engine.store(people);
      assert.deepEqual(await after.get(["a"]), [record]);
      const { sizeBytes, ...stats } = await after.stats();
      assert(sizeBytes > 0n);
      assert.deepEqual(stats, {
        recordCount: 1n,
        revision: 1n,
        incarnation,
        indexes: [{ path: "age", state: "ready" }],
        durability: "full",
        shape: { version: 1n, texts: [{ definition: peopleText, state: "ready" }], vectors: [] },
      });
    });

    it("refuses to search words in a store without text fields", async () => {
      await using harness = await open();
      await harness.engine.create(people, noSearch);
      const store = harness.engine.store(people);
      const content = contentOf({}, { texts: [] });
      await store.write({ steps: [{ kind: "create", id: "a", content, labels: {} }] });
      await assert.rejects(searchWords(store, ["a"]), { reason: "QUERY_INVALID" });
    });

    it("makes many stores at once, and serves more than it keeps open", async () => {
      await using harness = await open({ limits: { openStoresMax: 4 } });
      const { engine } = harness;
      const locations = Array.from({ length: 40 }, (_, number) => ({
        storeId: `store-${number}`,
        generation: 1n,
      }));
      await Promise.all(locations.map((location) => engine.create(location, peopleLayout)));
      for (let round = 0; round < 2; round++) {
        await Promise.all(
          locations.map((location, number) =>
            engine.store(location).write({ steps: [createStep(`r${round}-${number}`)] }),
          ),
        );
      }
      for (const [number, location] of locations.entries()) {
        const [record] = await engine.store(location).get([`r1-${number}`]);
        assert.equal(record?.version, 2n);
      }
    });

    it("finishes what it has taken when it closes, and then refuses", async () => {
      await using harness = await open();
      const { engine } = harness;
      await engine.create(people, peopleLayout);
      const store = engine.store(people);
      const writes = Array.from({ length: 300 }, (_, number) =>
        store.write({ steps: [createStep(`${number}`)] }),
      );
      await engine.close();
      await Promise.all(writes);
      const refused = { reason: "SHUTTING_DOWN" };
      await assert.rejects(store.write({ steps: [createStep("late")] }), refused);
      await assert.rejects(store.get(["0"]), refused);
      await assert.rejects(store.list({ limit: 1 }), refused);
      await assert.rejects(engine.create(people, peopleLayout), refused);
      await assert.rejects(engine.store(people).get(["0"]), refused);
      await harness.reopen();
      assert.equal((await harness.engine.store(people).stats()).recordCount, 300n);
    });

    it("refuses the store that was dropped to whoever still holds it", async () => {
      await using harness = await open();
      const { engine } = harness;
      await engine.create(people, peopleLayout);
      const store = engine.store(people);
      const written = store.write({ steps: [createStep("a")] });
      await engine.drop(people);
      await written;
      await assert.rejects(store.get(["a"]), { reason: "COLLECTION_NOT_FOUND" });
      await assert.rejects(store.write({ steps: [createStep("b")] }), {
        reason: "COLLECTION_NOT_FOUND",
      });
    });

    it("refuses more waiting writes than its bound", async () => {
      await using harness = await open({ limits: { writeQueueMax: 10 } });
      await harness.engine.create(people, peopleLayout);
      const store = harness.engine.store(people);
      const results = await Promise.allSettled(
        Array.from({ length: 15 }, (_, number) =>
          store.write({ steps: [createStep(`${number}`)] }),
        ),
      );
      const refused = results.filter(({ status }) => status === "rejected");
      assert.equal(refused.length, 5);
      for (const result of refused) {
        assert(result.status === "rejected");
        assert.equal(result.reason.reason, "OVERLOADED");
        assert(result.reason.retryAfterMs > 0);
      }
    });
  });
}
