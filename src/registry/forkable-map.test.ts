import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { ForkableMap } from "./forkable-map.ts";

const step = fc.record({
  kind: fc.constantFrom("set", "delete", "fork"),
  key: fc.integer({ min: 0, max: 150 }),
});

describe("ForkableMap", () => {
  it("is like a map that is copied at every fork", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400, size: "max" }), (steps) => {
        const forks: { map: ForkableMap<number, string>; copy: Map<number, string> }[] = [];
        let map = ForkableMap.empty<number, string>();
        let copy = new Map<number, string>();
        for (const [index, { kind, key }] of steps.entries()) {
          if (kind === "set") {
            map.set(key, `${index}`);
            copy.set(key, `${index}`);
          } else if (kind === "delete") {
            map.delete(key);
            copy.delete(key);
          } else {
            forks.push({ map, copy });
            map = map.fork();
            copy = new Map(copy);
          }
        }
        // What was forked from is as it was.
        for (const { map: seen, copy: expected } of [...forks, { map, copy }]) {
          assert.equal(seen.size, expected.size);
          assert.deepEqual(new Map(seen), new Map(expected));
          for (const [key, value] of expected) {
            assert.ok(seen.has(key));
            assert.equal(seen.get(key), value);
          }
        }
      }),
    );
  });
});
