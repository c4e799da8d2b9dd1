import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { lstat, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
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

  it("goes through links and named pipes, which stay", async () => {
    const folder = await mkdtemp(join(tmpdir(), "collector-sink-"));
    try {
      await writeFile(join(folder, "file"), "before");
      await symlink(join(folder, "file"), join(folder, "link"));
      execFileSync("mkfifo", [join(folder, "pipe")]);
      const piped = readFile(join(folder, "pipe"), "utf8");
      for (const name of ["link", "pipe"]) {
        const sink = await openSink(join(folder, name));
        await sink.write(Buffer.from("an "));
        await sink.write(Buffer.from("archive"));
        await sink.finish();
      }
      assert.equal(await readFile(join(folder, "file"), "utf8"), "an archive");
      assert.ok((await lstat(join(folder, "link"))).isSymbolicLink());
      assert.equal(await piped, "an archive");
      assert.ok((await lstat(join(folder, "pipe"))).isFIFO());
      await assert.rejects(openSink(folder), { code: "EISDIR" });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
