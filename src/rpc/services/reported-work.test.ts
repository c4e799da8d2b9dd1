import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { CopyRun } from "../../copies/copy-parts.ts";
import { reportedWork, type WorkProgress } from "./reported-work.ts";

class Outcome implements Disposable {
  isDisposed = false;

  [Symbol.dispose](): void {
    this.isDisposed = true;
  }
}

async function all(begin: (report: CopyRun["report"]) => Promise<Outcome>) {
  const told: WorkProgress[] = [];
  const work = reportedWork(begin);
  for (;;) {
    const result = await work.next();
    if (result.done === true) return { told, outcome: result.value };
    told.push(result.value.progress);
  }
}

describe("reportedWork", () => {
  it("tells of each phase at first, of what comes close together the last, and returns the outcome", async () => {
    const expected = new Outcome();
    const { told, outcome } = await all(async (report) => {
      report({ phase: "copying" });
      await sleep(20);
      for (let done = 1n; done <= 50n; done += 1n) report({ done, total: 100n });
      await sleep(300);
      report({ phase: "packing" });
      await sleep(300);
      report({ phase: "packing", done: 3n });
      return expected;
    });
    assert.deepEqual(told, [
      { phase: "copying", done: 0n, total: 0n },
      { phase: "copying", done: 50n, total: 100n },
      { phase: "packing", done: 0n, total: 0n },
    ]);
    assert.equal(outcome, expected);
    assert.equal(expected.isDisposed, false);
  });

  it("tells nothing of work that tells nothing, and fails as that does", async () => {
    assert.deepEqual((await all(() => Promise.resolve(new Outcome()))).told, []);
    const failing = async (report: CopyRun["report"]): Promise<Outcome> => {
      report({ phase: "copying" });
      await sleep(20);
      throw new RangeError("the disk is full");
    };
    await assert.rejects(all(failing), RangeError);
  });

  it("disposes of the outcome if nobody waits for it any more", async () => {
    const outcome = new Outcome();
    for await (const { progress } of reportedWork(async (report) => {
      report({ phase: "copying" });
      await sleep(50);
      return outcome;
    })) {
      assert.equal(progress.phase, "copying");
      break;
    }
    assert.ok(outcome.isDisposed);
  });
});
