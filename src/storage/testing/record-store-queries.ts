import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Condition, OrderKey, ValueSource } from "../record-query.ts";
import { countCap } from "../record-query.ts";
import type { RecordStore, WriteStep } from "../record-store.ts";
import type { StoreLayout } from "../store-layout.ts";
import { contentOf, createStep, ManualClock, type OpenHarness } from "./engine-harness.ts";
import {
  compareRecords,
  type NaiveRecord,
  type NaiveValue,
  naiveJson,
  naiveList,
} from "./naive-query.ts";
import { conditions, documents, indexedPaths, labels, orders } from "./query-arbitraries.ts";

const location = { storeId: "found", generation: 1n };
const layout: StoreLayout = {
  durability: "relaxed",
  text: undefined,
  vectors: [],
  indexes: indexedPaths.map((path) => ({ path })),
};

const number: ValueSource = {
  kind: "field",
  steps: [{ kind: "member", name: "number" }],
  index: "number",
};
const group: ValueSource = {
  kind: "field",
  steps: [{ kind: "member", name: "group" }],
  index: "group",
};

function documentStep(
  kind: "create" | "update",
  id: string,
  document: NaiveValue,
  ofLabels: Readonly<Record<string, string>>,
): WriteStep {
  const content = contentOf({}, { document: naiveJson(document), texts: [] });
  return { kind, id, content, labels: ofLabels };
}

/** All pages of a list. */
async function readAll(
  store: RecordStore,
  query: {
    readonly where?: Condition;
    readonly order?: readonly OrderKey[];
    readonly limit: number;
  },
  betweenPages: () => Promise<void> = async () => {},
): Promise<{ readonly ids: string[]; readonly totals: Set<string> }> {
  const ids: string[] = [];
  const totals = new Set<string>();
  let after: string | undefined;
  do {
    const page = await store.list({ ...query, after });
    ids.push(...page.records.map(({ id }) => id));
    totals.add(`${page.totalCount} ${page.totalCapped}`);
    after = page.next;
    if (after !== undefined) await betweenPages();
  } while (after !== undefined);
  return { ids, totals };
}

