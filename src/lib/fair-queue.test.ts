import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FairQueue } from "./fair-queue.ts";

describe("FairQueue", () => {
  it("lets keys take turns, each in its own order", () => {
    const queue = new FairQueue<string>(10);
    for (const item of ["a1", "a2", "a3", "b1", "c1", "b2"]) queue.push(item.slice(0, 1), item);
    const taken = Array.from({ length: 7 }, () => queue.shift());
    assert.deepEqual(taken, ["a1", "b1", "c1", "a2", "b2", "a3", undefined]);
    assert.equal(queue.size, 0);
  });

  it("takes no more than its bound, and again once there is room", () => {
    const queue = new FairQueue<number>(2);
    assert.equal(queue.push("a", 1), true);
    assert.equal(queue.push("b", 2), true);
    assert.equal(queue.push("c", 3), false);
    assert.equal(queue.shift(), 1);
    assert.equal(queue.push("c", 3), true);
  });

  it("gives up an item out of turn", () => {
    const queue = new FairQueue<number>(3);
    queue.push("a", 1);
    queue.push("a", 2);
    assert.equal(queue.remove("a", 1), true);
    assert.equal(queue.remove("a", 1), false);
    assert.equal(queue.remove("b", 2), false);
    assert.deepEqual([queue.size, queue.shift(), queue.shift()], [1, 2, undefined]);
  });
});
