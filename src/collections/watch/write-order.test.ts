import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { StepOutcome } from "../../storage/record-store.ts";
import { type NotedWrite, WriteOrder } from "./write-order.ts";

function write(revision: bigint, changed = 1, replayed = false): NotedWrite {
  const outcome: StepOutcome = {
    id: "a",
    version: revision,
    createdUs: 0n,
    updatedUs: 0n,
    labels: {},
    change: "updated",
  };
  const outcomes = Array.from({ length: changed }, () => outcome);
  return { write: { steps: [] }, outcome: { outcomes, revision, replayed } };
}

function revisions(writes: readonly NotedWrite[]): bigint[] {
  return writes.map(({ outcome }) => outcome.revision);
}

describe("WriteOrder", () => {
  it("passes writes on by revision, whatever the order in which they come", () => {
    const order = new WriteOrder(10n);
    assert.deepEqual(revisions(order.add(write(14n, 2))), []);
    assert.deepEqual(revisions(order.add(write(12n))), []);
    assert.ok(order.hasGap);
    assert.deepEqual(revisions(order.add(write(11n))), [11n, 12n, 14n]);
    assert.ok(!order.hasGap);
    assert.equal(order.end, 14n);
  });

  it("passes over what is known already and what changes nothing", () => {
    const order = new WriteOrder(10n);
    assert.deepEqual(order.add(write(10n)), []);
    assert.deepEqual(order.add(write(11n, 1, true)), []);
    assert.deepEqual(order.add(write(10n, 0)), []);
    assert.ok(!order.hasGap);
  });

  it("goes on behind what is missing once that is given up", () => {
    const order = new WriteOrder(10n);
    order.add(write(13n));
    assert.deepEqual(revisions(order.skip()), [13n]);
    order.add(write(16n));
    order.add(write(20n));
    assert.deepEqual(revisions(order.skip(18n)), []);
    assert.equal(order.end, 18n);
    assert.deepEqual(revisions(order.add(write(19n))), [19n, 20n]);
  });
});
