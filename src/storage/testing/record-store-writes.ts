import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  contentOf,
  createStep,
  idsWith,
  ManualClock,
  type OpenHarness,
  openPeople,
  searchWords,
  updateStep,
} from "./engine-harness.ts";

/** What every engine must do with writes. */
export function describeRecordStoreWrites(engineName: string, open: OpenHarness): void {
  describe(`RecordStore on ${engineName}: writes`, () => {
    it("gives back what was created, byte for byte", async () => {
      const clock = new ManualClock();
      await using opened = await openPeople(open, { clock });
      const { store } = opened;
      const data = Uint8Array.from({ length: 256 }, (_, byte) => byte);
      const content = contentOf({ name: "Ada" }, { data });
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
      await using opened = await openPeople(open);
      const { store } = opened;
      const ids = ["'; DROP TABLE record; --", '"', "%_", "Ünïcødé 🦉", "a/../b", "x".repeat(256)];
      const content = contentOf({}, { data: new Uint8Array(0) });
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
      await using opened = await openPeople(open);
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
      await using opened = await openPeople(open, { clock });
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
      await using opened = await openPeople(open);
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
      await using opened = await openPeople(open);
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
      await using opened = await openPeople(open, { clock });
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
      await using opened = await openPeople(open);
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
      assert.deepEqual([await idsWith(store, "three"), await idsWith(store, "two")], [["a"], []]);
    });

    it("does not let a refused write harm the ones beside it", async () => {
      await using opened = await openPeople(open);
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
      await using opened = await openPeople(open);
      const { store } = opened;
      const bad = contentOf({}, { document: "{no" });
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
      await using opened = await openPeople(open);
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
      await using opened = await openPeople(open, { clock, limits: { requestIdTtlMs: 1000 } });
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
      await using opened = await openPeople(open);
      const { store } = opened;
      const request = { id: "r1", fingerprint: "f1" };
      await store.write({ steps: [createStep("made-first", {}, { k: "v" })], request });
      const { outcomes } = await store.write({ steps: [createStep("made-again")], request });
      const [outcome] = outcomes;
      assert.deepEqual([outcome?.id, outcome?.labels], ["made-first", { k: "v" }]);
    });

    it("does not remember the request id of a refused write", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      const request = { id: "r1", fingerprint: "f1" };
      await assert.rejects(store.write({ steps: [updateStep("a", {})], request }));
      const { replayed } = await store.write({ steps: [createStep("a")], request });
      assert.equal(replayed, false);
    });

    it("replaces what was derived from a record without touching the record", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      await store.write({ steps: [createStep("a", { name: "old" })] });
      const derive = (ifVersion: bigint, word: string) =>
        store.write({
          steps: [{ kind: "derive", id: "a", ifVersion, derived: contentOf({ name: word }) }],
        });
      const { outcomes, revision } = await derive(1n, "new");
      assert.deepEqual([outcomes[0]?.change, outcomes[0]?.version, revision], ["none", 1n, 1n]);
      await derive(7n, "stale");
      const count = async (word: string): Promise<bigint> =>
        (await searchWords(store, [word])).totalCount;
      assert.deepEqual(
        [await count("old"), await count("new"), await count("stale")],
        [0n, 1n, 0n],
      );
      const [record] = await store.get(["a"]);
      assert.equal(Buffer.from(record?.data ?? []).toString(), '{"name":"old"}');
    });
  });
}
