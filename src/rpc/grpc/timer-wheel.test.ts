import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TimerWheel, WheelEntry } from "./timer-wheel.ts";

class Note extends WheelEntry {
  readonly name: string;
  readonly #log: string[];

  constructor(name: string, log: string[]) {
    super();
    this.name = name;
    this.#log = log;
  }

  override onDue(nowMs: number): void {
    this.#log.push(`${this.name} at ${nowMs}`);
  }
}

describe("TimerWheel", () => {
  it("keeps moments to within two ticks, near and many turns away", (test) => {
    test.mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
    let nowMs = 1003;
    const wheel = new TimerWheel(() => nowMs);
    const due = new Map<string, number>();
    const log: string[] = [];
    for (const afterMs of [0, 1, 9, 10, 55, 1000, 10_240, 30_000, 60_001]) {
      const note = new Note(String(afterMs), log);
      due.set(note.name, nowMs + afterMs);
      wheel.set(note, nowMs + afterMs);
    }
    for (let i = 0; i < 7000; i += 1) {
      nowMs += 10;
      test.mock.timers.tick(10);
    }
    assert.equal(log.length, due.size);
    for (const line of log) {
      const [name = "", at] = line.split(" at ");
      const lateMs = Number(at) - (due.get(name) ?? 0);
      assert.ok(lateMs >= 0 && lateMs <= 20, `${line}: late by ${lateMs}`);
    }
    assert.equal(wheel.size, 0);
  });

  it("catches up after the process was held", (test) => {
    test.mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
    let nowMs = 0;
    const wheel = new TimerWheel(() => nowMs);
    const log: string[] = [];
    for (const afterMs of [20, 5000, 200_000]) wheel.set(new Note(String(afterMs), log), afterMs);
    nowMs = 100_000;
    test.mock.timers.tick(10);
    assert.deepEqual(log.toSorted(), ["20 at 100000", "5000 at 100000"]);
    assert.equal(wheel.size, 1);
  });

  it("forgets and moves a moment, from any place among its neighbours", (test) => {
    test.mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
    let nowMs = 0;
    const wheel = new TimerWheel(() => nowMs);
    const log: string[] = [];
    const notes = ["a", "b", "c", "d"].map((name) => new Note(name, log));
    for (const note of notes) wheel.set(note, 50);
    for (const note of [notes[1], notes[3]]) if (note !== undefined) wheel.clear(note);
    const [first] = notes;
    if (first !== undefined) wheel.set(first, 300);
    for (; nowMs < 400; nowMs += 10) test.mock.timers.tick(10);
    assert.deepEqual(
      log.map((line) => line[0]),
      ["c", "a"],
    );
  });

  it("stands still while nothing is due soon, and keeps moments that are set meanwhile", (test) => {
    test.mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
    let nowMs = 0;
    let looks = 0;
    const wheel = new TimerWheel(() => {
      looks += 1;
      return nowMs;
    });
    const log: string[] = [];
    const pass = (ms: number): void => {
      for (const endMs = nowMs + ms; nowMs < endMs; ) {
        nowMs += 10;
        test.mock.timers.tick(10);
      }
    };
    wheel.set(new Note("far", log), 3_600_000);
    pass(2000);
    looks = 0;
    pass(600_000);
    assert.equal(looks, 0);
    const soon = nowMs + 50;
    wheel.set(new Note("soon", log), soon);
    pass(100);
    assert.match(log[0] ?? "", /^soon/);
    assert.ok(Number(log[0]?.split(" at ")[1]) - soon <= 20);
    pass(3_600_000);
    const far = Number(log[1]?.split(" at ")[1]);
    assert.ok(far >= 3_600_000 && far <= 3_600_020, log[1]);
    assert.equal(wheel.size, 0);
  });
});
