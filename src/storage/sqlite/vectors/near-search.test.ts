import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CollectorError } from "../../../errors.ts";
import { bind, join, raw, type SqlFragment, sql } from "../query/sql.ts";
import { createSchema } from "../schema.ts";
import type { Metric } from "./distance.ts";
import { findNear, type NearHits } from "./near-search.ts";
import { type VectorIndexRow, VectorTables, vectorTable } from "./vector-table.ts";

/** Distances by another formula may differ by this much. */
const tolerance = 1e-7;

interface Opened extends Disposable {
  readonly db: DatabaseSync;
  readonly index: VectorIndexRow;
  readonly tables: VectorTables;
  /** Makes `alive()` throw after so many calls. */
  stopAfter(calls: number): void;
}

function open(metric: Metric, dimensions: number): Opened {
  const db = new DatabaseSync(":memory:", { readBigInts: true });
  const definition = { name: "embedding", dimensions, metric };
  createSchema(
    db,
    { durability: "full", text: undefined, vectors: [definition], indexes: [] },
    "i",
  );
  const index: VectorIndexRow = { number: 1n, definition, state: "ready" };
  let left = Number.POSITIVE_INFINITY;
  db.function("alive", () => {
    left--;
    if (left < 0) throw new CollectorError("CANCELLED", "the query was cancelled");
    return 1;
  });
  return {
    db,
    index,
    tables: new VectorTables(db, [index]),
    stopAfter(calls) {
      left = calls;
    },
    [Symbol.dispose]: () => db.close(),
  };
}

function addRecord(db: DatabaseSync, seq: bigint): void {
  db.prepare(`
    INSERT INTO record (seq, id, version, created_us, updated_us, labels, document, data)
    VALUES (?1, 'id' || ?1, ?1, 0, 0, '{}', jsonb('{}'), x'')
  `).run(seq);
}

function naiveDistance(metric: Metric, left: Float32Array, right: Float32Array): number {
  const [a, b] = [Array.from(left), Array.from(right)];
  const dot = (x: number[], y: number[]): number =>
    x.reduce((sum, v, at) => sum + v * (y[at] ?? 0), 0);
  if (metric === "l2") return Math.hypot(...a.map((value, at) => value - (b[at] ?? 0)));
  const lengths = Math.sqrt(dot(a, a)) * Math.sqrt(dot(b, b));
  return lengths === 0 ? Number.NaN : 1 - dot(a, b) / lengths;
}

/** Checks an answer against all vectors there are. */
function checkAnswer(
  found: NearHits,
  model: ReadonlyMap<bigint, Float32Array>,
  metric: Metric,
  point: Float32Array,
  distanceMax: number | undefined,
  k: number,
): void {
  const distances = new Map<bigint, number>();
  for (const [seq, vector] of model) {
    const distance = naiveDistance(metric, vector, point);
    if (!Number.isNaN(distance)) distances.set(seq, distance);
  }
  const limit = distanceMax ?? Number.MAX_VALUE;
  const scale = Math.max(1, ...distances.values());
  const slack = tolerance * scale;
  const sorted = [...distances.values()].sort((a, b) => a - b);
  const least = sorted.filter((distance) => distance <= limit - slack).length;
  const most = sorted.filter((distance) => distance <= limit + slack).length;
  assert(found.count >= least && found.count <= most, `${least} <= ${found.count} <= ${most}`);
  assert.equal(found.hits.length, Math.min(k, found.count));
  for (const [place, { seq, distance }] of found.hits.entries()) {
    const own = distances.get(seq);
    assert(own !== undefined && Math.abs(own - distance) <= slack, `${seq}: ${own} ${distance}`);
    assert(Math.abs((sorted[place] ?? Number.NaN) - distance) <= slack, `place ${place}`);
    const before = found.hits[place - 1];
    if (before === undefined) continue;
    assert(before.distance < distance || (before.distance === distance && before.seq < seq));
  }
  assert.equal(new Set(found.hits.map(({ seq }) => seq)).size, found.hits.length);
}

/** Numbers that tie often, numbers of any size, and those that are lost in products. */
const component: fc.Arbitrary<number> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(-1, 0, 0.5, 1) },
  { weight: 4, arbitrary: fc.float({ min: -2, max: 2, noNaN: true }) },
  { weight: 1, arbitrary: fc.constantFrom(1e-30, 1e20, -3e38, 1e-45) },
);

const vectorOf = (dimensions: number): fc.Arbitrary<Float32Array> =>
  fc
    .array(component, { minLength: dimensions, maxLength: dimensions })
    .map((values) => Float32Array.from(values));

interface Case {
  readonly metric: Metric;
  readonly writes: readonly { seq: bigint; vector: Float32Array | "keep" | "remove" | undefined }[];
  readonly point: Float32Array;
  readonly allowed: readonly bigint[] | undefined;
  readonly distanceMax: number | undefined;
  readonly k: number;
}

const cases: fc.Arbitrary<Case> = fc
  .record({
    dimensions: fc.integer({ min: 1, max: 40 }),
    metric: fc.constantFrom<Metric>("cosine", "l2"),
  })
  .chain(({ dimensions, metric }) => {
    const seq = fc.bigInt({ min: 1n, max: 300n });
    const vector = vectorOf(dimensions);
    return fc.record({
      metric: fc.constant(metric),
      writes: fc.array(
        fc.record({
          seq,
          vector: fc.oneof(
            { weight: 6, arbitrary: vector },
            {
              weight: 1,
              arbitrary: fc.constantFrom<"keep" | "remove" | undefined>(
                "keep",
                "remove",
                undefined,
              ),
            },
          ),
        }),
        { maxLength: 250, size: "max" },
      ),
      point: vector,
      allowed: fc.option(fc.uniqueArray(seq, { maxLength: 300 }), { nil: undefined }),
      distanceMax: fc.option(fc.double({ min: 0, max: 3, noNaN: true }), { nil: undefined }),
      k: fc.integer({ min: 1, max: 40 }),
    });
  });

