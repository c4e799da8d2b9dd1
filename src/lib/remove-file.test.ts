import assert from "node:assert/strict";
import {
  link,
  mkdtemp,
  open,
  readdir,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { removeFile } from "./remove-file.ts";

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "collector-remove-"));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe("removeFile", () => {
  it("removes files of any size, and takes one that is not there for removed", async () => {
    await inFolder(async (folder) => {
      for (const size of [0, 5, 100 * 1024 * 1024]) {
        const path = join(folder, "file");
        await writeFile(path, "");
        await truncate(path, size);
        await removeFile(path);
        assert.deepEqual(await readdir(folder), []);
      }
      await removeFile(join(folder, "none"));
    });
  });

  it("leaves what has another name as it is", async () => {
    await inFolder(async (folder) => {
      const [path, other] = [join(folder, "file"), join(folder, "other")];
      const size = 100 * 1024 * 1024;
      await writeFile(path, "content");
      await truncate(path, size);
      await link(path, other);
      await removeFile(path);
      assert.deepEqual(await readdir(folder), ["other"]);
      assert.equal((await stat(other)).size, size);
    });
  });

  it("removes a symbolic link, and not what it points to", async () => {
    await inFolder(async (folder) => {
      const target = join(folder, "target");
      await writeFile(target, "content");
      await symlink(target, join(folder, "link"));
      await removeFile(join(folder, "link"));
      assert.deepEqual(await readdir(folder), ["target"]);
      const file = await open(target);
      assert.equal((await file.stat()).size, "content".length);
      await file.close();
    });
  });

  it("says what it cannot remove", async () => {
    await inFolder(async (folder) => {
      await assert.rejects(removeFile(folder), { code: "ERR_FS_EISDIR" });
    });
  });
});
