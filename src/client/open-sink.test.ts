import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { lstat, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openSink } from "./open-sink.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "collector-sink-"));
});

afterEach(() => rm(folder, { recursive: true }));

/** Writes `an archive` in two pieces. */
async function write(path: string): Promise<void> {
  const sink = await openSink(path);
  await sink.write(Buffer.from("an "));
  await sink.write(Buffer.from("archive"));
  await sink.finish();
}

describe("what is on its way to a file", () => {
  it("is not touched by another one to the same path: whoever ends last is there", async () => {
    const path = join(folder, "a.collector");
    const [one, other, third] = [await openSink(path), await openSink(path), await openSink(path)];
    await one.write(Buffer.from("one"));
    await other.write(Buffer.from("the other"));
    await third.write(Buffer.from("the third"));
    await one.finish();
    assert.equal(await readFile(path, "utf8"), "one");
    await third.discard();
    await other.finish();
    assert.equal(await readFile(path, "utf8"), "the other");
    assert.deepEqual(await readdir(folder), ["a.collector"]);
  });

  it("goes through links, also to what is not there yet, which stay", async () => {
    await writeFile(join(folder, "file"), "before");
    await symlink(join(folder, "file"), join(folder, "link"));
    await symlink("next", join(folder, "first"));
    await symlink("made", join(folder, "next"));
    for (const [name, file] of [
      ["link", "file"],
      ["first", "made"],
    ] as const) {
      await write(join(folder, name));
      assert.equal(await readFile(join(folder, file), "utf8"), "an archive");
      assert.ok((await lstat(join(folder, name))).isSymbolicLink());
      assert.ok((await lstat(join(folder, file))).isFile());
    }
    await symlink("round", join(folder, "round"));
    await assert.rejects(openSink(join(folder, "round")), { code: "ELOOP" });
    await assert.rejects(openSink(folder), { code: "EISDIR" });
    await assert.rejects(openSink(join(folder, "file", "below")), { code: "ENOTDIR" });
  });
});

describe("what is on its way to a named pipe", () => {
  let pipe: string;

  beforeEach(() => {
    pipe = join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
  });

  it("goes to whoever reads it, however slowly, and the pipe stays", async () => {
    const piece = Buffer.alloc(1_000_000, "x");
    const { promise, resolve } = Promise.withResolvers<string>();
    execFile("sh", ["-c", `sleep 0.2; cat ${pipe} | wc -c`], (_error, counted) => resolve(counted));
    const sink = await openSink(pipe);
    await sink.write(piece);
    await sink.write(piece);
    await sink.finish();
    assert.equal(Number(await promise), 2_000_000);
    assert.ok((await lstat(pipe)).isFIFO());
  });

  it("fails when the reader goes", async () => {
    execFile("head", ["-c", "1", pipe]);
    const sink = await openSink(pipe);
    const writing = async (): Promise<void> => {
      for (;;) await sink.write(Buffer.alloc(100_000));
    };
    await assert.rejects(writing, { code: "EPIPE" });
    await sink.discard();
  });

  it("can be given up while nobody reads, before and after a reader has come", async () => {
    const early = new AbortController();
    const opening = openSink(pipe, early.signal);
    await sleep(50);
    early.abort();
    await assert.rejects(opening, { name: "AbortError" });

    const late = new AbortController();
    const stalled = execFile("sh", ["-c", `exec sleep 100 < ${pipe}`]);
    try {
      const sink = await openSink(pipe, late.signal);
      const writing = sink.write(Buffer.alloc(10_000_000));
      await sleep(50);
      late.abort();
      await assert.rejects(writing);
      await sink.discard();
    } finally {
      stalled.kill();
    }
  });
});
