import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { removeFolder } from "./remove-folder.ts";

describe("removeFolder", () => {
  it("removes all that is in a folder, follows no link, and takes what is not there", async () => {
    const root = await mkdtemp(join(tmpdir(), "collector-remove-"));
    try {
      await mkdir(join(root, "kept"));
      await writeFile(join(root, "kept/file"), "mine");
      await mkdir(join(root, "gone/deep/deeper"), { recursive: true });
      for (const name of ["gone/file", "gone/deep/file", "gone/deep/deeper/file"]) {
        await writeFile(join(root, name), "text");
      }
      await symlink(join(root, "kept"), join(root, "gone/link"));
      await removeFolder(join(root, "gone"));
      assert.deepEqual(await readdir(root, { recursive: true }), ["kept", "kept/file"]);
      await removeFolder(join(root, "gone"));
      await removeFolder(join(root, "kept/file"));
      assert.deepEqual(await readdir(root, { recursive: true }), ["kept"]);
    } finally {
      await rm(root, { recursive: true });
    }
  });
});
