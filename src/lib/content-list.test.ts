import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { ContentList } from "./content-list.ts";

const digest = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString("hex"));

describe("ContentList", () => {
  it("is a sorted map of digests to sizes", () => {
    const sizes = fc.bigInt({ min: 0n, max: 2n ** 53n });
    fc.assert(
      fc.property(fc.array(fc.tuple(digest, sizes)), fc.array(digest), (entries, others) => {
        const model = new Map(entries);
        const list = ContentList.of(entries.map(([sha256, sizeBytes]) => ({ sha256, sizeBytes })));
        const sorted = [...model.keys()].sort();
        assert.deepEqual(
          [...list].map(({ sha256, sizeBytes }) => [sha256, sizeBytes]),
          sorted.map((sha256) => [sha256, model.get(sha256)]),
        );
        assert.equal(list.count, model.size);
        assert.equal(
          list.totalBytes,
          [...model.values()].reduce((sum, size) => sum + size, 0n),
        );
        for (const sha256 of [...sorted, ...others]) {
          assert.equal(list.sizeOf(sha256), model.get(sha256));
        }
        assert.equal(new ContentList(list.digests, list.sizes).problem, undefined);
        const kept = list.filter((sha256) => sha256 < "8");
        assert.deepEqual(
          [...kept].map(({ sha256 }) => sha256),
          sorted.filter((sha256) => sha256 < "8"),
        );
      }),
    );
  });

  it("says what is wrong with bytes that are no list", () => {
    const [one, other] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
    const [small, large] = [Buffer.alloc(8), Buffer.alloc(16)];
    const problem = (digests: Buffer, sizes: Buffer) => new ContentList(digests, sizes).problem;
    assert.equal(problem(Buffer.concat([one, other]), large), undefined);
    assert.match(problem(Buffer.concat([other, one]), large) ?? "", /not in order/);
    assert.match(problem(Buffer.concat([one, one]), large) ?? "", /not in order/);
    for (const [digests, sizes] of [
      [one, large],
      [Buffer.concat([one, other]), small],
      [one.subarray(1), small],
      [one, small.subarray(1)],
      [one.subarray(28), small.subarray(7)],
    ] as const) {
      assert.match(problem(digests, sizes) ?? "", /size for each/);
    }
  });

  it("has nothing under what is no digest", () => {
    const list = ContentList.of([{ sha256: "ab".repeat(32), sizeBytes: 1n }]);
    for (const text of ["", "ab", "AB".repeat(32), `${"ab".repeat(31)}zz`, "../x"]) {
      assert.equal(list.sizeOf(text), undefined);
    }
  });
});
