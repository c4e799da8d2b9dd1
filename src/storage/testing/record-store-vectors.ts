import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Condition } from "../record-query.ts";
import type { RecordStore, WriteStep } from "../record-store.ts";
import type { StoreLayout, VectorIndexDefinition } from "../store-layout.ts";
import { contentOf, type OpenHarness, openPeople, peopleLayout } from "./engine-harness.ts";

type Metric = VectorIndexDefinition["metric"];
type Vector = Float32Array | "keep" | undefined;

/** Distances by another formula may differ by this much. */
const tolerance = 1e-6;
const dimensions = 5;

function layoutOf(metric: Metric): StoreLayout {
  return { ...peopleLayout, vectors: [{ name: "face", dimensions, metric }] };
}

function naiveDistance(metric: Metric, left: Float32Array, right: Float32Array): number {
  const pairs = [...left].map((value, at) => [value, right[at] ?? 0] as const);
  if (metric === "l2") return Math.hypot(...pairs.map(([a, b]) => a - b));
  const product = pairs.reduce((sum, [a, b]) => sum + a * b, 0);
  return 1 - product / (Math.hypot(...left) * Math.hypot(...right));
}

/** What a write does to the vector and the age of a record. */
interface Change {
  readonly id: string;
  readonly kind: "put" | "delete";
  readonly age: number;
  readonly vector: Vector;
}

const vector: fc.Arbitrary<Float32Array> = fc
  .array(fc.constantFrom(-2, -1, 0, 0.25, 1, 3), { minLength: dimensions, maxLength: dimensions })
  .filter((values) => values.some((value) => value !== 0))
  .map((values) => Float32Array.from(values));

const change: fc.Arbitrary<Change> = fc.record({
  id: fc.integer({ min: 0, max: 60 }).map(String),
  kind: fc.constantFrom("put", "put", "put", "delete"),
  age: fc.integer({ min: 0, max: 3 }),
  vector: fc.oneof(
    { weight: 5, arbitrary: vector },
    { weight: 1, arbitrary: fc.constantFrom<Vector>("keep", undefined) },
  ),
});

const cases = fc.record({
  metric: fc.constantFrom<Metric>("cosine", "l2"),
  writes: fc.array(fc.array(change, { minLength: 1, maxLength: 40 }), { maxLength: 4 }),
  point: vector,
  age: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
  distanceMax: fc.option(fc.double({ min: 0, max: 3, noNaN: true }), { nil: undefined }),
  limit: fc.integer({ min: 1, max: 30 }),
});

function stepOf({ id, kind, age, vector: written }: Change): WriteStep {
  if (kind === "delete") return { kind, id, allowMissing: true };
  const content = contentOf({ age }, { vectors: [written] });
  return { kind: "update", id, content, labels: undefined, allowMissing: true };
}

function ageIs(age: number): Condition {
  const steps = [{ kind: "member", name: "age" }] as const;
  const source = { kind: "field", steps, index: "age" } as const;
  return { kind: "compare", source, operator: "eq", value: BigInt(age) };
}

/** What every engine must do to find records by their vectors. */
export function describeRecordStoreVectors(engineName: string, open: OpenHarness): void {
  describe(`RecordStore on ${engineName}: vectors`, () => {
    it("finds the nearest of the records that a filter allows, exactly, whatever was written", async () => {
      await using harness = await open();
      let generation = 0n;
      await fc.assert(
        fc.asyncProperty(cases, async ({ metric, writes, point, age, distanceMax, limit }) => {
          generation++;
          const location = { storeId: "faces", generation };
          await harness.engine.create(location, layoutOf(metric));
          const store = harness.engine.store(location);
          const model = new Map<string, { age: number; vector: Float32Array | undefined }>();
          for (const changes of writes) {
            await store.write({ steps: changes.map(stepOf) });
            for (const { id, kind, age: own, vector: written } of changes) {
              if (kind === "delete") {
                model.delete(id);
                continue;
              }
              const kept = written === "keep" ? model.get(id)?.vector : written;
              model.set(id, { age: own, vector: kept });
            }
          }
          const expected = [...model.entries()]
            .flatMap(([id, { age: own, vector: kept }]) =>
              kept === undefined || (age !== undefined && own !== age)
                ? []
                : [{ id, distance: naiveDistance(metric, kept, point) }],
            )
            .sort((a, b) => a.distance - b.distance);
          const found = await store.search({
            near: { vector: "face", point, distanceMax },
            where: age === undefined ? undefined : ageIs(age),
            limit,
            offset: 0,
          });
          const most = distanceMax ?? Number.MAX_VALUE;
          const within = (slack: number): number =>
            expected.filter(({ distance }) => distance <= most + slack).length;
          const count = Number(found.totalCount);
          assert(count >= within(-tolerance) && count <= within(tolerance), `${count}`);
          assert.equal(found.hits.length, Math.min(limit, count));
          const distances = new Map(expected.map(({ id, distance }) => [id, distance]));
          for (const [place, { record, distance }] of found.hits.entries()) {
            assert(distance !== undefined);
            assert(Math.abs((distances.get(record.id) ?? Number.NaN) - distance) <= tolerance);
            assert(Math.abs((expected[place]?.distance ?? Number.NaN) - distance) <= tolerance);
          }
        }),
        { numRuns: 40 },
      );
    });

    it("orders equal distances by creation, and pages through them without a gap", async () => {
      await using opened = await openPeople(open, {}, layoutOf("cosine"));
      await fill(opened.store, 300);
      const near = { vector: "face", point: new Float32Array(dimensions).fill(2), distanceMax: 0 };
      const ids: string[] = [];
      for (let offset = 0; offset < 300; offset += 70) {
        const page = await opened.store.search({ near, limit: 70, offset });
        assert.equal(page.totalCount, 300n);
        ids.push(...page.hits.map(({ record }) => record.id));
      }
      assert.deepEqual(
        ids,
        Array.from({ length: 300 }, (_, number) => `${number}`),
      );
    });

    it("finds by vectors after the engine was closed and opened", async () => {
      await using harness = await open();
      const location = { storeId: "faces", generation: 1n };
      await harness.engine.create(location, layoutOf("l2"));
      await fill(harness.engine.store(location), 3);
      await harness.reopen();
      const near = { vector: "face", point: new Float32Array(dimensions), distanceMax: undefined };
      const found = await harness.engine.store(location).search({ near, limit: 2, offset: 0 });
      assert.deepEqual(
        found.hits.map(({ record, distance }) => [record.id, distance]),
        [
          ["0", Math.sqrt(dimensions)],
          ["1", Math.sqrt(dimensions)],
        ],
      );
    });
  });
}

/** Writes records whose vectors are all of ones. */
async function fill(store: RecordStore, count: number): Promise<void> {
  const steps = Array.from({ length: count }, (_, number): WriteStep => {
    const content = contentOf({}, { vectors: [new Float32Array(dimensions).fill(1)] });
    return { kind: "create", id: `${number}`, content, labels: {} };
  });
  await store.write({ steps });
}
