import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { Worker } from "node:worker_threads";

const module = new URL("./priority.ts", import.meta.url).href;

/** What `whenever` is on Linux. */
const whenever = 10;

/** The nice value in a `stat` file of `/proc`. */
function niceOf(stat: string): number {
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16]);
}

describe("priority", { skip: process.platform !== "linux" && "only Linux has it" }, () => {
  it("of a thread is lowered alone", async () => {
    const code = `
      const { parentPort } = await import("node:worker_threads");
      const { readFileSync } = await import("node:fs");
      const { lowerThreadPriority } = await import(${JSON.stringify(module)});
      lowerThreadPriority("whenever");
      parentPort.postMessage(readFileSync("/proc/thread-self/stat", "utf8"));`;
    const before = niceOf(readFileSync("/proc/self/stat", "utf8"));
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
    const [stat] = (await once(worker, "message")) as [string];
    await worker.terminate();
    assert.equal(niceOf(stat), Math.max(before, whenever));
    assert.equal(niceOf(readFileSync("/proc/self/stat", "utf8")), before);
  });
});
