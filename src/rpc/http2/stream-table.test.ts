import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { StreamTable } from "./stream-table.ts";

describe("a table of streams", () => {
  it("has what a map has, whatever comes and goes", () => {
    // Few ids, so that they come again; far apart too, so that they meet in the same slots.
    const ids = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 2 ** 31 - 1 }));
    const step = fc.tuple(fc.constantFrom("add", "delete"), ids);
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const table = new StreamTable<{ readonly id: number }>();
        const model = new Map<number, { readonly id: number }>();
        for (const [kind, id] of steps) {
          if (kind === "delete") {
            table.delete(id);
            model.delete(id);
          } else if (!model.has(id)) {
            const stream = { id };
            table.add(stream);
            model.set(id, stream);
          }
          assert.equal(table.size, model.size);
        }
        for (const [, id] of steps) assert.equal(table.get(id), model.get(id));
        assert.deepEqual(
          table.values().toSorted((a, b) => a.id - b.id),
          [...model.values()].toSorted((a, b) => a.id - b.id),
        );
      }),
    );
  });

  it("finds each of many, and none of them when they are gone", () => {
    const table = new StreamTable<{ readonly id: number }>();
    for (let id = 1; id < 20_000; id += 2) table.add({ id });
    assert.equal(table.size, 10_000);
    for (let id = 1; id < 20_000; id += 2) assert.equal(table.get(id)?.id, id);
    for (let id = 1; id < 20_000; id += 2) table.delete(id);
    assert.equal(table.size, 0);
    for (let id = 1; id < 20_000; id += 2) assert.equal(table.get(id), undefined);
  });
});
