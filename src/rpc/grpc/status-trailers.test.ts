import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import * as fc from "fast-check";
import { percentEncode, statusTrailers } from "./status-trailers.ts";

describe("the status of a failed call", () => {
  it("spells any message in printable ASCII, and back", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        const encoded = percentEncode(text);
        assert.match(encoded, /^[\x20-\x7e]*$/);
        assert.equal(decodeURIComponent(encoded), text);
      }),
    );
  });

  it("is cut between characters", () => {
    for (const text of ["a".repeat(1022), "a".repeat(1023)]) {
      const list = statusTrailers(new ConnectError(`${text}☃☃`, Code.Internal));
      const message = decodeURIComponent(list[list.indexOf("grpc-message") + 1] ?? "");
      assert.equal(message, `${text}…`);
    }
  });

  it("is a code alone when there is nothing to say", () => {
    assert.deepEqual(statusTrailers(new ConnectError("", Code.Aborted)), ["grpc-status", "10"]);
  });
});
