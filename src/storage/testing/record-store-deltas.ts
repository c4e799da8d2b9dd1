import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CollectorError } from "../../errors.ts";
import { contentPath } from "../../lib/content-list.ts";
import type { RecordContent, RecordStore, WriteStep } from "../record-store.ts";
import type { StoreChange } from "../store-copies.ts";
import type { StoreLayout } from "../store-layout.ts";
import { filesOf, pagesOf, pathIn, putFile, reasonOf, twoStores } from "./copied-stores.ts";
import {
  contentOf,
  createStep,
  idsWith,
  ManualClock,
  type OpenHarness,
  openPeople,
  peopleLayout,
} from "./engine-harness.ts";

const dimensions = 3;
const layout: StoreLayout = {
  ...peopleLayout,
  vectors: [{ name: "face", dimensions, metric: "l2" }],
};
const words = ["red", "green", "blue"];
const ids = ["a", "b", "c", "'d\"", "é"];
const names = ["one", "two"];

/** What a record of these tests says; all that is derived from it can be derived anew from its bytes. */
interface Person {
  readonly name: string;
  readonly age: number;
  readonly ttlMs?: number | undefined;
  readonly vector?: readonly number[] | undefined;
}

type Action =
  | { readonly do: "write"; readonly steps: readonly Step[] }
  | { readonly do: "put"; readonly owner: string; readonly name: string; readonly text: string }
  | { readonly do: "remove"; readonly owner: string; readonly name: string }
  | { readonly do: "wait" }
  | { readonly do: "copy" };

interface Step {
  readonly kind: "put" | "delete" | "relabel" | "expire";
  readonly id: string;
  readonly person: Person;
  readonly label: string;
}

const id = fc.constantFrom(...ids);
const owner = fc.constantFrom("", ...ids);
const name = fc.constantFrom(...names);
const person: fc.Arbitrary<Person> = fc.record({
  name: fc.array(fc.constantFrom(...words), { maxLength: 3 }).map((chosen) => chosen.join(" ")),
  age: fc.integer({ min: 0, max: 4 }),
  ttlMs: fc.option(fc.nat(4), { nil: undefined, freq: 4 }),
  vector: fc.option(
    fc.array(fc.constantFrom(-2, 0, 0.1, 1), { minLength: dimensions, maxLength: dimensions }),
    { nil: undefined },
  ),
});
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom("put", "put", "put", "delete", "delete", "relabel", "expire"),
  id,
  person,
  label: fc.string({ maxLength: 3 }),
});
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("write" as const),
      steps: fc.array(step, { minLength: 1, maxLength: 5 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("put" as const), owner, name, text: fc.string() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("remove" as const), owner, name }) },
  { weight: 1, arbitrary: fc.constant({ do: "wait" as const }) },
  { weight: 2, arbitrary: fc.constant({ do: "copy" as const }) },
);

const actions = fc.array(action, { minLength: 8, maxLength: 30, size: "max" });