/** What every engine must find, and in which order. */
export function describeRecordStoreQueries(engineName: string, open: OpenHarness): void {
  describe(`RecordStore on ${engineName}: queries`, () => {
    it("finds and sorts as a naive model does, page by page", async () => {
      await using harness = await open();
      let generation = 0n;
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(documents, labels), { maxLength: 30 }),
          fc.array(fc.tuple(conditions, orders, fc.integer({ min: 1, max: 12 })), {
            minLength: 1,
            maxLength: 12,
          }),
          async (contents, queries) => {
            const at = { ...location, generation: ++generation };
            await harness.engine.create(at, layout);
            const store = harness.engine.store(at);
            const records = contents.map(
              ([document, ofLabels], position): NaiveRecord => ({
                id: `${(position * 7) % 31}`,
                seq: position + 1,
                labels: ofLabels,
                document,
              }),
            );
            const steps = records.map(({ id, document, labels: ofLabels }) =>
              documentStep("create", id, document, ofLabels),
            );
            if (steps.length > 0) await store.write({ steps });
            for (const [where, order, limit] of queries) {
              const expected = naiveList(records, where, order).map(({ id }) => id);
              const { ids, totals } = await readAll(store, { where, order, limit });
              assert.deepEqual(ids, expected);
              assert.deepEqual([...totals], [`${expected.length} false`]);
            }
            await harness.engine.drop(at);
          },
        ),
        { numRuns: 60 },
      );
    });

    it("lists what nobody touches once and in order, whatever is written meanwhile", async () => {
      await using harness = await open();
      let generation = 0n;
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(documents, fc.boolean()), { minLength: 10, maxLength: 40 }),
          fc.array(documents, { minLength: 1, maxLength: 10 }),
          orders,
          fc.integer({ min: 1, max: 5 }),
          async (contents, changes, order, limit) => {
            const at = { ...location, generation: ++generation };
            await harness.engine.create(at, layout);
            const store = harness.engine.store(at);
            const records = contents.map(
              ([document], position): NaiveRecord => ({
                id: `${position}`,
                seq: position + 1,
                labels: {},
                document,
              }),
            );
            await store.write({
              steps: records.map(({ id, document }) => documentStep("create", id, document, {})),
            });
            const restless = records.filter((_, position) => contents[position]?.[1] === true);
            const quiet = new Set(
              records.filter((each) => !restless.includes(each)).map((r) => r.id),
            );
            let turn = 0;
            const { ids } = await readAll(store, { order, limit }, async () => {
              turn += 1;
              const document = changes[turn % changes.length] ?? {};
              const victim = restless[turn % Math.max(restless.length, 1)];
              // Without an end, a record could run ahead of the list for ever.
              if (turn > 20) return;
              const steps = [documentStep("create", `new ${turn}`, document, {})];
              if (victim !== undefined) {
                steps.push({ kind: "delete", id: victim.id, allowMissing: true });
                if (turn % 2 === 0) steps.push(documentStep("create", victim.id, document, {}));
              }
              await store.write({ steps });
            });
            const expected = records
              .toSorted((a, b) => compareRecords(a, b, order))
              .map(({ id }) => id)
              .filter((id) => quiet.has(id));
            assert.deepEqual(
              ids.filter((id) => quiet.has(id)),
              expected,
            );
            await harness.engine.drop(at);
          },
        ),
        { numRuns: 30 },
      );
    });

    it("pages through a long stretch of equal keys, both ways", async () => {
      await using harness = await open();
      await harness.engine.create(location, { ...layout, indexes: [{ path: "group" }] });
      const store = harness.engine.store(location);
      const groups = Array.from({ length: 500 }, (_, at) => (at % 10 === 0 ? at : "same"));
      await store.write({ steps: groups.map((each, at) => createStep(`${at}`, { group: each })) });
      const records = groups.map(
        (each, at): NaiveRecord => ({
          id: `${at}`,
          seq: at + 1,
          labels: {},
          document: { group: each },
        }),
      );
      for (const descending of [false, true]) {
        const order = [{ source: group, descending }];
        const { ids } = await readAll(store, { order, limit: 7 });
        assert.deepEqual(
          ids,
          naiveList(records, { kind: "always" }, order).map(({ id }) => id),
        );
      }
    });

    it("goes on behind a key that is too long for a token, unchanged or not", async () => {
      await using harness = await open();
      await harness.engine.create(location, { ...layout, indexes: [{ path: "group" }] });
      const store = harness.engine.store(location);
      const long = "ü".repeat(20_000);
      const names = ["a", `${long}1`, `${long}2`, `${long}3`, "z"];
      await store.write({ steps: names.map((each, at) => createStep(`${at}`, { group: each })) });
      for (const descending of [false, true]) {
        const order = [{ source: group, descending }];
        const first = await store.list({ order, limit: 3 });
        assert((first.next?.length ?? 0) < 2000);
        const second = await store.list({ order, limit: 3, after: first.next });
        const ids = [...first.records, ...second.records].map(({ id }) => id);
        const expected = ["0", "4", "1", "2", "3"];
        const down = ["3", "2", "1", "4", "0"];
        assert.deepEqual(ids, descending ? down : expected);
        // The last one of the first page is gone: better twice than never.
        const last = first.records.at(-1)?.id ?? "";
        await store.write({ steps: [{ kind: "delete", id: last }] });
        const again = await store.list({ order, limit: 10, after: first.next });
        const rest = (descending ? down : expected).slice(3);
        for (const id of rest) assert(again.records.some((record) => record.id === id));
        await store.write({ steps: [createStep(last, { group: names[Number(last)] })] });
      }
    });

    it("refuses cursors that it did not make", async () => {
      await using harness = await open();
      await harness.engine.create(location, { ...layout, indexes: [{ path: "number" }] });
      const store = harness.engine.store(location);
      await store.write({
        steps: [1, 2, 3].map((each) => createStep(`${each}`, { number: each })),
      });
      const order = [{ source: number, descending: false }];
      const { next = "" } = await store.list({ order, limit: 1 });
      const isRefused = { reason: "PAGE_TOKEN_INVALID" };
      await assert.rejects(store.list({ limit: 1, after: next }), isRefused);
      await fc.assert(
        fc.asyncProperty(
          fc.nat({ max: next.length }),
          fc.nat({ max: 3 }),
          fc.string({ maxLength: 4 }),
          async (at, cut, put) => {
            const after = next.slice(0, at) + put + next.slice(at + cut);
            try {
              await store.list({ order, limit: 1, after });
            } catch (error) {
              assert.equal((error as { reason?: string }).reason, "PAGE_TOKEN_INVALID");
            }
          },
        ),
        { numRuns: 300 },
      );
    });

    it("counts exactly up to the cap, says when it stopped, and says so on every page", async () => {
      await using harness = await open();
      await harness.engine.create(location, { ...layout, indexes: [{ path: "group" }] });
      const store = harness.engine.store(location);
      for (let from = 0; from < countCap + 500; from += 1000) {
        const steps = Array.from({ length: 1000 }, (_, at) =>
          createStep(`${from + at}`, { number: from + at, group: at % 2 }),
        );
        await store.write({ steps });
      }
      const total = async (where?: Condition): Promise<string[]> => {
        const first = await store.list({ where, limit: 2 });
        const second = await store.list({ where, limit: 2, after: first.next });
        return [first, second].map((page) => `${page.totalCount} ${page.totalCapped}`);
      };
      const is = (value: bigint): Condition => ({
        kind: "compare",
        source: group,
        operator: "eq",
        value,
      });
      const below = (value: bigint): Condition => ({
        kind: "compare",
        source: number,
        operator: "lt",
        value,
      });
      assert.deepEqual(await total(), ["11000 false", "11000 false"]);
      assert.deepEqual(await total(is(1n)), ["5500 false", "5500 false"]);
      assert.deepEqual(await total({ kind: "in", source: group, values: [0n, 1n] }), [
        "10000 true",
        "10000 true",
      ]);
      const both: Condition = { kind: "and", conditions: [is(1n), below(100n)] };
      assert.deepEqual(await total(both), ["50 false", "50 false"]);
    });

    it("says how it ran, and which index would have helped", async () => {
      await using harness = await open();
      await harness.engine.create(location, { ...layout, indexes: [{ path: "number" }] });
      const store = harness.engine.store(location);
      for (let from = 0; from < 3000; from += 1000) {
        const steps = Array.from({ length: 1000 }, (_, at) =>
          createStep(`${from + at}`, { number: from + at, group: `g${from + at}` }),
        );
        await store.write({ steps });
      }
      const slow = await store.list({
        where: { kind: "compare", source: group, operator: "eq", value: "g2999" },
        limit: 10,
      });
      assert.deepEqual(slow.run.suggestedIndexes, ["group"]);
      assert(slow.run.rowsVisited >= 3000);
      const fast = await store.list({
        where: { kind: "compare", source: number, operator: "ge", value: 2990n },
        order: [{ source: number, descending: true }],
        limit: 5,
      });
      assert.deepEqual(fast.run.indexes, ["number"]);
      assert.deepEqual(fast.run.suggestedIndexes, []);
      assert(fast.run.rowsVisited < 50);
      assert(fast.run.steps.length > 0);
    });

    it("leaves out expired records from pages, counts and scans, and names them to be removed", async () => {
      const clock = new ManualClock();
      await using harness = await open({ clock });
      await harness.engine.create(location, { ...layout, indexes: [{ path: "number" }] });
      const store = harness.engine.store(location);
      const expiresUs = clock.nowUs() + 1000n;
      await store.write({
        steps: [1, 2, 3, 4].map((each) => ({
          kind: "create",
          id: `${each}`,
          content: contentOf(
            { number: each },
            { texts: [], expiresUs: each % 2 === 0 ? expiresUs : undefined },
          ),
          labels: {},
        })),
      });
      const where: Condition = { kind: "compare", source: number, operator: "gt", value: 0n };
      clock.advanceMs(1);
      for (const order of [[], [{ source: number, descending: true }]]) {
        for (const condition of [where, undefined]) {
          const page = await store.list({ where: condition, order, limit: 1 });
          assert.equal(page.totalCount, 2n);
          const rest = await store.list({ where: condition, order, limit: 5, after: page.next });
          assert.deepEqual([...page.records, ...rest.records].map(({ id }) => id).toSorted(), [
            "1",
            "3",
          ]);
        }
      }
      assert.deepEqual(await store.expired(10), ["2", "4"]);
      assert.deepEqual(await store.expired(1), ["2"]);
      await using scan = await store.scan();
      assert.equal(scan.recordCount, 2n);
      assert.deepEqual(
        (await scan.next())?.map(({ id }) => id),
        ["1", "3"],
      );
      // Their deletes follow; until then, the changes show what was written.
      const { changes } = await store.changes(0n, 10);
      assert.deepEqual(
        changes.map(({ id, kind }) => `${id} ${kind}`),
        [1, 2, 3, 4].map((each) => `${each} written`),
      );
    });

    it("shows changes with their documents, in pages", async () => {
      await using harness = await open();
      await harness.engine.create(location, layout);
      const store = harness.engine.store(location);
      await store.write({
        steps: [
          documentStep("create", "a", { n: 2n ** 62n + 1n }, { team: "x" }),
          documentStep("create", "b", {}, {}),
          documentStep("update", "a", { n: 2n ** 62n + 3n }, { team: "y" }),
          { kind: "delete", id: "b" },
        ],
      });
      const page = await store.changes(0n, 1);
      assert.deepEqual([page.more, page.revision], [true, 4n]);
      const [a] = page.changes;
      assert.deepEqual(
        [a?.revision, a?.kind, a?.record?.document, a?.record?.createdRevision, a?.record?.labels],
        [3n, "written", '{"n":4611686018427387907}', 1n, { team: "y" }],
      );
      const rest = await store.changes(3n, 10);
      assert.deepEqual(
        [rest.more, rest.changes.map(({ id, kind, record }) => [id, kind, record])],
        [false, [["b", "deleted", undefined]]],
      );
    });

    it("scans one moment while writes go on, at most so many at a time", async () => {
      await using harness = await open({ limits: { exportsMax: 1 } });
      await harness.engine.create(location, layout);
      const store = harness.engine.store(location);
      const notes = "x".repeat(2000);
      const steps = Array.from({ length: 500 }, (_, at) => createStep(`${at}`, { notes }));
      const plain = steps.map(
        (step): WriteStep =>
          step.kind === "create" ? { ...step, content: { ...step.content, texts: [] } } : step,
      );
      await store.write({ steps: plain });
      const ids: string[] = [];
      {
        await using scan = await store.scan();
        assert.deepEqual([scan.revision, scan.recordCount], [500n, 500n]);
        await assert.rejects(store.scan(), { reason: "OVERLOADED" });
        for (let batch = await scan.next(); batch !== undefined; batch = await scan.next()) {
          if (ids.length === 0) await store.write({ steps: [{ kind: "delete", id: "499" }] });
          ids.push(...batch.map(({ id }) => id));
        }
      }
      assert.deepEqual(
        ids,
        steps.map((_, at) => `${at}`),
      );
      const abort = new AbortController();
      const scan = await store.scan({ signal: abort.signal });
      assert.equal(scan.recordCount, 499n);
      abort.abort();
      await assert.rejects(scan.next(), { reason: "CANCELLED" });
      await scan[Symbol.asyncDispose]();
      const last = await store.scan();
      await harness.engine.drop(location);
      await assert.rejects(last.next());
    });
  });
}
