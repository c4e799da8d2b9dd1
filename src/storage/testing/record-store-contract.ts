import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { countCap, type RecordStore } from "../record-store.ts";
import {
  contentOf,
  createStep,
  type HarnessOptions,
  ManualClock,
  type OpenHarness,
  people,
  peopleLayout,
  updateStep,
} from "./engine-harness.ts";
import { describeRecordStoreIndexes } from "./record-store-indexes.ts";
import { describeRecordStoreModel } from "./record-store-model.ts";
import { describeStorageEngine } from "./storage-engine-contract.ts";

interface OpenedStore extends AsyncDisposable {
  readonly store: RecordStore;
}

/** What every engine must do, the SQLite engine and whichever comes after it. */
export function describeRecordStore(engineName: string, open: OpenHarness): void {
  const openPeople = async (options?: HarnessOptions): Promise<OpenedStore> => {
    const harness = await open(options);
    await harness.engine.create(people, peopleLayout);
    return {
      store: harness.engine.store(people),
      [Symbol.asyncDispose]: () => harness[Symbol.asyncDispose](),
    };
  };

  describe(`RecordStore on ${engineName}: writes`, () => {
    it("gives back what was created, byte for byte", async () => {
      const clock = new ManualClock();
      await using opened = await openPeople({ clock });
      const { store } = opened;
      const data = Uint8Array.from({ length: 256 }, (_, byte) => byte);
      const content = { data, document: '{"name":"Ada"}', texts: ["Ada", ""] };
      const labels = { team: "a", "naïve 'key'": 'q"uote', __proto__x: "\u0001" };
      const { outcomes, revision, replayed } = await store.write({
        steps: [{ kind: "create", id: "ada", content, labels }],
      });
      assert.deepEqual([revision, replayed], [1n, false]);
      const nowUs = clock.nowUs();
      const meta = { id: "ada", version: 1n, createdUs: nowUs, updatedUs: nowUs, labels };
      assert.deepEqual(outcomes, [{ ...meta, change: "created" }]);
      const [record, missing] = await store.get(["ada", "nobody"]);
      assert.equal(missing, undefined);
      assert.deepEqual(
        { ...record, data: [...(record?.data ?? [])] },
        { ...meta, data: [...data] },
      );
    });

    it("keeps empty bytes, and ids with whatever characters", async () => {
      await using opened = await openPeople();
      const { store } = opened;
      const ids = ["'; DROP TABLE record; --", '"', "%_", "Ünïcødé 🦉", "a/../b", "x".repeat(256)];
      const content = { data: new Uint8Array(0), document: "{}", texts: ["", ""] };
      await store.write({ steps: ids.map((id) => ({ kind: "create", id, content, labels: {} })) });
      const records = await store.get(ids);
      assert.deepEqual(
        records.map((record) => [record?.id, record?.data.byteLength]),
        ids.map((id) => [id, 0]),
      );
      const page = await store.list({ limit: 100 });
      assert.deepEqual(
        page.records.map(({ id }) => id),
        ids,
      );
    });

    it("refuses a second record with the same id, and does nothing of that write", async () => {
      await using opened = await openPeople();
      const { store } = opened;
      await store.write({ steps: [createStep("a", { name: "first" })] });
      await assert.rejects(store.write({ steps: [createStep("a", { name: "second" })] }), {
        reason: "RECORD_EXISTS",
        subject: { step: "0", id: "a" },
      });
      const steps = [createStep("b"), updateStep("a", { name: "third" }), createStep("a")];
      await assert.rejects(store.write({ steps }), {
        reason: "RECORD_EXISTS",
        subject: { step: "2", id: "a" },
      });
      const [a, b] = await store.get(["a", "b"]);
      assert.equal(Buffer.from(a?.data ?? []).toString(), '{"name":"first"}');
      assert.equal(b, undefined);
      assert.equal((await store.stats()).revision, 1n);
    });

    it("updates content, labels or both, each with a new version", async () => {
      const clock = new ManualClock();
      await using opened = await openPeople({ clock });
      const { store } = opened;
      await store.write({ steps: [createStep("a", { name: "one" }, { k: "1" })] });
      const createdUs = clock.nowUs();
      clock.advanceMs(5);
      const relabelled = await store.write({
        steps: [{ kind: "update", id: "a", content: undefined, labels: { k: "2" } }],
      });
      const expected = { id: "a", version: 2n, createdUs, updatedUs: clock.nowUs() };
      assert.deepEqual(relabelled.outcomes, [
        { ...expected, labels: { k: "2" }, change: "updated" },
      ]);
      const updated = await store.write({ steps: [updateStep("a", { name: "two" })] });
      assert.deepEqual(updated.outcomes, [
        { ...expected, version: 3n, labels: { k: "2" }, change: "updated" },
      ]);
      const [record] = await store.get(["a"]);
      assert.equal(Buffer.from(record?.data ?? []).toString(), '{"name":"two"}');
      assert.deepEqual(record?.labels, { k: "2" });
    });

    it("writes only to the version that was asked for", async () => {
      await using opened = await openPeople();
      const { store } = opened;
      await store.write({ steps: [createStep("a"), createStep("b")] });
      const subject = { step: "0", id: "b" };
      await assert.rejects(store.write({ steps: [updateStep("b", {}, 1n)] }), {
        reason: "VERSION_MISMATCH",
        subject,
      });
      await assert.rejects(store.write({ steps: [{ kind: "delete", id: "b", ifVersion: 9n }] }), {
        reason: "VERSION_MISMATCH",
        subject,
      });
      const { outcomes } = await store.write({ steps: [updateStep("b", { name: "x" }, 2n)] });
      assert.equal(outcomes[0]?.version, 3n);
    });

    it("tells a missing record, unless missing ones are allowed", async () => {
      await using opened = await openPeople();
      const { store } = opened;
      const notFound = { reason: "RECORD_NOT_FOUND", subject: { step: "0", id: "a" } };
      await assert.rejects(store.write({ steps: [updateStep("a", {})] }), notFound);
      await assert.rejects(store.write({ steps: [{ kind: "delete", id: "a" }] }), notFound);
      const gone = await store.write({ steps: [{ kind: "delete", id: "a", allowMissing: true }] });
      assert.deepEqual([gone.outcomes[0]?.change, gone.revision], ["none", 0n]);
      const content = contentOf({ name: "new" });
      const upsert = { kind: "update", id: "a", content, labels: undefined } as const;
      const made = await store.write({ steps: [{ ...upsert, allowMissing: true }] });
      assert.equal(made.outcomes[0]?.change, "created");
      const again = await store.write({ steps: [{ ...upsert, allowMissing: true }] });
      assert.equal(again.outcomes[0]?.change, "updated");
      await assert.rejects(
        store.write({ steps: [{ ...upsert, id: "b", allowMissing: true, ifVersion: 7n }] }),
        { reason: "VERSION_MISMATCH" },
      );
    });

    it("answers a delete with the record's last state", async () => {
      const clock = new ManualClock();
      await using opened = await openPeople({ clock });
      const { store } = opened;
      await store.write({ steps: [createStep("a", {}, { k: "v" })] });
      const nowUs = clock.nowUs();
      const { outcomes, revision } = await store.write({ steps: [{ kind: "delete", id: "a" }] });
      assert.deepEqual(outcomes, [
        {
          id: "a",
          version: 1n,
          createdUs: nowUs,
          updatedUs: nowUs,
          labels: { k: "v" },
          change: "deleted",
        },
      ]);
      assert.equal(revision, 2n);
      assert.deepEqual(await store.get(["a"]), [undefined]);
    });

    it("lets later steps see earlier ones, and counts a revision for each", async () => {
      await using opened = await openPeople();
      const { store } = opened;
      const { outcomes, revision } = await store.write({
        steps: [
          createStep("a", { name: "one" }),
          updateStep("a", { name: "two" }, 1n),
          { kind: "delete", id: "a", ifVersion: 2n },
          createStep("a", { name: "three" }),
          { kind: "delete", id: "b", allowMissing: true },
        ],
      });
      assert.deepEqual(
        outcomes.map(({ change, version }) => `${change} ${version}`),
        ["created 1", "updated 2", "deleted 2", "created 4", "none 0"],
      );
      assert.equal(revision, 4n);
      const [record] = await store.get(["a"]);
      assert.equal(record?.version, 4n);
      const { hits } = await store.searchText({ words: ["three"], limit: 10, offset: 0 });
      assert.equal(hits.length, 1);
      const { totalCount } = await store.searchText({ words: ["two"], limit: 10, offset: 0 });
      assert.equal(totalCount, 0n);
    });

    it("does not let a refused write harm the ones beside it", async () => {
      await using opened = await openPeople();
      const { store } = opened;
      await store.write({ steps: [createStep("taken")] });
      const writes = Array.from({ length: 200 }, (_, number) => {
        if (number % 3 === 1) return [createStep("taken")];
        if (number % 3 === 2) return [createStep(`half-${number}`), updateStep("nobody", {})];
        return [createStep(`good-${number}`, { age: number })];
      });
      const results = await Promise.allSettled(writes.map((steps) => store.write({ steps })));
      for (const [number, result] of results.entries()) {
        assert.equal(result.status, number % 3 === 0 ? "fulfilled" : "rejected");
      }
      assert.equal((await store.stats()).recordCount, 68n);
      assert.deepEqual(await store.get(["half-2", "half-5"]), [undefined, undefined]);
    });

    it("fails a write whose document is no JSON, and it alone", async () => {
      await using opened = await openPeople();
      const { store } = opened;
      const bad = { data: new Uint8Array(1), document: "{no", texts: ["", ""] };
      const results = await Promise.allSettled([
        store.write({ steps: [createStep("a")] }),
        store.write({
          steps: [createStep("b"), { kind: "create", id: "c", content: bad, labels: {} }],
        }),
        store.write({ steps: [createStep("d")] }),
      ]);
      assert.deepEqual(
        results.map(({ status }) => status),
        ["fulfilled", "rejected", "fulfilled"],
      );
      const { records, totalCount } = await store.list({ limit: 9 });
      assert.deepEqual(
        records.map(({ id, version }) => [id, version]),
        [
          ["a", 1n],
          ["d", 2n],
        ],
      );
      assert.equal(totalCount, 2n);
    });

    it("applies writes in the order of the calls", async () => {
      await using opened = await openPeople();
      const { store } = opened;
      const writes = Array.from({ length: 100 }, (_, number) =>
        store.write({
          steps: [number === 0 ? createStep("a") : updateStep("a", { number }, BigInt(number))],
        }),
      );
      const outcomes = await Promise.all(writes);
      assert.equal(outcomes.at(-1)?.revision, 100n);
    });

    it("does a write with a request id once, and answers the same again", async () => {
      const clock = new ManualClock();
      await using opened = await openPeople({ clock, limits: { requestIdTtlMs: 1000 } });
      const { store } = opened;
      const request = { id: "r1", fingerprint: "f1" };
      const steps = [createStep("a", {}, { k: "v" }), createStep("b")];
      const first = await store.write({ steps, request });
      assert.equal(first.replayed, false);
      clock.advanceMs(999);
      await store.write({ steps: [updateStep("a", { name: "later" })] });
      assert.deepEqual(await store.write({ steps, request }), { ...first, replayed: true });
      await assert.rejects(store.write({ steps, request: { ...request, fingerprint: "f2" } }), {
        reason: "REQUEST_ID_REUSED",
      });
      clock.advanceMs(1);
      await assert.rejects(store.write({ steps, request }), { reason: "RECORD_EXISTS" });
    });

    it("answers a repeated write with the ids of the first", async () => {
      await using opened = await openPeople();
      const { store } = opened;
      const request = { id: "r1", fingerprint: "f1" };
      await store.write({ steps: [createStep("made-first", {}, { k: "v" })], request });
      const { outcomes } = await store.write({ steps: [createStep("made-again")], request });
      const [outcome] = outcomes;
      assert.deepEqual([outcome?.id, outcome?.labels], ["made-first", { k: "v" }]);
    });

    it("does not remember the request id of a refused write", async () => {
      await using opened = await openPeople();
      const { store } = opened;
      const request = { id: "r1", fingerprint: "f1" };
      await assert.rejects(store.write({ steps: [updateStep("a", {})], request }));
      const { replayed } = await store.write({ steps: [createStep("a")], request });
      assert.equal(replayed, false);
    });

    it("replaces what was derived from a record without touching the record", async () => {
      await using opened = await openPeople();
      const { store } = opened;
      await store.write({ steps: [createStep("a", { name: "old" })] });
      const derive = (ifVersion: bigint, word: string) =>
        store.write({
          steps: [
            { kind: "derive", id: "a", ifVersion, derived: { document: "{}", texts: [word, ""] } },
          ],
        });
      const { outcomes, revision } = await derive(1n, "new");
      assert.deepEqual([outcomes[0]?.change, outcomes[0]?.version, revision], ["none", 1n, 1n]);
      await derive(7n, "stale");
      const count = async (word: string): Promise<bigint> =>
        (await store.searchText({ words: [word], limit: 1, offset: 0 })).totalCount;
      assert.deepEqual(
        [await count("old"), await count("new"), await count("stale")],
        [0n, 1n, 0n],
      );
      const [record] = await store.get(["a"]);
      assert.equal(Buffer.from(record?.data ?? []).toString(), '{"name":"old"}');
    });
  });

  describe(`RecordStore on ${engineName}: reads`, () => {
    it("lists in order of creation, page by page, whatever is updated or deleted meanwhile", async () => {
      await using opened = await openPeople();
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
      await using opened = await openPeople({ limits: { messageBytesMax: 64 * 1024 } });
      const { store } = opened;
      const content = { data: new Uint8Array(20_000), document: "{}", texts: ["", ""] };
      const ids = ["a", "b", "c", "d"];
      await store.write({ steps: ids.map((id) => ({ kind: "create", id, content, labels: {} })) });
      const page = await store.list({ limit: 10 });
      assert.equal(page.records.length, 1);
      assert.notEqual(page.next, undefined);
    });

    it("finds records that hold all the words, in any field, ignoring case and accents", async () => {
      await using opened = await openPeople();
      const { store } = opened;
      await store.write({
        steps: [
          createStep("a", { name: "José Müller", notes: "likes tea and toast" }),
          createStep("b", { name: "Anna", notes: "tea, tea, tea" }),
          createStep("c", { name: "Tea Toast" }),
        ],
      });
      const found = async (...words: string[]): Promise<string[]> => {
        const { hits } = await store.searchText({ words, limit: 10, offset: 0 });
        return hits.map(({ record }) => record.id).sort();
      };
      assert.deepEqual(await found("JOSE", "toast"), ["a"]);
      assert.deepEqual(await found("tea"), ["a", "b", "c"]);
      assert.deepEqual(await found("tea", "toast"), ["a", "c"]);
      assert.deepEqual(await found("tea", "coffee"), []);
      const ranked = await store.searchText({ words: ["tea"], limit: 10, offset: 0 });
      const scores = ranked.hits.map(({ score }) => score);
      assert.deepEqual(
        scores,
        scores.toSorted((x, y) => y - x),
      );
      const rest = await store.searchText({ words: ["tea"], limit: 10, offset: 2 });
      assert.deepEqual(rest.hits, ranked.hits.slice(2));
      assert.deepEqual([rest.totalCount, rest.totalCapped], [3n, false]);
    });

    it("takes every word literally", async () => {
      await using opened = await openPeople();
      const { store } = opened;
      await store.write({ steps: [createStep("a", { name: "and the NOT near (either) or a*" })] });
      const count = async (...words: string[]): Promise<bigint> =>
        (await store.searchText({ words, limit: 1, offset: 0 })).totalCount;
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
      await assert.rejects(count(), { reason: "QUERY_INVALID" });
    });

    it("orders equal scores by creation, and caps the count", async () => {
      await using opened = await openPeople();
      const { store } = opened;
      const total = countCap + 50;
      for (let from = 0; from < total; from += 1000) {
        const size = Math.min(1000, total - from);
        const steps = Array.from({ length: size }, (_, number) =>
          createStep(`id-${from + number}`, { name: "same" }),
        );
        await store.write({ steps });
      }
      const result = await store.searchText({ words: ["same"], limit: 3, offset: 1000 });
      assert.deepEqual([result.totalCount, result.totalCapped], [BigInt(countCap), true]);
      assert.deepEqual(
        result.hits.map(({ record }) => record.id),
        ["id-1000", "id-1001", "id-1002"],
      );
    });

    it("tells what changed after a revision, each record once, deletes included", async () => {
      const clock = new ManualClock();
      await using opened = await openPeople({ clock });
      const { store } = opened;
      await store.write({ steps: [createStep("a"), createStep("b"), createStep("c")] });
      await store.write({ steps: [updateStep("a", {}), { kind: "delete", id: "b" }] });
      await store.write({ steps: [{ kind: "delete", id: "c" }, createStep("c")] });
      const atUs = clock.nowUs();
      const all = await store.changes(0n, 100);
      assert.deepEqual(all, {
        changes: [
          { revision: 4n, id: "a", kind: "written", atUs },
          { revision: 5n, id: "b", kind: "deleted", atUs },
          { revision: 7n, id: "c", kind: "written", atUs },
        ],
        revision: 7n,
        horizon: 0n,
      });
      assert.deepEqual((await store.changes(4n, 1)).changes, all.changes.slice(1, 2));
      assert.deepEqual((await store.changes(7n, 10)).changes, []);
    });

    it("keeps so many tombstones and moves the horizon past the rest", async () => {
      await using opened = await openPeople({ limits: { tombstonesMax: 3 } });
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
      await using opened = await openPeople();
      const { store } = opened;
      const signal = AbortSignal.abort();
      await assert.rejects(store.list({ limit: 1 }, { signal }), { reason: "CANCELLED" });
      await assert.rejects(store.searchText({ words: ["a"], limit: 1, offset: 0 }, { signal }), {
        reason: "CANCELLED",
      });
      await assert.rejects(store.changes(0n, 1, { signal }), { reason: "CANCELLED" });
    });
  });

  describeRecordStoreIndexes(engineName, open);
  describeStorageEngine(engineName, open);
  describeRecordStoreModel(engineName, open);
}
