import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { GarbageCount } from "./garbage-count.ts";

const mib = 1024 * 1024;

describe("garbage that is counted", () => {
  it("goes before it is much", () => {
    const garbage = new GarbageCount();
    const most = mostOf(200, garbage, () => void Buffer.allocUnsafeSlow(mib));
    assert.ok(most < 60 * mib, String(most));
  });
});

/** @returns by how much the buffers of this process grew at most, in bytes, if each round makes 1 MiB */
function mostOf(rounds: number, garbage: GarbageCount, make: () => void): number {
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  for (let round = 0; round < rounds; round += 1) {
    make();
    most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    garbage.note(mib);
  }
  return most;
}
