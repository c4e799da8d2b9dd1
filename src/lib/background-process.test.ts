import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { getPriority } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { tempFolder } from "../../test/support/temp-folder.ts";
import { startBackground } from "./background-process.ts";

/** What `whenever` is. */
const whenever = 10;

/** Tells its priority as it was before anything else, and then says "here" to whatever it is told. */
const code = `
  import { getPriority } from "node:os";
  import { becomeBackground } from ${JSON.stringify(new URL("./background-process.ts", import.meta.url).href)};
  const priority = getPriority();
  becomeBackground();
  process.on("message", () => process.send("here"));
  process.send(priority);`;

async function start(): Promise<AsyncDisposable & { readonly child: ChildProcess; nice: number }> {
  const folder = await tempFolder("background");
  const path = join(folder.path, "child.ts");
  await writeFile(path, code);
  const child = startBackground(pathToFileURL(path), { patience: "whenever" });
  const exited = once(child, "exit");
  const [nice] = (await once(child, "message")) as [number];
  return {
    child,
    nice,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
      await folder[Symbol.asyncDispose]();
    },
  };
}

describe("a process in the background", () => {
  it("has a low priority before it has loaded anything", async () => {
    await using started = await start();
    // What was started at a lower one stays there.
    assert.equal(started.nice, Math.max(getPriority(), whenever));
  });

  it("goes on at the signals that a terminal sends to all that was started from it", async () => {
    await using started = await start();
    const { child } = started;
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      child.kill(signal);
      child.send("there?");
      assert.deepEqual(await once(child, "message"), ["here", undefined]);
    }
  });

  it("ends with who has started it", async () => {
    await using started = await start();
    const exited = once(started.child, "exit");
    started.child.disconnect();
    assert.deepEqual(await exited, [null, "SIGKILL"]);
  });

  const isLinux = process.platform === "linux";
  it("is in the session of who has started it", {
    skip: !isLinux && "only Linux tells",
  }, async () => {
    await using started = await start();
    assert.equal(await sessionOf(started.child.pid), await sessionOf(process.pid));
  });
});

async function sessionOf(pid: number | undefined): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[3];
}
