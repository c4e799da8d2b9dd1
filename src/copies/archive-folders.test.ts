import assert from "node:assert/strict";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { BackupMetadata } from "../gen/collector/collection_repo_pb.ts";
import { BackupsFixture } from "./testing/backups-fixture.ts";
import { calmRun } from "./testing/installer-fixture.ts";

const refused = new Error("it cannot be written");

async function open(): Promise<BackupsFixture> {
  const fixture = await BackupsFixture.open();
  for (const name of ["one", "two"]) await fixture.fill(name);
  return fixture;
}

describe("the folder of an archive that does not come", () => {
  it("is removed with those around it, if they were made for it", async () => {
    await using fixture = await open();
    await mkdir(join(fixture.own, "kept"));
    const left = (): Promise<string[]> => readdir(fixture.own, { recursive: true });
    fixture.beforeWrite = () => Promise.reject(refused);
    for (const destPath of ["2026/11/x", "kept/11/x"]) {
      await assert.rejects(fixture.backUp("one", { destPath }), refused);
      assert.deepEqual(await left(), ["kept"]);
    }
    const cancel = new AbortController();
    fixture.beforeWrite = async () => cancel.abort(refused);
    const run = { ...calmRun, signal: cancel.signal };
    await assert.rejects(fixture.backUp("one", { destPath: "2026/11/x" }, run));
    assert.deepEqual(await left(), ["kept"]);
  });

  it("is removed by the start after a crash too", async () => {
    await using fixture = await open();
    await mkdir(join(fixture.own, "kept"));
    let cut: readonly BackupMetadata[] = [];
    fixture.beforeWrite = async () => {
      // What a crash would leave.
      cut = (await Array.fromAsync(fixture.records.all())).map(({ value }) => value);
      throw refused;
    };
    for (const [destPath, file, stays] of [
      ["2026/11/x", "", []],
      ["kept/11/x", "", []],
      ["kept/12/x", "kept/12/notes.txt", ["12", "12/notes.txt"]],
    ] as const) {
      await assert.rejects(fixture.backUp("one", { destPath }), refused);
      assert.equal(cut.length, 1);
      await mkdir(join(fixture.own, destPath, ".."), { recursive: true });
      if (file !== "") await writeFile(join(fixture.own, file), "mine");
      for (const backup of cut) await fixture.noteCut(backup);
      await fixture.restart();
      assert.deepEqual(await readdir(fixture.own), ["kept"]);
      assert.deepEqual(await readdir(join(fixture.own, "kept"), { recursive: true }), stays);
    }
  });

  it("stays if something has come into it", async () => {
    await using fixture = await open();
    fixture.beforeWrite = async () => {
      await writeFile(join(fixture.own, "2026", "notes.txt"), "mine");
      throw refused;
    };
    await assert.rejects(fixture.backUp("one", { destPath: "2026/11/x" }), refused);
    assert.deepEqual(await readdir(join(fixture.own, "2026")), ["notes.txt"]);
  });

  it("stays for another one that is to come into it, and goes with the last that does not", async () => {
    for (const isLastMade of [true, false]) {
      await using fixture = await open();
      const isGone = Promise.withResolvers<void>();
      const isBegun = Promise.withResolvers<void>();
      const isWaiting = Promise.withResolvers<void>();
      fixture.beforeWrite = async () => {
        isBegun.resolve();
        fixture.beforeWrite = async () => {
          isWaiting.resolve();
          await isGone.promise;
          if (!isLastMade) throw refused;
        };
        // Fails while the second one is in the middle.
        await isWaiting.promise;
        throw refused;
      };
      const first = fixture.backUp("one", { destPath: "2026/11/x" });
      await isBegun.promise;
      const second = fixture.backUp("two", { destPath: "2026/11/y" });
      await assert.rejects(first, refused);
      assert.deepEqual(await readdir(join(fixture.own, "2026")), ["11"]);
      isGone.resolve();
      const [outcome] = await Promise.allSettled([second]);
      assert.equal(outcome.status, isLastMade ? "fulfilled" : "rejected");
      assert.deepEqual(await readdir(fixture.own), isLastMade ? ["2026"] : []);
    }
  });

  it("goes if it was that of a set, also while other backups are made elsewhere", async () => {
    await using fixture = await open();
    const setId = "0198c0de-7a2b-7f00-8000-000000000001";
    const { backupId } = await fixture.backUp("one", { destFolder: setId, setId });
    fixture.beforeWrite = async () => {
      await fixture.backups.delete(backupId);
      assert.deepEqual(await readdir(fixture.own), []);
    };
    await fixture.backUp("two", { destPath: "y" });
  });
});
