import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { encodeFrame, FrameReader } from "./frame.ts";
import { FrameBuffers } from "./frame-buffers.ts";

const limit = 100_000;

describe("FrameReader", () => {
  it("finds the frames again, however their bytes are cut", () => {
    const payloads = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
    fc.assert(
      fc.property(payloads, fc.infiniteStream(fc.integer({ min: 1, max: 400 })), (all, sizes) => {
        const bytes = Buffer.concat(all.map((payload) => encodeFrame(payload)));
        const reader = new FrameReader(limit);
        const found: Uint8Array[] = [];
        for (let at = 0; at < bytes.length; ) {
          const size = Number(sizes.next().value);
          reader.push(bytes.subarray(at, at + size));
          at += size;
          for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
            found.push(frame.payload);
          }
        }
        assert.deepEqual(
          found.map((payload) => Buffer.from(payload)),
          all.map((payload) => Buffer.from(payload)),
        );
        assert.equal(reader.bufferedBytes, 0);
      }),
      { numRuns: 200, seed: 3 },
    );
  });

  it("keeps frames that wait while more come", () => {
    const reader = new FrameReader(limit);
    const frames = Array.from({ length: 500 }, (_, i) => encodeFrame(Buffer.from(`frame ${i}`)));
    for (const frame of frames) reader.push(frame);
    for (let i = 0; i < 500; i += 1) {
      assert.equal(Buffer.from(reader.next()?.payload ?? []).toString(), `frame ${i}`);
    }
    assert.equal(reader.next(), undefined);
  });

  it("never writes into what it has handed out", () => {
    const reader = new FrameReader(limit);
    const first = encodeFrame(Buffer.alloc(20_000, "a"));
    reader.push(first.subarray(0, 10));
    reader.push(Buffer.concat([first.subarray(10), encodeFrame(Buffer.from("b")).subarray(0, 3)]));
    const payload = reader.next()?.payload;
    reader.push(Buffer.alloc(30_000, "c"));
    assert.ok(payload?.every((byte) => byte === 97));
  });

  it("copies a payload that is small beside the buffer it came in, and no other", () => {
    const slab = new Uint8Array(65_536);
    const small = encodeFrame(Buffer.alloc(300));
    slab.set(small);
    const reader = new FrameReader(limit);
    reader.push(slab.subarray(0, small.byteLength));
    assert.equal(reader.next()?.payload.buffer.byteLength, 300);

    const large = encodeFrame(Buffer.alloc(60_000));
    slab.set(large);
    reader.push(slab.subarray(0, large.byteLength));
    assert.equal(reader.next()?.payload.buffer, slab.buffer);
  });

  it("refuses a length over the limit and an unknown flag by the prefix alone", () => {
    const tooLong = new FrameReader(99);
    tooLong.push(Buffer.from([0, 0, 0, 0, 100]));
    assert.throws(() => tooLong.next(), { reason: "MESSAGE_TOO_LARGE" });
    const longest = new FrameReader(0xfffffffe);
    longest.push(Buffer.from([0, 0xff, 0xff, 0xff, 0xff]));
    assert.throws(() => longest.hasFrame(), { reason: "MESSAGE_TOO_LARGE" });
    const flagged = new FrameReader(99);
    flagged.push(Buffer.from([3, 0, 0, 0, 1]));
    assert.throws(() => flagged.next(), { reason: "ARGUMENT_INVALID" });
  });

  it("does not take the memory that a prefix declares before the bytes come", () => {
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 200 }, () => {
      const reader = new FrameReader(4 * 1024 * 1024);
      reader.push(Buffer.from([0, 0, 0x3f, 0xff, 0xff]));
      reader.push(Buffer.from([1]));
      return reader;
    });
    const grown = process.memoryUsage().arrayBuffers - before;
    assert.ok(grown < 20 * 1024 * 1024, `${grown} bytes for ${readers.length} readers`);
  });

  it("puts large frames together in memory that is used again once it is given back", () => {
    const sizes = fc.array(fc.constantFrom(0, 10, 262_143, 262_144, 400_000, 1_000_000), {
      minLength: 1,
      maxLength: 6,
    });
    const cuts = fc.infiniteStream(fc.constantFrom(1, 5, 1000, 32_768, 65_536, 300_000));
    fc.assert(
      fc.property(sizes, cuts, fc.infiniteStream(fc.boolean()), (all, pieces, returns) => {
        const payloads = all.map((size, at) => Buffer.alloc(size, at + 1));
        const bytes = Buffer.concat(payloads.map((payload) => encodeFrame(payload)));
        const reader = new FrameReader(2_000_000, new FrameBuffers());
        const kept: [Uint8Array, number][] = [];
        let found = 0;
        for (let at = 0; at < bytes.length; ) {
          const size = Number(pieces.next().value);
          // Small pieces of large frames would take for ever.
          const piece = bytes.length > 500_000 ? Math.max(size, 1000) : size;
          reader.push(Uint8Array.prototype.slice.call(bytes, at, at + piece));
          at = Math.min(at + piece, bytes.length);
          assert.ok(reader.bufferedBytes <= at);
          const isThere = reader.hasFrame();
          let frame = reader.next();
          assert.equal(frame !== undefined, isThere);
          for (; frame !== undefined; frame = reader.next()) {
            const { payload, giveBack } = frame;
            assert.ok(payloads[found]?.equals(payload), `frame ${found}`);
            found += 1;
            if (giveBack !== undefined && returns.next().value === true) giveBack();
            else kept.push([payload, found]);
          }
        }
        assert.equal(found, payloads.length);
        assert.equal(reader.bufferedBytes, 0);
        for (const [payload, byte] of kept) assert.ok(payload.every((found) => found === byte));
      }),
      { numRuns: 60 },
    );
  });

  it("takes the same memory for the next large frame", () => {
    const reader = new FrameReader(2_000_000, new FrameBuffers());
    const memory = new Set<ArrayBufferLike>();
    for (let round = 0; round < 10; round += 1) {
      const bytes = encodeFrame(Buffer.alloc(1_000_000 + round, round));
      for (let at = 0; at < bytes.length; at += 65_536) reader.push(bytes.slice(at, at + 65_536));
      const frame = reader.next();
      assert.ok(frame);
      assert.ok(frame.payload.every((byte) => byte === round));
      memory.add(frame.payload.buffer);
      frame.giveBack?.();
    }
    assert.equal(memory.size, 1);
  });
});
