import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Found, Oracle } from "./oracle.ts";

function found(...records: (readonly [string, number | undefined, bigint])[]): Map<string, Found> {
  return new Map(records.map(([id, writing, version]) => [id, { writing, version }]));
}

function oracleWith(id: string, writing: number, version: bigint): Oracle {
  const oracle = new Oracle();
  oracle.acknowledge(oracle.begin([[id, writing]]), new Map([[id, version]]));
  return oracle;
}

describe("the oracle of the fault tests", () => {
  it("is content when everything acknowledged is found", () => {
    const oracle = oracleWith("a", 1, 7n);
    assert.deepEqual(oracle.compare(found(["a", 1, 7n])), []);
    assert.equal(oracle.acknowledged, 1);
    assert.equal(oracle.highest, 7n);
  });

  it("sees a lost record, a lost update, other bytes, a revived record and a changed version", () => {
    const lost = oracleWith("a", 1, 7n).compare(found());
    assert.match(String(lost), /a: acknowledged at version 7, lost/);
    const oracle = oracleWith("a", 1, 7n);
    oracle.acknowledge(oracle.begin([["a", 2]]), new Map([["a", 8n]]));
    assert.match(String(oracle.compare(found(["a", 1, 7n]))), /acknowledged writing 2/);
    assert.match(String(oracle.compare(found(["a", undefined, 8n]))), /found other bytes/);
    assert.match(String(oracle.compare(found(["a", 2, 9n]))), /found 2 at 9/);
    oracle.acknowledge(oracle.begin([["a", undefined]]), new Map());
    assert.match(String(oracle.compare(found(["a", 2, 8n]))), /is not there/);
  });

  it("takes a write without an answer as done or as not done, but never as half done", () => {
    const half = oracleWith("a", 1, 7n);
    half.begin([
      ["a", 2],
      ["b", 3],
    ]);
    assert.match(String(half.compare(found(["a", 2, 8n]))), /neither done nor undone/);

    const done = oracleWith("a", 1, 7n);
    done.begin([
      ["a", undefined],
      ["b", 3],
    ]);
    assert.deepEqual(done.compare(found(["b", 3, 9n])), []);
    assert.equal(done.resolved, 1);
    assert.deepEqual(done.ids(), ["b"]);
    // Once found it has to stay.
    assert.match(String(done.compare(found())), /lost/);

    const undone = oracleWith("a", 1, 7n);
    undone.begin([["a", 2]]);
    assert.deepEqual(undone.compare(found(["a", 1, 7n])), []);
    assert.match(String(undone.compare(found(["a", 2, 8n]))), /acknowledged writing 1/);
  });

  it("holds a refused write to be undone", () => {
    const oracle = oracleWith("a", 1, 7n);
    oracle.refuse(oracle.begin([["b", 2]]));
    assert.match(String(oracle.compare(found(["a", 1, 7n], ["b", 2, 8n]))), /b: found writing 2/);
  });

  it("sees a version that is not higher than those acknowledged before", () => {
    const oracle = oracleWith("a", 1, 7n);
    const attempt = oracle.begin([["b", 2]]);
    oracle.acknowledge(attempt, new Map([["b", 7n]]));
    const wrong = oracle.compare(found(["a", 1, 7n], ["b", 2, 7n]));
    assert.match(String(wrong), /b was given version 7, after 7 was given/);
  });
});
