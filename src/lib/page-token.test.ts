import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { defaultLimits } from "./limits.ts";
import { decodePageToken, encodePageToken, pageTokenCharsMax, readPage } from "./page-token.ts";

const query = ["ListFiles", "default", "shop"];

describe("page tokens", () => {
  it("give back the cursor, whatever is in it, in URL-safe characters", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (cursor) => {
        const token = encodePageToken(query, cursor);
        assert.match(token, /^[A-Za-z0-9_-]+$/);
        assert.equal(decodePageToken(token, query), cursor);
      }),
    );
  });

  it("are refused by another query", () => {
    const token = encodePageToken(query, "shop.proto");
    for (const other of [["ListFiles", "default"], ["ListFiles", "default", "sho", "p"], []]) {
      assert.throws(() => decodePageToken(token, other), { reason: "PAGE_TOKEN_INVALID" });
    }
  });

  it("are refused after any change of a character", () => {
    const token = encodePageToken(query, "shop/v1/shop.proto");
    fc.assert(
      fc.property(fc.nat(token.length - 1), fc.string({ minLength: 1, maxLength: 1 }), (at, c) => {
        fc.pre(token[at] !== c);
        const changed = token.slice(0, at) + c + token.slice(at + 1);
        assert.throws(() => decodePageToken(changed, query), { reason: "PAGE_TOKEN_INVALID" });
      }),
    );
  });

  it("are refused when they are something else", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (token) => {
        assert.throws(() => decodePageToken(token, query), { reason: "PAGE_TOKEN_INVALID" });
      }),
    );
    const long = "A".repeat(pageTokenCharsMax + 1);
    assert.throws(() => decodePageToken(long, query), { reason: "PAGE_TOKEN_INVALID" });
  });
});

describe("readPage", () => {
  it("takes the default for 0 and coerces to the limit", () => {
    const size = (pageSize: number) =>
      readPage({ pageSize, pageToken: "" }, query, defaultLimits).size;
    assert.equal(size(0), defaultLimits.pageSizeDefault);
    assert.equal(size(7), 7);
    assert.equal(size(2 ** 31 - 1), defaultLimits.pageSizeMax);
  });

  it("refuses a negative size, naming the field and what is valid", () => {
    assert.throws(() => readPage({ pageSize: -1, pageToken: "" }, query, defaultLimits), {
      reason: "PAGE_SIZE_INVALID",
      message: "page_size: is -1; send 1 to 1000, or 0 for 100",
      violations: [{ field: "page_size", description: "is -1; send 1 to 1000, or 0 for 100" }],
    });
  });
});
