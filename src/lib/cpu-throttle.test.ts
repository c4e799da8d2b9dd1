import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CpuThrottle, sleepMsMax, throttledShare } from "./cpu-throttle.ts";

interface Step {
  readonly ranMs: number;
  readonly waitedMs: number;
  /** Neither ran nor wanted to, as while a disk syncs. */
  readonly blockedMs: number;
}

/** A thread on a machine with a time of its own, whose sleeps last as long as they should, and so much longer. */
class ModelThread {
  nowMs = 0;
  ranMs = 0;
  waitedMs = 0;
  readonly main: { ranMs: number; waitedMs: number } = { ranMs: 0, waitedMs: 0 };
  readonly sleeps: number[] = [];
  readonly throttle: CpuThrottle;

  constructor(oversleptMs = 0) {
    this.throttle = new CpuThrottle({
      nowMs: () => this.nowMs,
      times: () => ({ ranMs: this.ranMs, waitedMs: this.waitedMs }),
      mainTimes: () => ({ ...this.main }),
      sleep: (ms) => {
        this.sleeps.push(ms);
        this.nowMs += ms + oversleptMs;
      },
    });
  }

  /** @param main what the main thread has of a step: it waits as well, if not said otherwise */
  step({ ranMs, waitedMs, blockedMs }: Step, main = { ranMs, waitedMs }): void {
    this.main.ranMs += main.ranMs;
    this.main.waitedMs += main.waitedMs;
    this.ranMs += ranMs;
    this.waitedMs += waitedMs;
    this.nowMs += ranMs + waitedMs + blockedMs;
    this.throttle.step();
  }
}

describe("CpuThrottle", () => {
  it("lets a thread run that has its core for itself", () => {
    const thread = new ModelThread();
    for (let step = 0; step < 100; step += 1) {
      thread.step({ ranMs: 5, waitedMs: 0.4, blockedMs: 0 });
    }
    assert.deepEqual(thread.sleeps, []);
  });

  it("leaves a thread that had to wait a sixteenth of the time, with what it waited and was blocked", () => {
    const thread = new ModelThread();
    thread.step({ ranMs: 4, waitedMs: 1, blockedMs: 0 });
    thread.step({ ranMs: 4, waitedMs: 1, blockedMs: 7 });
    thread.step({ ranMs: 4, waitedMs: 12, blockedMs: 0 });
    thread.step({ ranMs: 4, waitedMs: 60, blockedMs: 0 });
    assert.deepEqual(thread.sleeps, [59, 52, 48]);
  });

  it("looks at each step by itself, so that a thread runs on as soon as nobody else wants to", () => {
    const thread = new ModelThread();
    thread.step({ ranMs: 4, waitedMs: 4, blockedMs: 0 });
    thread.step({ ranMs: 4, waitedMs: 0, blockedMs: 0 });
    thread.step({ ranMs: 4, waitedMs: 0, blockedMs: 0 });
    assert.deepEqual(thread.sleeps, [56]);
  });

  it("takes off the next sleep what the last one took too long", () => {
    const thread = new ModelThread(2);
    thread.step({ ranMs: 4, waitedMs: 4, blockedMs: 0 });
    thread.step({ ranMs: 4, waitedMs: 4, blockedMs: 0 });
    assert.deepEqual(thread.sleeps, [56, 54]);
  });

  it("never starves a thread: it gets its share, or what the system gives it if that is less", () => {
    const time = fc.double({ min: 0, max: 20, noNaN: true });
    const step = fc.record({ ranMs: time, waitedMs: time, blockedMs: time });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1 }), (steps) => {
        const thread = new ModelThread();
        // The longest that all of it may take.
        let mayTakeMs = 0;
        for (const one of steps) {
          const unthrottledMs = one.ranMs + one.waitedMs + one.blockedMs;
          mayTakeMs += Math.max(unthrottledMs, one.ranMs / throttledShare);
          thread.step(one);
        }
        assert.ok(thread.nowMs <= mayTakeMs + 1e-6, `${thread.nowMs} of ${mayTakeMs} ms`);
      }),
    );
  });

  it("sleeps a moment at most, however long a step took", () => {
    const thread = new ModelThread();
    thread.step({ ranMs: 10_000, waitedMs: 5_000, blockedMs: 0 });
    assert.deepEqual(thread.sleeps, [sleepMsMax]);
  });

  it("lets threads run that wait for each other, while the main thread has what it wants", () => {
    const thread = new ModelThread();
    for (let step = 0; step < 10; step += 1) {
      thread.step({ ranMs: 4, waitedMs: 4, blockedMs: 0 }, { ranMs: 7, waitedMs: 0.5 });
      // It wakes up now and then, and finds its core taken.
      thread.step({ ranMs: 4, waitedMs: 4, blockedMs: 0 }, { ranMs: 0.1, waitedMs: 1 });
    }
    assert.deepEqual(thread.sleeps, []);
    thread.step({ ranMs: 4, waitedMs: 4, blockedMs: 0 }, { ranMs: 1, waitedMs: 1 });
    assert.deepEqual(thread.sleeps, [56]);
  });

  it("lets all run where the system does not say how long a thread waits", () => {
    let reads = 0;
    const throttle = new CpuThrottle({
      times: () => {
        reads += 1;
        return undefined;
      },
      sleep: () => assert.fail("it slept"),
    });
    for (let step = 0; step < 10; step += 1) throttle.step();
    assert.equal(reads, 1);
  });
});
