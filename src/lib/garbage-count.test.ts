import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { zstdCompressSync } from "node:zlib";
import { GarbageCount } from "./garbage-count.ts";

const mib = 1024 * 1024;

describe("garbage that is counted", () => {
  it("goes when it was in young buffers", () => {
    const garbage = new GarbageCount("young");
    const most = mostOf(200, garbage, () => void Buffer.allocUnsafeSlow(mib));
    assert.ok(most < 60 * mib, String(most));
  });

  it("goes when objects of the engine held it", () => {
    const garbage = new GarbageCount("held");
    const block = randomBytes(mib - 64 * 1024);
    const compress = (): void => void zstdCompressSync(block, { chunkSize: mib });
    assert.ok(mostOf(200, garbage, compress) < 44 * mib);
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
