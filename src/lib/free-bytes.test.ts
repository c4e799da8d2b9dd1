import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { freeBytes } from "./free-bytes.ts";

const mib = 1024 * 1024;

describe("Bytes that are freed", () => {
  it("take no memory any more, though objects of the engine hold them", () => {
    const block = zstdCompressSync(Buffer.alloc(mib));
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    for (let round = 0; round < 200; round += 1) {
      const plain = zstdDecompressSync(block, { chunkSize: 2 * mib });
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
      freeBytes(plain);
      assert.equal(plain.length, 0);
    }
    assert.ok(most < 4 * mib, String(most));
  });

  it("are none that share their memory", () => {
    const small = Buffer.from("small");
    const other = Buffer.from("other");
    freeBytes(small);
    assert.equal(Buffer.concat([small, other]).toString(), "smallother");
    const large = randomBytes(mib);
    freeBytes(large);
    assert.equal(large.length, 0);
  });
});