/** What every engine must do to bring a copy of a store up to date. */
export function describeRecordStoreDeltas(engineName: string, open: OpenHarness): void {
  describe(`RecordStore on ${engineName}: changes that are replayed`, () => {
    it("makes a copy equal to its source, whatever its history and whenever it is brought up to date", async () => {
      const clock = new ManualClock();
      await using harness = await open({ clock });
      let generation = 0n;
      await fc.assert(
        fc.asyncProperty(actions, async (history) => {
          generation++;
          const [source, copy] = await Promise.all(
            ["source", "copy"].map(async (storeId) => {
              await harness.engine.create({ storeId, generation }, layout);
              return harness.engine.store({ storeId, generation });
            }),
          );
          assert(source !== undefined && copy !== undefined);
          for (const next of [...history, { do: "copy" } as const]) {
            if (next.do === "wait") clock.advanceMs(2);
            else if (next.do === "copy") await bringUpToDate(source, copy);
            else await act(source, next, clock);
          }
        }),
        { numRuns: 8 },
      );
    });

    it("reads one moment in steps, while writes go on", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      const notes = "x".repeat(100_000);
      const ids = Array.from({ length: 9 }, (_, number) => `r${number}`);
      await store.write({ steps: ids.map((id) => createStep(id, { notes })) });
      await store.write({ steps: [{ kind: "delete", id: "r3" }] });
      const done: bigint[] = [];
      await using changes = await store.changesSince(0n, {
        files: false,
        onProgress: (progress) => done.push(progress.done),
      });
      await store.write({ steps: [{ kind: "delete", id: "r8" }, createStep("later")] });
      const pages = await pagesOf(changes);
      assert(pages.length > 1, `${pages.length} steps`);
      assert.deepEqual(
        pages.flat().map((change) => [change.kind, change.id, change.revision]),
        [
          ...ids.map((id, at) => ["written", id, BigInt(at) + 1n]).filter(([, id]) => id !== "r3"),
          ["deleted", "r3", 10n],
        ],
      );
      assert.deepEqual([changes.revision, changes.recordCount], [10n, 8n]);
      assert.equal(changes.incarnation, (await store.stats()).incarnation);
      assert.equal(done.length, pages.length);
      assert(done.every((bytes, at) => bytes > (done[at - 1] ?? 0n) || at === pages.length - 1));
    });

    it("gives a record whose time has come as it was written, but not its files", async () => {
      const clock = new ManualClock();
      await using opened = await openPeople(open, { clock }, layout);
      const { store } = opened;
      await store.write({ steps: [writeStep("a", { name: "red", age: 1, ttlMs: 1 }, clock)] });
      await putFile(store, "a", "one", "text");
      clock.advanceMs(2);
      await using changes = await store.changesSince(0n, { files: true });
      assert.deepEqual([changes.recordCount, changes.revision], [0n, 1n]);
      assert.deepEqual(changes.names, []);
      assert.deepEqual(
        (await pagesOf(changes)).flat().map(({ kind, id }) => [kind, id]),
        [["written", "a"]],
      );
    });

    it("refuses a revision whose deletes are forgotten, or that is not reached yet", async () => {
      await using opened = await openPeople(open, { limits: { tombstonesMax: 2 } });
      const { store } = opened;
      for (const id of ["a", "b", "c", "d"]) {
        await store.write({ steps: [createStep(id)] });
        await store.write({ steps: [{ kind: "delete", id }] });
      }
      const { horizon, revision } = await store.changes(0n, 1);
      assert.deepEqual([horizon, revision], [4n, 8n]);
      const reasonAt = (since: bigint): Promise<string> =>
        reasonOf(store.changesSince(since, { files: false }));
      assert.equal(await reasonAt(0n), "HISTORY_GONE");
      assert.equal(await reasonAt(3n), "HISTORY_GONE");
      assert.equal(await reasonAt(9n), "HISTORY_GONE");
      await using changes = await store.changesSince(4n, { files: false });
      assert.deepEqual(
        (await pagesOf(changes)).flat().map(({ id, revision }) => [id, revision]),
        [
          ["c", 6n],
          ["d", 8n],
        ],
      );
      await using none = await store.changesSince(8n, { files: false });
      assert.deepEqual(await pagesOf(none), []);
      assert.equal(await none.next(), undefined);
    });

    it("gives its process free when it is disposed, cancelled or read to its end", async () => {
      await using opened = await openPeople(open, { limits: { copiesMax: 1 } });
      const { store } = opened;
      await store.write({ steps: [createStep("a")] });
      const cancel = new AbortController();
      const { signal } = cancel;
      const first = await store.changesSince(0n, { files: true, signal });
      assert.equal(await reasonOf(store.changesSince(0n, { files: true })), "OVERLOADED");
      cancel.abort();
      assert.equal(await reasonOf(first.next()), "CANCELLED");
      await first[Symbol.asyncDispose]();
      const second = await store.changesSince(0n, { files: true });
      await second[Symbol.asyncDispose]();
      const third = await store.changesSince(0n, { files: true });
      await pagesOf(third);
      await using fourth = await store.changesSince(0n, { files: true });
      await third[Symbol.asyncDispose]();
      assert.equal((await pagesOf(fourth)).length, 1);
      assert.equal(
        await reasonOf(store.changesSince(0n, { files: true, signal: AbortSignal.abort() })),
        "CANCELLED",
      );
    });

    it("replays only what is later than the store, and all of a write or nothing", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      await store.write({ steps: [createStep("a"), createStep("b")] });
      const bury = (id: string, revision: bigint): WriteStep => ({
        kind: "replayDelete",
        id,
        revision,
        atUs: 5n,
      });
      assert.equal(await reasonOf(store.write({ steps: [bury("a", 2n)] })), "INTERNAL");
      const twice = [bury("a", 9n), bury("b", 9n)];
      assert.equal(await reasonOf(store.write({ steps: twice })), "INTERNAL");
      const future = { ...replayStep("c", 9n), createdRevision: 10n };
      assert.equal(await reasonOf(store.write({ steps: [future] })), "INTERNAL");
      const taken = { ...replayStep("c", 9n), createdRevision: 1n };
      assert.equal(await reasonOf(store.write({ steps: [taken] })), "INTERNAL");
      assert.equal((await store.stats()).revision, 2n);
      const { revision } = await store.write({ steps: [bury("nobody", 7n), bury("nobody", 9n)] });
      assert.equal(revision, 9n);
      await store.write({ steps: [replayStep("nobody", 12n)] });
      const { changes } = await store.changes(0n, 10);
      assert.deepEqual(
        changes.map((change) => [change.id, change.revision, change.record?.createdRevision]),
        [
          ["a", 1n, 1n],
          ["b", 2n, 2n],
          ["nobody", 12n, 12n],
        ],
      );
    });

    it("puts a record that was made anew in the place of the one that it replaces", async () => {
      const clock = new ManualClock();
      await using harness = await open({ clock, limits: { tombstonesMax: 2 } });
      const [source, copy] = await twoStores(harness.engine, layout);
      const person = { name: "red", age: 1, vector: [1, 0, 0] };
      const steps = [writeStep("a", person, clock), writeStep("b", person, clock)];
      await source.write({ steps });
      await bringUpToDate(source, copy);
      const vector = [0, 1, 0];
      const anew = writeStep("a", { name: "blue", age: 2, vector }, clock);
      await source.write({ steps: [{ kind: "delete", id: "a" }, anew] });
      await bringUpToDate(source, copy);
      const [, last] = (await copy.list({ limit: 9 })).records;
      assert.deepEqual([last?.id, last?.version], ["a", 4n]);
      for (let turn = 0; turn < 4; turn++) {
        await source.write({ steps: [{ kind: "delete", id: "b" }] });
        await bringUpToDate(source, copy);
        await source.write({ steps: [writeStep("b", person, clock), { kind: "delete", id: "b" }] });
        await bringUpToDate(source, copy);
        await source.write({ steps: [writeStep("b", person, clock)] });
      }
      assert.equal((await copy.changes(0n, 1)).horizon, 0n);
    });

    it("keeps the contents of a copy until it is disposed, though their names are gone", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      await putFile(store, "", "one", "text");
      const changes = await store.changesSince(0n, { files: true });
      const { list, folder } = changes.contents;
      const [content, ...others] = list;
      assert(content !== undefined && others.length === 0);
      const path = contentPath(folder, content.sha256);
      await store.files.remove("", "one");
      await store.files.sweep();
      await pagesOf(changes);
      assert(existsSync(path));
      await changes[Symbol.asyncDispose]();
      await store.files.sweep();
      assert(!existsSync(path));
    });
  });
}

