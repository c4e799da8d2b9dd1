import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Deadlines } from "./deadlines.ts";

/** Resolves with the names of those that are due, once there are so many. */
function collect(count: number): {
  readonly all: Promise<readonly string[]>;
  readonly due: (name: string, inMs: number) => { dueMs: number; place: number; onDue: () => void };
} {
  const names: string[] = [];
  const { promise, resolve } = Promise.withResolvers<readonly string[]>();
  const due = (name: string, inMs: number) => ({
    dueMs: performance.now() + inMs,
    place: -1,
    onDue: () => {
      names.push(name);
      if (names.length === count) resolve(names);
    },
  });
  return { all: promise, due };
}

/** The timer does not keep the process alive. */
async function aliveUntil<T>(done: Promise<T>): Promise<T> {
  const alive = setInterval(() => undefined, 1000);
  try {
    return await done;
  } finally {
    clearInterval(alive);
  }
}

describe("Deadlines", () => {
  it("tells each when it is due, whatever the order they came in, and none that was removed", async () => {
    const deadlines = new Deadlines();
    const { all, due } = collect(3);
    const removed = due("removed", 5);
    deadlines.add(due("far", 60_000));
    deadlines.add(due("late", 60));
    deadlines.add(due("soon", 10));
    deadlines.add(removed);
    deadlines.add(due("now", -1));
    deadlines.remove(removed);
    // Several that are due by the time that the timer comes are told in no order.
    assert.deepEqual([...(await aliveUntil(all))].sort(), ["late", "now", "soon"]);
  });

  it("keeps the others, whichever is removed, and however often", async () => {
    const deadlines = new Deadlines();
    const { all, due } = collect(10);
    const entries = Array.from({ length: 20 }, (_, index) => due(String(index), 20));
    for (const entry of entries) deadlines.add(entry);
    for (const entry of entries.filter((_, index) => index % 2 === 0)) {
      deadlines.remove(entry);
      deadlines.remove(entry);
    }
    const odd = entries.map((_, index) => String(index)).filter((_, index) => index % 2 === 1);
    assert.deepEqual(new Set(await aliveUntil(all)), new Set(odd));
  });

  it("never tells one before its moment", async () => {
    const deadlines = new Deadlines();
    const { all, due } = collect(20);
    let early = 0;
    for (let index = 0; index < 20; index += 1) {
      const entry = due(String(index), index * 3.3);
      const { onDue } = entry;
      entry.onDue = () => {
        if (performance.now() < entry.dueMs) early += 1;
        onDue();
      };
      deadlines.add(entry);
    }
    await aliveUntil(all);
    assert.equal(early, 0);
  });

  it("takes one that is added while others are told", async () => {
    const deadlines = new Deadlines();
    const { all, due } = collect(2);
    const second = due("second", 20);
    const first = due("first", 1);
    const { onDue } = first;
    first.onDue = () => {
      onDue();
      deadlines.add(second);
    };
    deadlines.add(first);
    assert.deepEqual(await aliveUntil(all), ["first", "second"]);
  });
});
