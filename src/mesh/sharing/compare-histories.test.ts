import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { compareHistories } from "./compare-histories.ts";

describe("compareHistories", () => {
  it("tells who is ahead, and what the other one lacks", () => {
    const cases: readonly (readonly [ours: string, theirs: string, expected: string])[] = [
      ["", "", "same"],
      ["", "abc", "behind abc"],
      ["abc", "", "ahead"],
      ["a", "a", "same"],
      ["ab", "b", "same"],
      ["a", "abc", "behind bc"],
      ["b", "abc", "behind c"],
      ["abc", "b", "ahead"],
      ["ab", "ac", "diverged"],
      ["a", "b", "diverged"],
      // Content that was given up, and came back.
      ["ab", "aba", "behind a"],
      ["aba", "ab", "ahead"],
      ["ab", "abab", "same"],
      // Each has come to the other one's by a way of its own.
      ["ab", "ba", "diverged"],
      // They differ in how they came to the same, and one went on.
      ["abm", "acm", "same"],
      ["abm", "acmn", "behind n"],
    ];
    for (const [ours, theirs, expected] of cases) {
      const relation = compareHistories(ours.split(""), theirs.split(""));
      const missing = relation.kind === "behind" ? ` ${relation.missing.join("")}` : "";
      assert.equal(relation.kind + missing, expected, `${ours} and ${theirs}`);
    }
  });

  it("says the opposite at the other end, and leads to the same version", () => {
    const history = fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 5 });
    const opposite = { same: "same", diverged: "diverged", ahead: "behind", behind: "ahead" };
    fc.assert(
      fc.property(history, history, (ours, theirs) => {
        const relation = compareHistories(ours, theirs);
        assert.equal(compareHistories(theirs, ours).kind, opposite[relation.kind]);
        if (relation.kind !== "behind") return;
        assert.ok(relation.missing.length > 0);
        assert.equal(compareHistories([...ours, ...relation.missing], theirs).kind, "same");
      }),
    );
  });
});
