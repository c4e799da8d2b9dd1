import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RecordStore, WriteStep } from "../record-store.ts";
import {
  contentOf,
  createStep,
  type Fields,
  ManualClock,
  type OpenHarness,
  openPeople,
  updateStep,
} from "./engine-harness.ts";

/** What every engine must do with records whose time comes. */
export function describeRecordStoreExpiry(engineName: string, open: OpenHarness): void {
  describe(`RecordStore on ${engineName}: expiry`, () => {
    it("has a record until the microsecond in which it expires", async () => {
      const clock = new ManualClock();
      await using opened = await openPeople(open, { clock });
      const { store } = opened;
      const expiresUs = clock.nowUs() + 5000n;
      await store.write({ steps: [createStep("stays"), createUntil("a", expiresUs)] });
      clock.advanceMs(4);
      assert.deepEqual(await present(store, ["a", "stays"]), [true, true]);
      assert.equal((await store.stats()).recordCount, 2n);
      clock.advanceMs(1);
      assert.deepEqual(await present(store, ["a", "stays"]), [false, true]);
      assert.equal((await store.stats()).recordCount, 1n);
    });

    it("treats an expired record as missing in every write", async () => {
      const clock = new ManualClock();
      await using opened = await openPeople(open, { clock });
      const { store } = opened;
      await store.write({ steps: [createUntil("a", clock.nowUs() + 1000n)] });
      clock.advanceMs(1);
      const missing = { reason: "RECORD_NOT_FOUND" };
      await assert.rejects(store.write({ steps: [updateStep("a", {})] }), missing);
      await assert.rejects(store.write({ steps: [{ kind: "delete", id: "a" }] }), missing);
      const relabel: WriteStep = { kind: "update", id: "a", content: undefined, labels: {} };
      await assert.rejects(store.write({ steps: [relabel] }), missing);
      const { outcomes, revision } = await store.write({
        steps: [
          { kind: "delete", id: "a", allowMissing: true },
          { kind: "derive", id: "a", ifVersion: 1n, derived: contentOf({}) },
        ],
      });
      assert.deepEqual([outcomes.map(({ change }) => change), revision], [["none", "none"], 1n]);
    });

    for (const [name, steps] of [
      ["alone", [createStep("a", { name: "new" })]],
      ["among others", [createStep("b"), createStep("a", { name: "new" })]],
      [
        "by an update",
        [
          {
            kind: "update",
            id: "a",
            content: contentOf({ name: "new" }),
            labels: undefined,
            allowMissing: true,
          },
        ],
      ],
    ] satisfies [string, WriteStep[]][]) {
      it(`lets a new record take the id of an expired one, created ${name}`, async () => {
        const clock = new ManualClock();
        await using opened = await openPeople(open, { clock });
        const { store } = opened;
        await store.write({ steps: [createUntil("a", clock.nowUs() + 1000n, { name: "old" })] });
        clock.advanceMs(1);
        const { outcomes, revision } = await store.write({ steps });
        assert(outcomes.every(({ change }) => change === "created"));
        assert.equal(revision, 1n + BigInt(steps.length));
        const [record] = await store.get(["a"]);
        assert.equal(record?.createdUs, clock.nowUs());
        assert.equal((await store.stats()).recordCount, BigInt(steps.length));
        const { changes } = await store.changes(1n, 10);
        assert(changes.every(({ kind }) => kind === "written"));
      });
    }

    it("moves the time with each new content, and keeps it with new labels", async () => {
      const clock = new ManualClock();
      await using opened = await openPeople(open, { clock });
      const { store } = opened;
      const startUs = clock.nowUs();
      const ids = ["relabelled", "never", "later", "derived"];
      await store.write({ steps: ids.map((id) => createUntil(id, startUs + 1000n)) });
      const update = (id: string, expiresUs: bigint | undefined): WriteStep => ({
        kind: "update",
        id,
        content: contentOf({}, { expiresUs }),
        labels: undefined,
      });
      const derived = contentOf({}, { expiresUs: undefined });
      await store.write({
        steps: [
          { kind: "update", id: "relabelled", content: undefined, labels: { k: "v" } },
          update("never", undefined),
          update("later", startUs + 2000n),
          { kind: "derive", id: "derived", ifVersion: 4n, derived },
        ],
      });
      clock.advanceMs(1);
      assert.deepEqual(await present(store, ids), [false, true, true, true]);
      clock.advanceMs(1);
      assert.deepEqual(await present(store, ids), [false, true, false, true]);
    });

    it("removes an expired record by a step of its own, and only an expired one", async () => {
      const clock = new ManualClock();
      await using opened = await openPeople(open, { clock });
      const { store } = opened;
      const expiresUs = clock.nowUs() + 1000n;
      await store.write({ steps: [createStep("stays"), createUntil("a", expiresUs)] });
      const steps: WriteStep[] = ["a", "stays", "nobody"].map((id) => ({ kind: "expire", id }));
      const early = await store.write({ steps });
      assert.deepEqual(
        [early.outcomes.map(({ change }) => change), early.revision],
        [["none", "none", "none"], 2n],
      );
      clock.advanceMs(1);
      const { outcomes, revision } = await store.write({ steps, wantsBefore: true });
      assert.deepEqual(
        outcomes.map(({ id, change, before }) => [id, change, before?.document]),
        [
          ["a", "deleted", "{}"],
          ["stays", "none", undefined],
          ["nobody", "none", undefined],
        ],
      );
      assert.equal(revision, 3n);
      const { changes } = await store.changes(2n, 10);
      assert.deepEqual(
        changes.map(({ id, kind }) => [id, kind]),
        [["a", "deleted"]],
      );
    });
  });
}

function createUntil(id: string, expiresUs: bigint, fields: Fields = {}): WriteStep {
  return { kind: "create", id, content: contentOf(fields, { expiresUs }), labels: {} };
}

async function present(store: RecordStore, ids: readonly string[]): Promise<boolean[]> {
  return (await store.get(ids)).map((record) => record !== undefined);
}
