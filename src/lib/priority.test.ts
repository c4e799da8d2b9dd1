import assert from "node:assert/strict";
import { spawn } from "node:child_process";
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

  it("of a process is lowered, among sessions too", async () => {
    const code = `
      const { readFileSync, existsSync } = await import("node:fs");
      const { lowerProcessPriority } = await import(${JSON.stringify(module)});
      lowerProcessPriority("whenever");
      const group = "/proc/self/autogroup";
      process.send([
        readFileSync("/proc/self/stat", "utf8"),
        existsSync(group) ? readFileSync(group, "utf8") : undefined,
      ]);`;
    const child = spawn(process.execPath, ["--input-type=module", "--eval", code], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
      detached: true,
    });
    const [[stat, group]] = (await once(child, "message")) as [[string, string | null]];
    await once(child, "exit");
    const nice = niceOf(stat);
    // One that is low already stays there.
    assert.equal(nice, Math.max(niceOf(readFileSync("/proc/self/stat", "utf8")), whenever));
    if (typeof group === "string") assert.match(group, new RegExp(`nice ${nice}\\b`));
  });
});
