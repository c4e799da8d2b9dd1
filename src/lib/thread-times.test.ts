import assert from "node:assert/strict";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { describe, it } from "node:test";
import { Worker } from "node:worker_threads";
import { mainThreadTimes, type ThreadTimes, threadTimes } from "./thread-times.ts";

const module = new URL("./thread-times.ts", import.meta.url).href;

const isLinux = process.platform === "linux";

/** Runs until it has had 100 ms of a core, in a thread of its own. */
async function timesOfBusyThread(): Promise<ThreadTimes> {
  const code = `
    const { parentPort } = await import("node:worker_threads");
    const { threadTimes } = await import(${JSON.stringify(module)});
    const before = threadTimes();
    let now = before;
    while (now.ranMs - before.ranMs < 100) now = threadTimes();
    parentPort.postMessage({
      ranMs: now.ranMs - before.ranMs,
      waitedMs: now.waitedMs - before.waitedMs,
    });`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
  const [times] = (await once(worker, "message")) as [ThreadTimes];
  await worker.terminate();
  return times;
}

describe("threadTimes", () => {
  it("are of the calling thread alone, with what it waited for a core", {
    skip: !isLinux && "only Linux has them",
  }, async () => {
    const before = threadTimes();
    const threads = Array.from({ length: 3 * availableParallelism() }, timesOfBusyThread);
    const all = await Promise.all(threads);
    const after = threadTimes();
    assert.ok(before && after);
    // This thread has only started them.
    const ranMs = all.reduce((sum, times) => sum + times.ranMs, 0);
    assert.ok(after.ranMs - before.ranMs < ranMs / 2, `${after.ranMs - before.ranMs} ms`);
    // Three of them share a core, so together they wait for longer than they run.
    const waitedMs = all.reduce((sum, times) => sum + times.waitedMs, 0);
    assert.ok(waitedMs > ranMs / 2, `${waitedMs} ms`);
  });

  it("are those of the main thread wherever they are asked for", {
    skip: !isLinux && "only Linux has them",
  }, async () => {
    const code = `
      const { parentPort } = await import("node:worker_threads");
      const { mainThreadTimes } = await import(${JSON.stringify(module)});
      parentPort.on("message", () => parentPort.postMessage(mainThreadTimes()));`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
    const before = mainThreadTimes();
    while ((threadTimes()?.ranMs ?? 0) - (before?.ranMs ?? 0) < 100);
    worker.postMessage(undefined, []);
    const [seen] = (await once(worker, "message")) as [ThreadTimes];
    await worker.terminate();
    assert.ok(before !== undefined && seen.ranMs - before.ranMs >= 100);
  });

  it("are not there on other systems", { skip: isLinux && "this is Linux" }, () => {
    assert.equal(threadTimes(), undefined);
  });
});
