import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { openSink } from "./archive-sink.ts";

describe("an archive on its way to a file", () => {
  it("is not touched by another one to the same path: whoever ends last is there", async () => {
    const folder = await mkdtemp(join(tmpdir(), "collector-sink-"));
    try {
      const path = join(folder, "a.collector");
      const [one, other, third] = [
        await openSink(path),
        await openSink(path),
        await openSink(path),
      ];
      await one.write(Buffer.from("one"));
      await other.write(Buffer.from("the other"));
      await third.write(Buffer.from("the third"));
      await one.finish();
      assert.equal(await readFile(path, "utf8"), "one");
      await third.discard();
      await other.finish();
      assert.equal(await readFile(path, "utf8"), "the other");
      assert.deepEqual(await readdir(folder), ["a.collector"]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
