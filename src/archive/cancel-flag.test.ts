import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { Worker } from "node:worker_threads";
import { createCancelFlag, isRaised, raiseFlag, sleepUnlessRaised } from "./cancel-flag.ts";

const module = new URL("./cancel-flag.ts", import.meta.url).href;

describe("A cancel flag", () => {
  it("wakes a thread that sleeps, and lets none fall asleep any more", async () => {
    const flag = createCancelFlag();
    const code = `
      const { parentPort, workerData } = await import("node:worker_threads");
      const { isRaised, sleepUnlessRaised } = await import(${JSON.stringify(module)});
      parentPort.postMessage(isRaised(workerData));
      sleepUnlessRaised(workerData, 60_000);
      parentPort.postMessage(isRaised(workerData));`;
    const url = new URL(`data:text/javascript,${encodeURIComponent(code)}`);
    const worker = new Worker(url, { workerData: flag });
    assert.deepEqual(await once(worker, "message"), [false]);
    const woken = once(worker, "message");
    const begin = performance.now();
    raiseFlag(flag);
    assert.deepEqual(await woken, [true]);
    await worker.terminate();
    sleepUnlessRaised(flag, 60_000);
    assert.ok(performance.now() - begin < 30_000);
    assert.equal(isRaised(flag), true);
  });
});