async function act(
  store: RecordStore,
  next: Exclude<Action, { do: "wait" | "copy" }>,
  clock: ManualClock,
): Promise<void> {
  try {
    if (next.do === "write") {
      await store.write({ steps: next.steps.map((one) => stepOf(one, clock)) });
    } else if (next.do === "put") {
      await putFile(store, next.owner, next.name, next.text);
    } else {
      await store.files.remove(next.owner, next.name);
    }
  } catch (error) {
    // A record that is not there has neither labels nor files.
    if (!(error instanceof CollectorError && error.reason === "RECORD_NOT_FOUND")) throw error;
  }
}

function stepOf({ kind, id, person, label }: Step, clock: ManualClock): WriteStep {
  if (kind === "expire") return { kind, id };
  if (kind === "delete") return { kind, id, allowMissing: true };
  const labels = { label };
  if (kind === "relabel") return { kind: "update", id, content: undefined, labels };
  return { ...writeStep(id, person, clock), labels };
}

function writeStep(
  id: string,
  { ttlMs, ...person }: Person,
  clock: ManualClock,
): WriteStep & { kind: "update" } {
  const expires = ttlMs === undefined ? undefined : clock.nowUs() + BigInt(ttlMs) * 1000n;
  const content = derive(
    Buffer.from(JSON.stringify({ ...person, expires: expires && String(expires) })),
  );
  return { kind: "update", id, content, labels: undefined, allowMissing: true };
}

