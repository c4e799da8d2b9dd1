import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { defaultLimits } from "../lib/limits.ts";
import {
  checkCollectionName,
  checkLabels,
  checkRecordId,
  checkRequestId,
  newRecordId,
  refuseSystemWrite,
} from "./names.ts";

const text = fc.oneof(fc.string({ unit: "binary" }), fc.string({ unit: "grapheme" }), fc.string());
/** With halves of surrogate pairs, which no UTF-8 holds. */
const units = fc
  .array(fc.integer({ min: 0, max: 0xffff }))
  .map((codes) => String.fromCharCode(...codes));

function passes(check: () => void, reasons: readonly string[]): boolean {
  try {
    check();
    return true;
  } catch (error) {
    const { reason, violations } = error as { reason: string; violations: unknown[] };
    assert.ok(reasons.includes(reason), reason);
    assert.equal(violations.length, 1);
    return false;
  }
}

describe("names", () => {
  it("are 1 to 128 of the allowed characters, starting with a letter or a digit", () => {
    fc.assert(
      fc.property(fc.oneof(text, fc.stringMatching(/^[\w.-]{1,130}$/)), (name) => {
        const isName = /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name) && name.length <= 128;
        const check = (): void => checkCollectionName(name, "name");
        assert.equal(passes(check, ["NAME_INVALID", "ARGUMENT_MISSING"]), isName);
      }),
    );
    for (const name of ["a\n", "../x", "..", "-a", "x".repeat(129), "é"]) {
      assert.throws(() => checkCollectionName(name, "name"), { reason: "NAME_INVALID" });
    }
    assert.throws(() => refuseSystemWrite("system"), { reason: "SYSTEM_READ_ONLY" });
    refuseSystemWrite("System");
  });
});

describe("record ids", () => {
  it("are 1 to 256 bytes of UTF-8 without NUL or half a surrogate pair", () => {
    fc.assert(
      fc.property(fc.oneof(text, units, fc.string({ minLength: 80, maxLength: 300 })), (id) => {
        const size = Buffer.byteLength(id);
        const isId = size >= 1 && size <= 256 && !id.includes("\0") && id.isWellFormed();
        const check = (): void => checkRecordId(id, defaultLimits);
        assert.equal(passes(check, ["ID_INVALID", "ARGUMENT_MISSING"]), isId);
      }),
      { numRuns: 1000 },
    );
  });

  it("that the server makes are valid, differ, and sort by the time they were made", async () => {
    const ids = new Set(Array.from({ length: 1000 }, () => newRecordId()));
    assert.equal(ids.size, 1000);
    for (const id of ids) checkRecordId(id, defaultLimits);
    const early = newRecordId();
    await new Promise((resolve) => setTimeout(resolve, 5));
    assert.ok(early < newRecordId());
  });
});

describe("labels", () => {
  it("are bounded in number, in size and in what they hold", () => {
    const many = (count: number): Record<string, string> =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, "v"]));
    checkLabels(many(64), defaultLimits);
    checkLabels({ ["k".repeat(128)]: "v".repeat(1024), constructor: "" }, defaultLimits);
    for (const labels of [
      many(65),
      { "": "v" },
      { ["k".repeat(129)]: "v" },
      { ["é".repeat(65)]: "v" },
      { k: "v".repeat(1025) },
      { "a\0": "v" },
      { k: "\0" },
      { "\ud800": "v" },
      { k: "\udc00" },
    ]) {
      assert.throws(() => checkLabels(labels, defaultLimits), { reason: "LABEL_INVALID" });
    }
  });
});

describe("request ids", () => {
  it("are up to 256 bytes of UTF-8", () => {
    checkRequestId("é".repeat(128));
    for (const id of ["x".repeat(257), "a\0", "\ud800"]) {
      assert.throws(() => checkRequestId(id), { reason: "ARGUMENT_INVALID" });
    }
  });
});
