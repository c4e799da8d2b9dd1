import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { countCap } from "../record-query.ts";
import {
  allOf,
  contentOf,
  createStep,
  idsWith,
  ManualClock,
  type OpenHarness,
  openPeople,
  people,
  peopleLayout,
  searchWords,
  updateStep,
} from "./engine-harness.ts";

/** What every engine must do with reads. */
export function describeRecordStoreReads(engineName: string, open: OpenHarness): void {
  describe(`RecordStore on ${engineName}: reads`, () => {
    it("lists in order of creation, page by page, whatever is updated or deleted meanwhile", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      const ids = Array.from({ length: 25 }, (_, number) => `id-${(number * 7) % 25}`);
      for (const id of ids) await store.write({ steps: [createStep(id)] });
      const seen: string[] = [];
      let after: string | undefined;
      do {
        const page = await store.list({ limit: 10, after });
        seen.push(...page.records.map(({ id }) => id));
        after = page.next;
        if (seen.length === 10) {
          await store.write({
            steps: [updateStep(ids[2] ?? "", {}), { kind: "delete", id: ids[24] ?? "" }],
          });
          await store.write({ steps: [createStep("last")] });
        }
      } while (after !== undefined);
      assert.deepEqual(seen, [...ids.slice(0, 24), "last"]);
      assert.equal((await store.list({ limit: 1 })).totalCount, 25n);
    });

    it("refuses a page token that is not its own", async () => {
      await using harness = await open();
      const other = { storeId: "other", generation: 1n };
      await harness.engine.create(people, peopleLayout);
      await harness.engine.create(other, peopleLayout);
      const store = harness.engine.store(people);
      await store.write({ steps: [createStep("a"), createStep("b")] });
      const { next } = await store.list({ limit: 1 });
      assert.notEqual(next, undefined);
      for (const after of ["", "x", "1.'", `${next}0`]) {
        await assert.rejects(store.list({ limit: 1, after }), { reason: "PAGE_TOKEN_INVALID" });
      }
      const elsewhere = harness.engine.store(other).list({ limit: 1, after: next });
      await assert.rejects(elsewhere, { reason: "PAGE_TOKEN_INVALID" });
    });

    it("cuts a page that would get too big for a message", async () => {
      await using opened = await openPeople(open, { limits: { messageBytesMax: 64 * 1024 } });
      const { store } = opened;
      const content = contentOf({}, { data: new Uint8Array(20_000) });
      const ids = ["a", "b", "c", "d"];
      await store.write({ steps: ids.map((id) => ({ kind: "create", id, content, labels: {} })) });
      const page = await store.list({ limit: 10 });
      assert.equal(page.records.length, 1);
      assert.notEqual(page.next, undefined);
    });

    it("finds records that hold all the words, in any field, ignoring case and accents", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      await store.write({
        steps: [
          createStep("a", { name: "José Müller", notes: "likes tea and toast" }),
          createStep("b", { name: "Anna", notes: "tea, tea, tea" }),
          createStep("c", { name: "Tea Toast" }),
        ],
      });
      const found = (...words: string[]): Promise<string[]> => idsWith(store, ...words);
      assert.deepEqual(await found("JOSE", "toast"), ["a"]);
      assert.deepEqual(await found("tea"), ["a", "b", "c"]);
      assert.deepEqual(await found("tea", "toast"), ["a", "c"]);
      assert.deepEqual(await found("tea", "coffee"), []);
      const ranked = await searchWords(store, ["tea"]);
      const scores = ranked.hits.map(({ score }) => score);
      assert.deepEqual(
        scores,
        scores.toSorted((x, y) => y - x),
      );
      const rest = await searchWords(store, ["tea"], { offset: 2 });
      assert.deepEqual(rest.hits, ranked.hits.slice(2));
      assert.deepEqual([rest.totalCount, rest.totalCapped], [3n, false]);
    });

    it("takes every word literally", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      await store.write({ steps: [createStep("a", { name: "and the NOT near (either) or a*" })] });
      const count = async (...words: string[]): Promise<bigint> =>
        (await searchWords(store, words, { limit: 1 })).totalCount;
      for (const word of [
        "AND",
        "not",
        "NEAR(",
        "(either)",
        "a*",
        "OR",
        '"or"',
        "the\0",
        "^and -the",
      ]) {
        assert.equal(await count(word), 1n, word);
      }
      for (const word of ["eithe*", "name:and", "t_name : and", '""', "*", "(((("]) {
        assert.equal(await count(word), 0n, word);
      }
      assert.equal(await count("the", "***", "(("), 1n);
    });

    it("orders equal scores by creation, and caps the count", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      const total = countCap + 50;
      for (let from = 0; from < total; from += 1000) {
        const size = Math.min(1000, total - from);
        const steps = Array.from({ length: size }, (_, number) =>
          createStep(`id-${from + number}`, { name: "same" }),
        );
        await store.write({ steps });
      }
      const result = await searchWords(store, ["same"], { limit: 3, offset: 1000 });
      assert.deepEqual([result.totalCount, result.totalCapped], [BigInt(countCap), true]);
      assert.deepEqual(
        result.hits.map(({ record }) => record.id),
        ["id-1000", "id-1001", "id-1002"],
      );
    });

    it("tells what changed after a revision, each record once, deletes included", async () => {
      const clock = new ManualClock();
      await using opened = await openPeople(open, { clock });
      const { store } = opened;
      await store.write({ steps: [createStep("a"), createStep("b"), createStep("c")] });
      await store.write({ steps: [updateStep("a", {}), { kind: "delete", id: "b" }] });
      await store.write({ steps: [{ kind: "delete", id: "c" }, createStep("c")] });
      const atUs = clock.nowUs();
      const { changes, ...all } = await store.changes(0n, 100);
      assert.deepEqual(
        changes.map(({ revision, id, kind, atUs }) => ({ revision, id, kind, atUs })),
        [
          { revision: 4n, id: "a", kind: "written", atUs },
          { revision: 5n, id: "b", kind: "deleted", atUs },
          { revision: 7n, id: "c", kind: "written", atUs },
        ],
      );
      assert.deepEqual(all, { more: false, revision: 7n, horizon: 0n });
      assert.deepEqual((await store.changes(4n, 1)).changes, changes.slice(1, 2));
      assert.deepEqual((await store.changes(7n, 10)).changes, []);
    });

    it("keeps so many tombstones and moves the horizon past the rest", async () => {
      await using opened = await openPeople(open, { limits: { tombstonesMax: 3 } });
      const { store } = opened;
      const ids = ["a", "b", "c", "d", "e"];
      await store.write({ steps: ids.map((id) => createStep(id)) });
      for (const id of ids) await store.write({ steps: [{ kind: "delete", id }] });
      const { changes, horizon } = await store.changes(0n, 100);
      assert.deepEqual(
        changes.map(({ id }) => id),
        ["c", "d", "e"],
      );
      assert.equal(horizon, 7n);
    });

    it("stops for a signal that has fired", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      const signal = AbortSignal.abort();
      await assert.rejects(store.list({ limit: 1 }, { signal }), { reason: "CANCELLED" });
      const search = store.search({ text: allOf(["a"]), limit: 1, offset: 0 }, { signal });
      await assert.rejects(search, { reason: "CANCELLED" });
      await assert.rejects(store.changes(0n, 1, { signal }), { reason: "CANCELLED" });
    });
  });
}
