import assert from "node:assert/strict";
import { randomUUIDv7 } from "node:crypto";
import { chmod, copyFile, mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { CollectorError } from "../errors.ts";
import { BackupsFixture } from "./testing/backups-fixture.ts";
import { asOrdinaryUser } from "./testing/ordinary-user.ts";

const destPath = "weekly.collector";

/** One that has no key to what it writes. */
async function openSealed(): Promise<BackupsFixture> {
  const recipients = [await identityToRecipient(await generateIdentity())];
  const fixture = await BackupsFixture.open({ recipients });
  for (const name of ["one", "two"]) await fixture.fill(name);
  return fixture;
}

describe("the place of a backup", () => {
  it("is that of one only, also while it is being written", async () => {
    await using fixture = await openSealed();
    let second: Promise<unknown> = Promise.resolve();
    fixture.beforeWrite = async () => {
      fixture.beforeWrite = async () => undefined;
      second = fixture.backUp("two", { destPath });
      await second.catch(() => undefined);
    };
    const { backupId } = await fixture.backUp("one", { destPath });
    await assert.rejects(second, { reason: "BACKUP_EXISTS" });
    assert.equal(fixture.backups.get(backupId).storagePath, destPath);
    assert.deepEqual(await readdir(fixture.own), [destPath]);
  });

  it("is not given to another one when its archive is missing", async () => {
    await using fixture = await openSealed();
    await fixture.backUp("one", { destPath });
    await rm(join(fixture.own, destPath));
    await assert.rejects(fixture.backUp("two", { destPath }), { reason: "BACKUP_EXISTS" });
  });

  it("is told of if nothing can be put there, and nothing is left", async () => {
    await using fixture = await openSealed();
    await chmod(fixture.parts.folder, 0o755);
    const made = await fixture.backUp("two", { destPath });
    const backUp = async (): Promise<unknown> => {
      using _user = asOrdinaryUser();
      return await fixture.backUp("one", { destPath: "in/one" }).catch((error: unknown) => error);
    };
    const refused = await backUp();
    assert.ok(refused instanceof CollectorError, String(refused));
    assert.equal(refused.reason, "STORAGE_UNAVAILABLE");
    assert.match(refused.message, /^the archive cannot be put in the backup folder: E/);
    assert.deepEqual([await readdir(fixture.own), fixture.backups.all()], [[destPath], [made]]);
  });

  it("stays that of a backup whose archive cannot be removed", async () => {
    await using fixture = await openSealed();
    const made = await fixture.backUp("one", { destPath });
    const { backupId } = made;
    await chmod(fixture.parts.folder, 0o755);
    const remove = async (): Promise<unknown> => {
      using _user = asOrdinaryUser();
      return await fixture.backups.delete(backupId).catch((error: unknown) => error);
    };
    const refused = await remove();
    assert.ok(refused instanceof CollectorError);
    assert.equal(refused.reason, "STORAGE_UNAVAILABLE");
    assert.match(refused.message, /the archive cannot be removed, and the backup stays: E/);
    assert.deepEqual(fixture.backups.all(), [made]);
    await fixture.restart();
    assert.deepEqual(fixture.backups.all(), [made]);
    assert.ok((await fixture.backups.delete(backupId)) > 0n);
    assert.deepEqual([await readdir(fixture.own), fixture.backups.all()], [[], []]);
  });
});

describe("a start after a crash", () => {
  it("leaves an archive that a complete backup has, though another was to come there", async () => {
    await using fixture = await openSealed();
    const made = await fixture.backUp("one", { destPath });
    await fixture.noteCut({ ...made, backupId: randomUUIDv7(), sizeBytes: 0n });
    await fixture.restart();
    assert.deepEqual(await readdir(fixture.own), [destPath]);
    assert.deepEqual(
      fixture.backups.all().map(({ backupId }) => backupId),
      [made.backupId],
    );
  });

  it("leaves what has come since to the place of an archive that was never whole", async () => {
    await using fixture = await openSealed();
    const { storagePath, ...other } = await fixture.backUp("one");
    await copyFile(join(fixture.own, storagePath), join(fixture.own, destPath));
    const cut = { ...other, storagePath: destPath, backupId: randomUUIDv7(), sizeBytes: 0n };
    await fixture.noteCut(cut);
    await fixture.restart();
    assert.deepEqual((await readdir(fixture.own)).sort(), [storagePath, destPath].sort());
  });

  it("removes an archive that was whole, and that nobody was told of", async (t) => {
    await using fixture = await openSealed();
    const { mock } = t.mock.method(fixture.records, "write");
    await fixture.backUp("one", { destPath });
    const notes = mock.calls.flatMap(({ arguments: [writes] }) => [...writes]);
    const last = notes.flatMap((note) => (note.kind === "put" ? note.value : [])).at(-2);
    assert.ok(last !== undefined && !last.complete);
    await fixture.noteCut(last);
    await fixture.restart();
    assert.deepEqual([await readdir(fixture.own), fixture.backups.all()], [[], []]);
  });

  it("removes what is unfinished of its own, and nothing of another server", async () => {
    await using fixture = await openSealed();
    const made = await fixture.backUp("one", { destPath });
    const cut = { ...made, backupId: randomUUIDv7(), storagePath: "in/two", sizeBytes: 0n };
    await mkdir(join(fixture.own, "in"));
    for (const path of [`in/.new-${cut.backupId}`, "in/.new-other", ".new-other", "in/two"]) {
      await writeFile(join(fixture.own, path), path === "in/two" ? "" : "half");
    }
    await fixture.noteCut(cut);
    await fixture.restart();
    const left = await readdir(fixture.own, { recursive: true });
    assert.deepEqual(left.sort(), [".new-other", "in", "in/.new-other", destPath]);
    assert.equal((await Array.fromAsync(fixture.records.all())).length, 1);
  });

  it("goes on without what it cannot reach, and removes that another time", async () => {
    await using fixture = await openSealed();
    const { storagePath, ...made } = await fixture.backUp("one", { destPath: "in/one" });
    await fixture.noteCut({ ...made, storagePath });
    const archive = join(fixture.own, storagePath);
    // A folder is in the way of what is unfinished.
    const unfinished = join(fixture.own, "in", `.new-${made.backupId}`);
    await mkdir(unfinished);
    await fixture.restart();
    await rm(unfinished, { recursive: true });
    assert.deepEqual(fixture.backups.all(), []);
    await stat(archive);
    await fixture.restart();
    await assert.rejects(stat(archive), { code: "ENOENT" });
  });
});
