import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Slots } from "./slots.ts";

describe("Slots", () => {
  it("has what a map by number has, whatever comes and goes", () => {
    const step = fc.oneof(fc.constant("add" as const), fc.constant("clear" as const), fc.nat(8));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const slots = new Slots<{ readonly number: number }>();
        const model = new Map<number, { readonly number: number }>();
        for (const [number, doing] of steps.entries()) {
          if (doing === "add") {
            const value = { number };
            const slot = slots.add(value);
            assert.ok(!model.has(slot), "two in one slot");
            model.set(slot, value);
          } else if (doing === "clear") {
            slots.clear();
            model.clear();
          } else {
            assert.equal(slots.take(doing), model.get(doing));
            model.delete(doing);
          }
          assert.equal(slots.size, model.size);
          assert.deepEqual(new Set(slots.values()), new Set(model.values()));
        }
      }),
    );
  });

  it("needs as many slots as there were at a time", () => {
    const slots = new Slots<string>();
    for (let round = 0; round < 1000; round += 1) {
      const taken = [slots.add("a"), slots.add("b")];
      assert.ok(Math.max(...taken) < 2);
      for (const slot of taken) slots.take(slot);
    }
  });
});