/** What a record's bytes say, as a copy derives it anew. */
function derive(data: Uint8Array, vector?: Float32Array): RecordContent {
  const fields = JSON.parse(Buffer.from(data).toString()) as Person & { expires?: string };
  const own = fields.vector === undefined ? undefined : Float32Array.from(fields.vector);
  const expiresUs = fields.expires === undefined ? undefined : BigInt(fields.expires);
  return contentOf({ ...fields }, { data, vectors: [vector ?? own], expiresUs });
}

function replayStep(id: string, revision: bigint): WriteStep & { kind: "replay" } {
  const content = contentOf({});
  const times = { createdUs: 1n, updatedUs: 1n };
  return { kind: "replay", id, content, labels: {}, revision, createdRevision: revision, ...times };
}

/** Replays what the source has that the copy has not, and compares them. */
async function bringUpToDate(source: RecordStore, copy: RecordStore): Promise<void> {
  const { revision: since } = await copy.stats();
  {
    await using changes = await source.changesSince(since, { files: true });
    let last = since;
    for (const page of await pagesOf(changes)) {
      await copy.write({ steps: page.map(toReplay) });
      for (const { revision } of page) {
        assert(revision > last);
        last = revision;
      }
    }
    assert.equal(last, changes.revision);
    await copy.files.replaceAll(changes.names, pathIn(changes));
    assert.deepEqual(await copy.files.stats(), changes.files);
    assert.equal((await copy.stats()).recordCount, changes.recordCount);
  }
  assert.deepEqual(await stateOf(copy), await stateOf(source));
}

function toReplay(change: StoreChange): WriteStep {
  if (change.kind === "deleted") {
    const { id, revision, atUs } = change;
    return { kind: "replayDelete", id, revision, atUs };
  }
  const { data, vectors, ...rest } = change;
  return { ...rest, kind: "replay", content: derive(data, vectors["face"]) };
}

/** All that a reader can see of a store. */
async function stateOf(store: RecordStore): Promise<unknown> {
  const { recordCount, revision } = await store.stats();
  const steps = [{ kind: "member", name: "age" }] as const;
  const age = { kind: "field", steps, index: "age" } as const;
  const byAge = await store.list({
    limit: 100,
    where: { kind: "compare", source: age, operator: "ge", value: 1n },
    order: [{ source: age, descending: true }],
  });
  const near = await store.search({
    near: { vector: "face", point: new Float32Array(dimensions), distanceMax: undefined },
    limit: 100,
    offset: 0,
  });
  return {
    recordCount,
    revision,
    records: (await store.list({ limit: 100 })).records,
    byAge: byAge.records,
    found: await store.get(ids),
    words: await Promise.all(words.map((word) => idsWith(store, word))),
    near: near.hits.map(({ record, distance }) => [record.id, distance]),
    expired: [...(await store.expired(100))].sort(),
    changes: await store.changes(0n, 1000),
    files: await filesOf(store, ids),
  };
}
