import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import fc from "fast-check";
import openWabt from "wabt";
import { DotProducts, dotProductsCode } from "./dot-products.ts";

describe("DotProducts", () => {
  it("runs what its source says", async () => {
    const source = await readFile(new URL("dot-products.wat", import.meta.url), "utf8");
    const wabt = await openWabt();
    const assembled = wabt.parseWat("dot-products.wat", source, { simd: true });
    assert.equal(Buffer.from(assembled.toBinary({}).buffer).toString("base64"), dotProductsCode);
  });

  it("multiplies every row with the point", () => {
    const rows = fc.integer({ min: 1, max: 3 }).chain((units) =>
      fc.record({
        point: fc.int16Array({ minLength: 16 * units, maxLength: 16 * units }),
        codes: fc.integer({ min: 0, max: 5 }).chain((count) => {
          const length = 16 * units * count;
          return fc.int8Array({ minLength: length, maxLength: length });
        }),
      }),
    );
    fc.assert(
      fc.property(rows, ({ point, codes }) => {
        const sums = new DotProducts(point, 5).of(codes);
        for (let row = 0; row * point.length < codes.length; row++) {
          const expected = point.reduce(
            (sum, value, at) => sum + value * (codes[row * point.length + at] ?? 0),
            0,
          );
          assert.equal(sums[row], expected);
        }
      }),
    );
  });
});