describe("findNear", () => {
  it("finds what looking at every vector finds, whatever was written, allowed and asked", () => {
    fc.assert(
      fc.property(cases, ({ metric, writes, point, allowed, distanceMax, k }) => {
        using store = open(metric, point.length);
        const model = new Map<bigint, Float32Array>();
        const known = new Set<bigint>();
        for (const { seq, vector } of writes) {
          const fresh = !known.has(seq);
          if (fresh) addRecord(store.db, seq);
          known.add(seq);
          if (vector === "remove") store.tables.remove(seq);
          else store.tables.set(seq, [vector], fresh);
          if (vector === "remove" || vector === undefined) model.delete(seq);
          else if (vector !== "keep") model.set(seq, vector);
        }
        const filter: SqlFragment | undefined =
          allowed &&
          sql`
            SELECT seq FROM record WHERE alive() AND seq IN (${join(
              allowed.map((seq) => bind(seq)),
              ", ",
            )})
          `;
        const match = { vector: "embedding", point, distanceMax };
        const found = findNear(store.db, match, store.index, filter, k);
        for (const seq of model.keys()) if (allowed?.includes(seq) === false) model.delete(seq);
        checkAnswer(found, model, metric, point, distanceMax, k);
      }),
      { numRuns: 300 },
    );
  });

  it("looks at few vectors in full, and only at the allowed ones if these are few", () => {
    using store = open("cosine", 64);
    const random = mulberry(1);
    for (let seq = 1n; seq <= 2000n; seq++) {
      addRecord(store.db, seq);
      store.tables.set(seq, [Float32Array.from({ length: 64 }, () => random() - 0.5)], true);
    }
    const point = Float32Array.from({ length: 64 }, () => random() - 0.5);
    const match = { vector: "embedding", point, distanceMax: undefined };
    const all = findNear(store.db, match, store.index, undefined, 10);
    assert.equal(all.count, 2000);
    assert(all.visited < 2100, `${all.visited}`);
    const few = findNear(store.db, match, store.index, allowedBy("r.seq % 100 = 0"), 10);
    assert.equal(few.visited, 20);
    assert.equal(few.count, 20);
  });

  it("stops as soon as it is told to, in each of its parts", () => {
    using store = open("l2", 8);
    for (let seq = 1n; seq <= 4000n; seq++) {
      addRecord(store.db, seq);
      // All equal, so codes tell nothing apart.
      store.tables.set(seq, [new Float32Array(8).fill(0.3)], true);
    }
    const match = {
      vector: "embedding",
      point: new Float32Array(8).fill(0.3),
      distanceMax: undefined,
    };
    const few = allowedBy("r.seq % 7 = 0");
    for (const [allowed, calls] of [
      [undefined, 3],
      [undefined, 65],
      [few, 100],
      [few, 571],
      [allowedBy("r.seq > 0"), 4010],
    ] as const) {
      store.stopAfter(calls);
      assert.throws(() => findNear(store.db, match, store.index, allowed, 10), {
        reason: "CANCELLED",
      });
    }
    store.stopAfter(Number.POSITIVE_INFINITY);
    const found = findNear(store.db, match, store.index, undefined, 3);
    assert.deepEqual(
      found.hits,
      [1n, 2n, 3n].map((seq) => ({ seq, distance: 0 })),
    );
  });

  it("finds nothing near a point without a direction, and no vector that has none", () => {
    using store = open("cosine", 3);
    for (const [seq, vector] of [
      [1n, [0, 0, 0]],
      [2n, [0, 1e-45, 0]],
      [3n, [Number.NaN, 1, 0]],
      [4n, [Number.POSITIVE_INFINITY, 1, 0]],
    ] as const) {
      addRecord(store.db, seq);
      store.tables.set(seq, [Float32Array.from(vector)], true);
    }
    const near = (point: readonly number[]): NearHits =>
      findNear(
        store.db,
        { vector: "embedding", point: Float32Array.from(point), distanceMax: undefined },
        store.index,
        undefined,
        10,
      );
    assert.deepEqual(near([0, 5, 0]).hits, [{ seq: 2n, distance: 0 }]);
    assert.deepEqual(near([0, 0, 0]).hits, []);
    assert.deepEqual(near([Number.NaN, 1, 0]).hits, []);
    assert.throws(() => near([1, 2]), { reason: "QUERY_INVALID" });
  });

  it("keeps a side vector for an index that is built anew, if it has as many dimensions", () => {
    using store = open("cosine", 2);
    addRecord(store.db, 1n);
    store.tables.set(1n, [Float32Array.of(3, 4)], true);
    const building: VectorIndexRow = {
      number: 2n,
      definition: { name: "embedding", dimensions: 2, metric: "l2" },
      state: "building",
    };
    store.db.exec(vectorTable(building.number, building.definition));
    const both = new VectorTables(store.db, [store.index, building]);
    both.set(1n, ["keep", "keep"], false);
    const match = { vector: "embedding", point: Float32Array.of(3, 0), distanceMax: undefined };
    const { hits } = findNear(store.db, match, building, undefined, 1);
    assert.deepEqual(hits, [{ seq: 1n, distance: 4 }]);
  });
});

/** The records of which a condition holds. */
function allowedBy(condition: string): SqlFragment {
  return sql`SELECT r.seq AS seq FROM record r WHERE (${raw(condition)}) AND alive()`;
}

/** Repeatable random numbers from 0 to 1. */
function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
