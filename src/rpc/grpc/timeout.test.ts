import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { formatTimeout, parseTimeout } from "./timeout.ts";

describe("grpc-timeout", () => {
  it("is read in every unit", () => {
    const inMs = { "2H": 7_200_000, "3M": 180_000, "4S": 4000, "5m": 5, "6000u": 6, "7000000n": 7 };
    for (const [text, ms] of Object.entries(inMs)) assert.equal(parseTimeout(text), ms);
  });

  it("is refused by name when it is malformed", () => {
    for (const text of ["", "5", "m", "123456789m", "-5m", "5 m", "5s", "5.5S", "５m"]) {
      assert.throws(() => parseTimeout(text), {
        reason: "METADATA_INVALID",
        message: /^grpc-timeout/,
      });
    }
  });

  it("is written so that it reads as no less, and hardly more", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 3e11, noNaN: true }), (ms) => {
        const read = parseTimeout(formatTimeout(ms));
        assert.ok(read >= ms && read <= ms * 1.01 + 1, `${ms} ${read}`);
      }),
    );
  });
});
