import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { CopyRun } from "./copy-parts.ts";
import { CopySlots, CopyTurns } from "./copy-slots.ts";

/** Work that goes on until it is told to end. */
class Work {
  readonly phases: string[] = [];
  readonly controller = new AbortController();
  readonly run: CopyRun = {
    signal: this.controller.signal,
    report: ({ phase }) => this.phases.push(phase ?? ""),
  };
  readonly #ended = Promise.withResolvers<void>();
  isBegun = false;

  readonly go = async (): Promise<void> => {
    this.isBegun = true;
    await this.#ended.promise;
  };

  end(): void {
    this.#ended.resolve();
  }
}

function works(count: number): [Work, Work, Work, ...Work[]] {
  const more = Array.from({ length: Math.max(0, count - 3) }, () => new Work());
  return [new Work(), new Work(), new Work(), ...more];
}

function begun(all: readonly Work[]): boolean[] {
  return all.map(({ isBegun }) => isBegun);
}

describe("CopySlots", () => {
  it("let so many work at a time, and the others in the order in which they came", async () => {
    const slots = new CopySlots(2);
    const all = works(4);
    const ends = all.map((work) => slots.run(work.run, work.go));
    await setImmediate();
    assert.deepEqual(begun(all), [true, true, false, false]);
    assert.deepEqual(all[2].phases, ["waiting"]);
    all[1].end();
    await ends[1];
    await setImmediate();
    assert.deepEqual(begun(all), [true, true, true, false]);
    for (const work of all) work.end();
    await Promise.all(ends);
  });

  it("give a slot on when the work in it fails, and let who waits go at once", async () => {
    const slots = new CopySlots(1);
    const [first, second, third] = works(3);
    const failing = slots.run(first.run, async () => {
      await first.go();
      throw new Error("failed");
    });
    const leaving = slots.run(second.run, second.go);
    const waiting = slots.run(third.run, third.go);
    second.controller.abort(new Error("left"));
    await assert.rejects(leaving, /left/);
    first.end();
    await assert.rejects(failing, /failed/);
    await setImmediate();
    assert.deepEqual(begun([second, third]), [false, true]);
    third.end();
    await waiting;
    await assert.rejects(slots.run(second.run, second.go), /left/);
  });

  it("refuse more than may wait", async () => {
    const slots = new CopySlots(1);
    const work = new Work();
    const ends = Array.from({ length: 1001 }, () => slots.run(work.run, work.go));
    await assert.rejects(slots.run(work.run, work.go), { reason: "OVERLOADED" });
    work.end();
    await Promise.all(ends);
  });
});

describe("CopyTurns", () => {
  it("queue copies of one thing, beside those of others", async () => {
    const turns = new CopyTurns();
    const [one, again, other] = works(3);
    const ends = [
      turns.run("one", one.run, one.go),
      turns.run("one", again.run, again.go),
      turns.run("other", other.run, other.go),
    ];
    await setImmediate();
    assert.deepEqual(begun([one, again, other]), [true, false, true]);
    one.end();
    await ends[0];
    await setImmediate();
    assert.ok(again.isBegun);
    again.end();
    other.end();
    await Promise.all(ends);
  });
});
