import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { type ArchiveContent, chunkBytes, openContent } from "./archive-content.ts";

const mebibyte = 1024 * 1024;

async function piped(pieces: readonly Uint8Array[]): Promise<ArchiveContent> {
  async function* input() {
    yield* pieces;
  }
  return await openContent(input(), true, {});
}

async function allFrom(content: ArchiveContent, offset: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of content.from(offset)) {
    assert.ok(chunk.byteLength > 0 && chunk.byteLength <= chunkBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

describe("an archive that comes out of a pipe", () => {
  it("can be read again from wherever it is held, whatever the pieces that it came in", async () => {
    const bytes = randomBytes(5_000_000);
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; ) {
      const size = [1, 65_536, 3 * mebibyte, 0][pieces.length % 4] ?? 0;
      pieces.push(bytes.subarray(at, at + size));
      at += size;
    }
    const content = await piped(pieces);
    assert.equal(content.sizeBytes, undefined);
    // Left in the middle, as by a connection that breaks.
    let passed = 0;
    for await (const chunk of content.from(0)) {
      passed += chunk.byteLength;
      if (passed > 2_000_000) break;
    }
    for (const offset of [0, 1, 65_537, passed - 1, passed, bytes.length]) {
      assert.ok((await allFrom(content, offset)).equals(bytes.subarray(offset)), `from ${offset}`);
    }
  });

  it("is held as far as 32 MiB back, and no more", async () => {
    const piece = randomBytes(mebibyte);
    const content = await piped(Array.from({ length: 40 }, () => piece));
    await allFrom(content, 0);
    assert.equal((await allFrom(content, 8 * mebibyte)).byteLength, 32 * mebibyte);
    await assert.rejects(allFrom(content, 8 * mebibyte - 1), { reason: "TRANSFER_NOT_FOUND" });
  });

  it("is waited for before anything is sent, and has to come", async () => {
    await assert.rejects(piped([]), { reason: "ARCHIVE_INVALID" });
    const never: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }),
    };
    const cancel = new AbortController();
    const opening = openContent(never, true, { signal: cancel.signal });
    cancel.abort();
    await assert.rejects(opening, { reason: "CANCELLED" });
  });
});
