import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Turns } from "./turns.ts";

const { signal } = new AbortController();

describe("Turns", () => {
  it("lets so many in at a time, in order", async () => {
    const turns = new Turns(2);
    const order: number[] = [];
    const first = await turns.take(signal);
    await turns.take(signal);
    const waiting = [3, 4].map(async (number) => {
      using _turn = await turns.take(signal);
      order.push(number);
    });
    await Promise.resolve();
    assert.deepEqual(order, []);
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    await Promise.all(waiting);
    assert.deepEqual(order, [3, 4]);
  });

  it("forgets who gives up waiting", async () => {
    const turns = new Turns(1);
    const held = await turns.take(signal);
    const abort = new AbortController();
    const given = assert.rejects(turns.take(abort.signal), /enough/);
    const patient = turns.take(signal);
    abort.abort(new Error("enough"));
    await given;
    held[Symbol.dispose]();
    (await patient)[Symbol.dispose]();
    await assert.rejects(turns.take(abort.signal), /enough/);
    (await turns.take(signal))[Symbol.dispose]();
  });
});
