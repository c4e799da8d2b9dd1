import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { CollectorError } from "../errors.ts";
import { createArchives } from "./archive-pool.ts";
import { DiskRoom } from "./disk-room.ts";

const mebibyte = 1024 * 1024;

interface Folder extends AsyncDisposable {
  readonly path: string;
}

async function openFolder(): Promise<Folder> {
  const path = await mkdtemp(join(tmpdir(), "collector-room-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

function isFull(error: unknown): boolean {
  if (!(error instanceof CollectorError)) return false;
  return error.reason === "DISK_FULL" && (error.retryAfterMs ?? 0) > 0;
}

describe("The room on a disk", () => {
  it("has to do for all files and the reserve", async () => {
    await using folder = await openFolder();
    await mkdir(join(folder.path, "files"));
    const room = new DiskRoom(100, () => 1000);
    const files = (first: number, second: number) => [
      { path: join(folder.path, "a"), bytes: first },
      { path: join(folder.path, "files", "b"), bytes: second },
    ];
    room.checkFor(files(400, 500));
    room.checkFor([]);
    assert.throws(() => room.checkFor(files(400, 501)), isFull);
    assert.throws(() => room.checkFor(files(1, Number.MAX_SAFE_INTEGER)), isFull);
  });

  it("is looked at again every 64 MiB, since others write too", () => {
    let free = 1000 * mebibyte;
    let looks = 0;
    const room = new DiskRoom(100 * mebibyte, () => {
      looks += 1;
      return free;
    });
    const write = () => room.beforeWrite({ path: "/a/b", bytes: mebibyte });
    for (let count = 0; count < 128; count += 1) write();
    assert.equal(looks, 2);
    free = 100 * mebibyte;
    for (let count = 0; count < 63; count += 1) write();
    assert.throws(write, isFull);
  });

  it("is not used up by an archive: nothing is written, and it can still be verified", async () => {
    await using folder = await openFolder();
    const [path, source, target] = ["archive", "source", "target"].map((name) =>
      join(folder.path, name),
    );
    assert.ok(path !== undefined && source !== undefined && target !== undefined);
    await writeFile(source, Buffer.alloc(2 * mebibyte));
    await using archives = createArchives({
      threads: 1,
      diskReserveBytes: Number.MAX_SAFE_INTEGER - 4 * mebibyte,
    });
    const parts = [{ name: "database", path: source }];
    await archives.pack({ path, manifest: {}, parts, recipients: [] });
    const unpack = (targets: ReadonlyMap<string, string>) =>
      archives.unpack({ path, identities: [], targets });
    await assert.rejects(unpack(new Map([["database", target]])), isFull);
    assert.deepEqual(await readdir(folder.path), ["archive", "source"]);
    assert.deepEqual((await unpack(new Map())).faults, []);
  });
});
