import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { orAborted, untilAborted } from "./until-aborted.ts";

/** Gives two items, and then none for ever. */
class Stuck implements AsyncIterableIterator<number> {
  wasReturned = false;
  #given = 0;

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<number>> {
    this.#given += 1;
    if (this.#given > 2) return new Promise(() => undefined);
    return Promise.resolve({ done: false, value: this.#given });
  }

  return(): Promise<IteratorResult<number>> {
    this.wasReturned = true;
    return new Promise(() => undefined);
  }
}

describe("untilAborted", () => {
  it("passes the items on to their end", async () => {
    async function* items() {
      yield 1;
      yield 2;
    }
    const { signal } = new AbortController();
    assert.deepEqual(await Array.fromAsync(untilAborted(items(), signal)), [1, 2]);
  });

  it("passes a failure on", async () => {
    async function* items() {
      yield 1;
      throw new Error("broken");
    }
    const { signal } = new AbortController();
    await assert.rejects(Array.fromAsync(untilAborted(items(), signal)), /broken/);
  });

  it("does not wait for what is stuck when the signal fires", async () => {
    const stuck = new Stuck();
    const controller = new AbortController();
    const seen: number[] = [];
    const reading = (async () => {
      for await (const item of untilAborted(stuck, controller.signal)) seen.push(item);
    })();
    setImmediate(() => controller.abort(new Error("enough")));
    await assert.rejects(reading, /enough/);
    assert.deepEqual(seen, [1, 2]);
    assert.ok(stuck.wasReturned);
  });

  it("does not wait for what is stuck when nobody wants more", async () => {
    const stuck = new Stuck();
    const items = untilAborted(stuck, new AbortController().signal);
    await items.next();
    await items.next();
    void items.next();
    assert.deepEqual(await items.return(), { done: true, value: undefined });
    assert.ok(stuck.wasReturned);
    assert.deepEqual(await items.next(), { done: true, value: undefined });
  });
});

describe("orAborted", () => {
  it("is what comes first", async () => {
    const controller = new AbortController();
    assert.equal(await orAborted(Promise.resolve(1), controller.signal), 1);
    const never = orAborted(new Promise(() => undefined), controller.signal);
    controller.abort(new Error("enough"));
    await assert.rejects(never, /enough/);
    await assert.rejects(orAborted(Promise.reject(new Error("late")), controller.signal), /enough/);
  });
});
