import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { DataFolderLockedError, openDataFolder } from "./data-folder.ts";
import type { FormatMigration } from "./data-format.ts";

async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "collector-data-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

describe("openDataFolder", () => {
  it("makes the folder and keeps the collector's id", async () => {
    await using temporary = await temporaryFolder();
    const path = join(temporary.path, "deep", "data");
    let id: string;
    {
      await using folder = await openDataFolder(path);
      id = folder.collectorId;
      assert.match(id, /^[0-9a-f-]{36}$/);
    }
    {
      await using folder = await openDataFolder(path);
      assert.equal(folder.collectorId, id);
    }
    {
      await using folder = await openDataFolder(path, { collectorId: "north" });
      assert.equal(folder.collectorId, "north");
    }
    await using folder = await openDataFolder(path);
    assert.equal(folder.collectorId, "north");
  });

  it("says so where no folder can be made, and does not go on trying", async () => {
    for (const path of ["/proc/none", "/dev/null/data"]) {
      await assert.rejects(openDataFolder(path), { reason: "STORAGE_UNAVAILABLE" });
    }
  });

  it("refuses a second server in the same process, and says who has the folder", async () => {
    await using temporary = await temporaryFolder();
    await using _first = await openDataFolder(temporary.path);
    await assert.rejects(openDataFolder(temporary.path), (error) => {
      assert(error instanceof DataFolderLockedError);
      assert.deepEqual(error.holder, { pid: process.pid, host: hostname() });
      assert.match(error.message, new RegExp(`process ${process.pid} on `));
      return true;
    });
  });

  it("refuses a second process, and lets go when the first is killed", async () => {
    await using temporary = await temporaryFolder();
    const script = join(temporary.path, "hold.mjs");
    const module = JSON.stringify(new URL("./data-folder.ts", import.meta.url).href);
    const data = join(temporary.path, "data");
    await writeFile(
      script,
      `const { openDataFolder } = await import(${module});
       globalThis.folder = await openDataFolder(${JSON.stringify(data)});
       setInterval(() => undefined, 1000);
       process.send("held");`,
    );
    const child = fork(script, { execArgv: [] });
    await once(child, "message");
    await assert.rejects(openDataFolder(data), { holder: { pid: child.pid, host: hostname() } });
    child.kill("SIGKILL");
    await once(child, "exit");
    await using _folder = await openDataFolder(data);
  });

  it("refuses a folder of a newer server and leaves it as it was", async () => {
    await using temporary = await temporaryFolder();
    const file = join(temporary.path, "collector.json");
    await writeFile(file, '{"format":99,"collectorId":"x"}');
    await assert.rejects(openDataFolder(temporary.path), {
      reason: "STORAGE_UNAVAILABLE",
      message: /has format 99, this server knows up to 1: start a newer server/,
    });
    assert.equal(await readFile(file, "utf8"), '{"format":99,"collectorId":"x"}');
  });

  it("says that a damaged folder is damaged", async () => {
    await using temporary = await temporaryFolder();
    await writeFile(join(temporary.path, "collector.json"), '{"form');
    await assert.rejects(openDataFolder(temporary.path), { reason: "STORAGE_CORRUPT" });
  });

  it("upgrades an older folder, and goes on from the copy after a crash half-way", async () => {
    await using temporary = await temporaryFolder();
    const { path } = temporary;
    const notes = join(path, "notes.txt");
    await openDataFolder(path).then((folder) => folder.close());
    await writeFile(notes, "one");
    let crash = true;
    const append = (from: number, text: string): FormatMigration => ({
      from,
      name: `append ${text}`,
      touches: () => Promise.resolve(["notes.txt", "not-there"]),
      run: async (folder) => {
        const file = join(folder, "notes.txt");
        await writeFile(file, `${await readFile(file, "utf8")} ${text}`, { flush: true });
        if (from === 2 && crash) throw new Error("power cut");
      },
    });
    const options = { format: 3, migrations: [append(1, "two"), append(2, "three")] };
    await assert.rejects(openDataFolder(path, options));
    assert.equal(await readFile(notes, "utf8"), "one two three");
    crash = false;
    await using _folder = await openDataFolder(path, options);
    assert.equal(await readFile(notes, "utf8"), "one two three");
    assert.equal(await readFile(join(path, "format-1", "notes.txt"), "utf8"), "one");
    assert.equal(await readFile(join(path, "format-2", "notes.txt"), "utf8"), "one two");
    assert.equal(JSON.parse(await readFile(join(path, "collector.json"), "utf8")).format, 3);
  });
});
