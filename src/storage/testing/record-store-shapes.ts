import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RecordContent, WriteStep } from "../record-store.ts";
import type { StoreShape, TextIndexDefinition, VectorIndexDefinition } from "../store-layout.ts";
import {
  contentOf,
  createStep,
  idsWith,
  type OpenHarness,
  openPeople,
  people,
  peopleLayout,
  peopleText,
  searchWords,
} from "./engine-harness.ts";

const english: TextIndexDefinition = { ...peopleText, tokenizer: "english" };
const place: VectorIndexDefinition = { name: "place", dimensions: 2, metric: "l2" };
const wider: VectorIndexDefinition = { ...place, dimensions: 3 };

/** What every engine must do while what it searches changes. */
export function describeRecordStoreShapes(engineName: string, open: OpenHarness): void {
  describe(`RecordStore on ${engineName}: shapes`, () => {
    it("tells the shape that the layout makes", async () => {
      await using opened = await openPeople(open, undefined, {
        ...peopleLayout,
        vectors: [place],
      });
      const shape = await opened.store.shape();
      assert.deepEqual(kinds(shape), ["words ready", "place 2 ready"]);
      assert.deepEqual((await opened.store.stats()).shape, shape);
    });

    it("refuses content of another shape before anything of the write is done", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      const { version } = await store.reshape({ text: english, vectors: [] });
      await assert.rejects(store.write({ steps: [create("a", version), create("b", 1n)] }), {
        reason: "SHAPE_OUTDATED",
        subject: { step: "1", id: "b" },
      });
      assert.deepEqual(await store.get(["a", "b"]), [undefined, undefined]);
      assert.equal((await store.shape()).version, version);
      await store.write({ steps: [create("a", version)] });
      const labels = { k: "v" };
      await store.write({ steps: [{ kind: "update", id: "a", content: undefined, labels }] });
      await store.write({ steps: [{ kind: "delete", id: "a" }] });
    });

    it("serves the old index until the new one is complete", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      await store.write({ steps: [createStep("a", { name: "running" })] });
      const building = await store.reshape({ text: english, vectors: [] });
      assert.deepEqual(kinds(building), ["words ready", "english building"]);
      await store.write({ steps: [create("b", building.version, { name: "runs" })] });
      assert.deepEqual([await idsWith(store, "run"), await idsWith(store, "runs")], [[], ["b"]]);
      await store.write({ steps: [deriveStep("a", 1n, building.version, { name: "running" })] });
      const complete = await store.completeShape();
      assert.deepEqual(kinds(complete), ["english ready"]);
      assert.notEqual(complete.version, building.version);
      assert.deepEqual(await idsWith(store, "run"), ["a", "b"]);
      assert.deepEqual(await store.completeShape(), complete);
    });

    it("goes on with what is being built after it was closed, or drops it if asked", async () => {
      await using harness = await open();
      await harness.engine.create(people, peopleLayout);
      const first = await harness.engine.store(people).reshape({ text: english, vectors: [place] });
      await harness.reopen();
      const store = harness.engine.store(people);
      assert.deepEqual(await store.shape(), first);
      assert.deepEqual(await store.reshape({ text: english, vectors: [place] }), first);
      const other = await store.reshape({
        text: { ...english, tokenizer: "trigram" },
        vectors: [],
      });
      assert.deepEqual(kinds(other), ["words ready", "trigram building"]);
      const back = await store.reshape({ text: peopleText, vectors: [] });
      assert.deepEqual(kinds(back), ["words ready"]);
    });

    it("builds anew what serves already, and keeps vectors that it is told to keep", async () => {
      await using opened = await openPeople(open, undefined, { ...peopleLayout, vectors: [place] });
      const { store } = opened;
      const first = await store.shape();
      const vectors = [Float32Array.of(1, 2)];
      await store.write({ steps: [create("a", first.version, { name: "tea" }, { vectors })] });
      const wanted = { text: peopleText, vectors: [place] };
      assert.deepEqual(await store.reshape(wanted), first);
      const building = await store.reshape({ ...wanted, anew: true });
      assert.deepEqual(kinds(building), [
        "words ready",
        "words building",
        "place 2 ready",
        "place 2 building",
      ]);
      assert.deepEqual(await store.reshape({ ...wanted, anew: true }), building, "it goes on");
      assert.deepEqual(kinds(await store.reshape(wanted)), ["words ready", "place 2 ready"]);
      const { version } = await store.reshape({ ...wanted, anew: true });
      assert.deepEqual(await idsWith(store, "tea"), ["a"]);
      const keep = { vectors: ["keep", "keep"] } as const;
      await store.write({ steps: [deriveStep("a", 1n, version, { name: "tea" }, keep)] });
      assert.deepEqual(kinds(await store.completeShape()), ["words ready", "place 2 ready"]);
      assert.deepEqual(await idsWith(store, "tea"), ["a"]);
      const near = { vector: "place", point: Float32Array.of(1, 2), distanceMax: undefined };
      const { hits } = await store.search({ near, limit: 1, offset: 0 });
      assert.deepEqual(
        hits.map(({ record }) => record.id),
        ["a"],
      );
    });

    it("changes weights at once, without a new shape", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      const both = [createStep("name", { name: "tea" }), createStep("notes", { notes: "tea" })];
      await store.write({ steps: [...both, createStep("neither", { name: "x", notes: "y" })] });
      const best = async (): Promise<string | undefined> =>
        (await searchWords(store, ["tea"])).hits[0]?.record.id;
      for (const [heavy, light] of [
        ["notes", "name"],
        ["name", "notes"],
      ]) {
        const fields = peopleText.fields.map(({ name }) => ({
          name,
          weight: name === heavy ? 9 : 1,
        }));
        const shape = await store.reshape({ text: { ...peopleText, fields }, vectors: [] });
        assert.equal(shape.version, 1n, light);
        assert.deepEqual(shape.texts[0]?.definition.fields, fields);
        assert.equal(await best(), heavy);
      }
    });

    it("adds, replaces and drops vector indexes by name", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      const text = peopleText;
      const added = await store.reshape({ text, vectors: [place] });
      assert.deepEqual(kinds(added), ["words ready", "place 2 building"]);
      assert.deepEqual(kinds(await store.completeShape()), ["words ready", "place 2 ready"]);
      const replacing = await store.reshape({ text, vectors: [wider] });
      assert.deepEqual(kinds(replacing), ["words ready", "place 2 ready", "place 3 building"]);
      const vectors = [Float32Array.of(1, 2), Float32Array.of(1, 2, 3)];
      await store.write({ steps: [create("a", replacing.version, {}, { vectors })] });
      assert.deepEqual(kinds(await store.completeShape()), ["words ready", "place 3 ready"]);
      assert.deepEqual(kinds(await store.reshape({ text, vectors: [] })), ["words ready"]);
    });

    it("refuses to search words once text is not wanted, and takes none", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      await store.write({ steps: [createStep("a", { name: "tea" })] });
      const shape = await store.reshape({ text: undefined, vectors: [] });
      assert.deepEqual(kinds(shape), []);
      await assert.rejects(searchWords(store, ["tea"]), { reason: "QUERY_INVALID" });
      await store.write({ steps: [create("b", shape.version, {}, { texts: [] })] });
      const again = await store.reshape({ text: peopleText, vectors: [] });
      assert.deepEqual(kinds(again), ["words building"]);
    });

    it("removes a large index while writes go on", async () => {
      await using harness = await open();
      await harness.engine.create(people, { ...peopleLayout, vectors: [place] });
      const store = harness.engine.store(people);
      const vectors = [Float32Array.of(1, 2)];
      for (let from = 0; from < 6000; from += 1000) {
        const numbers = Array.from({ length: 1000 }, (_, number) => from + number);
        const steps = numbers.map((number) =>
          create(`${number}`, 1n, { name: `word${number} of ${number % 7}` }, { vectors }),
        );
        await store.write({ steps });
      }
      const { version } = await store.reshape({ text: undefined, vectors: [] });
      await harness.reopen();
      const again = harness.engine.store(people);
      for (let number = 0; number < 20; number++) {
        await again.write({ steps: [create(`x${number}`, version, {}, { texts: [] })] });
      }
      assert.equal((await again.stats()).recordCount, 6020n);
    });

    it("tells a record as it was before each step, if the write asks", async () => {
      await using opened = await openPeople(open);
      const { store } = opened;
      await store.write({ steps: [createStep("a", { n: 1 }, { k: "v" })] });
      const [was] = await store.get(["a"]);
      const { outcomes } = await store.write({
        steps: [
          { kind: "update", id: "a", content: contentOf({ n: 2 }), labels: { k: "w" } },
          { kind: "delete", id: "a" },
          createStep("b"),
        ],
        wantsBefore: true,
      });
      const { data: _, ...state } = was ?? assert.fail();
      assert.deepEqual(outcomes[0]?.before, { ...state, document: '{"n":1}' });
      const { version, labels, document } = outcomes[1]?.before ?? assert.fail();
      assert.deepEqual([version, labels, document], [2n, { k: "w" }, '{"n":2}']);
      assert.equal(outcomes[2]?.before, undefined);
    });
  });
}

function kinds({ texts, vectors }: StoreShape): string[] {
  return [
    ...texts.map(({ definition, state }) => `${definition.tokenizer} ${state}`),
    ...vectors.map(
      ({ definition, state }) => `${definition.name} ${definition.dimensions} ${state}`,
    ),
  ];
}

/** As content for each text index of any of the shapes above. */
function contentFor(
  shape: bigint,
  fields: Parameters<typeof contentOf>[0],
  more: Partial<RecordContent> = {},
): RecordContent {
  const [texts = []] = contentOf(fields).texts;
  return contentOf(fields, { shape, texts: [texts, texts], ...more });
}

function create(
  id: string,
  shape: bigint,
  fields: Parameters<typeof contentOf>[0] = {},
  more: Partial<RecordContent> = {},
): WriteStep {
  return { kind: "create", id, content: contentFor(shape, fields, more), labels: {} };
}

function deriveStep(
  id: string,
  ifVersion: bigint,
  shape: bigint,
  fields: Parameters<typeof contentOf>[0],
  more: Partial<RecordContent> = {},
): WriteStep {
  return { kind: "derive", id, ifVersion, derived: contentFor(shape, fields, more) };
}
