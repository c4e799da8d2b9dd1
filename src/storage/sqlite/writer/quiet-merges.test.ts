import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { QuietMerges, type QuietMergesOptions } from "./quiet-merges.ts";
import type { StoreWriter } from "./store-writer.ts";

const storeKey = "people/1";

/** A store with so much left to merge. */
function untidyStore(steps: number): { readonly store: StoreWriter; readonly left: () => number } {
  let left = steps;
  const search: Partial<StoreWriter["search"]> = {
    get untidy() {
      return left > 0;
    },
    mergeQuietly: () => void (left -= 1),
  };
  const store: Partial<StoreWriter> = {
    search: search as StoreWriter["search"],
    transact: (change) => change(),
  };
  return { store: store as StoreWriter, left: () => left };
}

/** @returns also how to let time pass, in ms */
function quietMerges(
  t: TestContext,
  store: StoreWriter | undefined,
  options: Partial<QuietMergesOptions> = {},
): { readonly merges: QuietMerges; readonly pass: (ms: number) => void } {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let nowMs = 0;
  const merges = new QuietMerges({
    find: () => store,
    tidy: () => false,
    onFailure: (_, error) => assert.fail(String(error)),
    now: () => nowMs,
    ...options,
  });
  const pass = (ms: number): void => {
    for (let passed = 0; passed < ms; passed += 1) {
      nowMs += 1;
      t.mock.timers.tick(1);
    }
  };
  return { merges, pass };
}

describe("QuietMerges", () => {
  it("waits until nothing was written for a while, and does all there is in steps", (t) => {
    const { store, left } = untidyStore(3);
    const { merges, pass } = quietMerges(t, store);
    merges.noteGroup(storeKey, store);
    pass(400);
    merges.noteGroup(storeKey, store);
    pass(499);
    assert.equal(left(), 3);
    pass(1);
    assert.equal(left(), 2);
    pass(20);
    assert.equal(left(), 1);
    pass(20);
    assert.equal(left(), 0);
  });

  it("stops when something is written, until it is quiet again", (t) => {
    const { store, left } = untidyStore(3);
    const { merges, pass } = quietMerges(t, store);
    merges.noteGroup(storeKey, store);
    pass(500);
    assert.equal(left(), 2);
    merges.noteGroup(storeKey, store);
    pass(499);
    assert.equal(left(), 2);
    pass(100);
    assert.equal(left(), 0);
  });

  it("rests longer after a step that took long", (t) => {
    const { store, left } = untidyStore(3);
    let stepMs = 0;
    const { merges, pass } = quietMerges(t, store, {
      now: () => nowMs,
      tidy: () => {
        nowMs += stepMs;
        return false;
      },
    });
    let nowMs = 0;
    const passBoth = (ms: number): void => {
      nowMs += ms;
      pass(ms);
    };
    merges.noteGroup(storeKey, store);
    stepMs = 100;
    passBoth(500);
    assert.equal(left(), 2);
    passBoth(299);
    assert.equal(left(), 2);
    passBoth(1);
    assert.equal(left(), 1);
  });

  it("tidies up in steps of their own", (t) => {
    const { store, left } = untidyStore(1);
    const seen: number[] = [];
    const { merges, pass } = quietMerges(t, store, { tidy: () => seen.push(left()) < 3 });
    merges.noteGroup(storeKey, store);
    pass(600);
    assert.deepEqual(seen, [1, 1, 1]);
    assert.equal(left(), 0);
  });

  it("leaves a store alone that was opened anew", (t) => {
    const { store } = untidyStore(3);
    const again = untidyStore(0);
    const { merges, pass } = quietMerges(t, again.store, {
      tidy: () => assert.fail("there is nothing to do"),
    });
    merges.noteGroup(storeKey, store);
    pass(2000);
    assert.equal(again.left(), 0);
  });

  it("leaves a store alone that was closed or may not grow", (t) => {
    const { store, left } = untidyStore(3);
    const { merges, pass } = quietMerges(t, undefined);
    merges.noteGroup(storeKey, store);
    pass(2000);
    assert.equal(left(), 3);
  });

  it("tells what has failed once, and tries again after the next group", (t) => {
    const { store, left } = untidyStore(2);
    const told: unknown[] = [];
    const full = new Error("the disk is full");
    let isFull = true;
    const { merges, pass } = quietMerges(t, store, {
      tidy: () => {
        if (isFull) throw full;
        return false;
      },
      onFailure: (key, error) => told.push([key, error]),
    });
    merges.noteGroup(storeKey, store);
    pass(2000);
    assert.deepEqual(told, [[storeKey, full]]);
    isFull = false;
    pass(2000);
    assert.equal(left(), 2);
    merges.noteGroup(storeKey, store);
    pass(600);
    assert.equal(left(), 0);
    assert.equal(told.length, 1);
  });
});
