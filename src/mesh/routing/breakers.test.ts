import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Breakers, collectorsMax, failuresMax } from "./breakers.ts";

function failOften(breakers: Breakers, id: string, times: number): void {
  for (let time = 0; time < times; time += 1) breakers.failed(id);
}

describe("Breakers", () => {
  it("let a collector have calls until it has failed so often in a row", () => {
    const breakers = new Breakers(() => 0);
    failOften(breakers, "a", failuresMax - 1);
    assert.equal(breakers.allows("a"), true);
    breakers.succeeded("a");
    failOften(breakers, "a", failuresMax - 1);
    assert.equal(breakers.allows("a"), true);
    breakers.failed("a");
    assert.equal(breakers.allows("a"), false);
    assert.equal(breakers.allows("b"), true);
  });

  it("try it with one call after a pause, which grows while that fails", () => {
    let nowMs = 0;
    const breakers = new Breakers(() => nowMs);
    failOften(breakers, "a", failuresMax);
    const pauses: number[] = [];
    for (let round = 0; round < 10; round += 1) {
      const beganMs = nowMs;
      while (!breakers.allows("a")) nowMs += 100;
      pauses.push(nowMs - beganMs);
      breakers.begin("a");
      assert.equal(breakers.allows("a"), false, "one call is enough");
      breakers.failed("a");
    }
    assert.deepEqual(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 30_000]);
    nowMs += 30_000;
    breakers.begin("a");
    breakers.succeeded("a");
    assert.equal(breakers.allows("a"), true);
  });

  it("count calls that fail together as one failure once it has no more calls", () => {
    let nowMs = 0;
    const breakers = new Breakers(() => nowMs);
    failOften(breakers, "a", 100 * failuresMax);
    nowMs = 500;
    assert.equal(breakers.allows("a"), true);
    breakers.begin("a");
    breakers.failed("a");
    nowMs = 1400;
    assert.equal(breakers.allows("a"), false);
    nowMs = 1500;
    assert.equal(breakers.allows("a"), true);
  });

  it("let another call find out if the one that should was given up", () => {
    let nowMs = 0;
    const breakers = new Breakers(() => nowMs);
    failOften(breakers, "a", failuresMax);
    nowMs = 1000;
    breakers.begin("a");
    breakers.undecided("a");
    assert.equal(breakers.allows("a"), true);
  });

  it("remember so many collectors and no more", () => {
    const breakers = new Breakers(() => 0);
    failOften(breakers, "a", failuresMax);
    for (let other = 1; other < collectorsMax; other += 1) breakers.failed(`other-${other}`);
    assert.equal(breakers.allows("a"), false);
    breakers.failed("one more");
    assert.equal(breakers.allows("a"), true);
  });
});
