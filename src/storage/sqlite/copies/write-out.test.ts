import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { tempFolder } from "../../../../test/support/temp-folder.ts";
import { mayWaitForDisk, writeOutLater } from "./write-out.ts";

const oneStep = 2 * 1024 * 1024;

async function file(bytes: number) {
  const folder = await tempFolder("write-out");
  const path = join(folder.path, "copy");
  const content = randomBytes(bytes);
  await writeFile(path, content);
  await utimes(path, 0, 0);
  return {
    path,
    content,
    /** Whether it was written to since. */
    isTouched: async () => (await stat(path)).mtimeMs > 0,
    /** Waits until it was written to. @returns when that was */
    changedAfter: async (ms: number) => {
      for (;;) {
        const { mtimeMs } = await stat(path);
        if (mtimeMs > ms) return mtimeMs;
        await sleep(5);
      }
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

describe("writeOutLater", () => {
  it("leaves a file alone that is removed soon", async () => {
    await using copy = await file(10);
    const writing = writeOutLater(copy.path);
    await sleep(50);
    await writing[Symbol.asyncDispose]();
    assert.equal(await copy.isTouched(), false);
  });

  it("writes a file again as it is, over the time that it is given", async () => {
    await using copy = await file(2 * oneStep + 1);
    const overMs = 2_000;
    const beginMs = performance.now();
    await using _writing = writeOutLater(copy.path, { afterMs: 0, overMs });
    // The second of three steps comes after half of the time.
    await copy.changedAfter(await copy.changedAfter(0));
    assert.ok(performance.now() - beginMs >= overMs / 3);
    assert.ok(copy.content.equals(await readFile(copy.path)));
  });

  it("stops between two steps", async () => {
    await using copy = await file(2 * oneStep);
    const writing = writeOutLater(copy.path, { afterMs: 0, overMs: 60_000 });
    await copy.changedAfter(0);
    const beginMs = performance.now();
    await writing[Symbol.asyncDispose]();
    assert.ok(performance.now() - beginMs < 10_000);
  });

  it("rejects when it is disposed with what went wrong", async () => {
    await using copy = await file(10);
    await rm(copy.path);
    const writing = writeOutLater(copy.path, { afterMs: 0, overMs: 0 });
    await assert.rejects(async () => writing[Symbol.asyncDispose](), { code: "ENOENT" });
  });
});

describe("mayWaitForDisk", () => {
  it("lets a part of the free memory wait, and never more than what is written out in time", () => {
    assert.equal(mayWaitForDisk(0n), true);
    assert.equal(mayWaitForDisk(BigInt(process.availableMemory()) / 10n), false);
    assert.equal(mayWaitForDisk(3n * 1024n ** 3n), false);
  });
});
