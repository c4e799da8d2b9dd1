import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Answer, packAnswers, unpackAnswers } from "./answer-codec.ts";

describe("packAnswers", () => {
  it("keeps every answer, the refused ones last", () => {
    const failure = {
      reason: "RECORD_EXISTS",
      message: "m",
      subject: { id: "a" },
      retryAfterMs: undefined,
      detail: undefined,
    } as const;
    const labels = '{"k":"before"}';
    const before = { version: 6n, createdUs: 3n, updatedUs: -4n, labels, document: '{"n":1}' };
    const refused: Answer = { call: 2, failure };
    const applied: Answer[] = [
      { call: 1, revision: 7n, replayed: false, outcomes: [[5n, 1n, 2n, "created", undefined]] },
      { call: 3, revision: 2n ** 62n, replayed: true, outcomes: [[6n, 1n, 2n, "none", "{}", "x"]] },
      {
        call: 4,
        revision: 8n,
        replayed: false,
        outcomes: [
          [7n, 3n, 4n, "updated", '{"k":"v"}'],
          [8n, 3n, 4n, "deleted", "{}", undefined, before],
          [9n, 3n, 4n, "updated", undefined, undefined, { ...before, document: "[]" }],
          [9n, 3n, 4n, "none", undefined],
        ],
      },
      { call: 5, revision: 8n, replayed: false, outcomes: [] },
    ];
    const [first, ...rest] = applied;
    assert(first !== undefined);
    const found: Answer[] = [];
    const packed = structuredClone(packAnswers([first, refused, ...rest]));
    unpackAnswers(packed, (answer) => found.push(answer));
    assert.deepEqual(found, [...applied, refused]);
  });
});
