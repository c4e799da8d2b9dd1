import assert from "node:assert/strict";
import { appendFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { BackupMetadata } from "../gen/collector/collection_repo_pb.ts";
import { BackupsFixture } from "./testing/backups-fixture.ts";
import { calmRun } from "./testing/installer-fixture.ts";

/** Puts another archive of the same backup, with the same data, in the place of one. */
async function exchange(fixture: BackupsFixture, backup: BackupMetadata): Promise<void> {
  const { archives, folder } = fixture.parts;
  const path = join(fixture.own, backup.storagePath);
  const manifest = await archives.manifest(path, []);
  const parts = manifest.parts.map(({ name }, index) => ({
    name,
    path: join(folder, `part-${index}`),
  }));
  const targets = new Map(parts.map((part) => [part.name, part.path]));
  await archives.unpack({ path, identities: [], targets });
  await rm(path);
  manifest.metadata["changed"] = "by hand";
  await archives.pack({ path, manifest, recipients: [], parts });
}

describe("a backup that is verified", () => {
  it("is not valid if any archive of its chain is another one than was made", async () => {
    await using fixture = await BackupsFixture.open();
    await fixture.fill("one");
    const full = await fixture.backUp("one");
    const { backupId } = await fixture.backUp("one", { baseBackupId: full.backupId });
    const whole = await fixture.backups.verify(backupId, calmRun);
    assert.deepEqual(whole.problems, []);
    await exchange(fixture, full);
    const { problems, backup } = await fixture.backups.verify(backupId, calmRun);
    assert.deepEqual(
      problems.map(({ archive, part }) => [archive, part]),
      [[0, "trailer"]],
    );
    const what = /trailer: .* not the archive that is known: its SHA-256 is [0-9a-f]{64}/;
    assert.match(backup.verifyError, what);
    assert.match(
      backup.verifyError,
      new RegExp(`^backup ${full.backupId}, which it is based on: `),
    );
    // Another is not based on it either.
    assert.match(fixture.backups.get(full.backupId).verifyError, /^trailer: /);
    const next = await fixture.backUp("one", { incremental: true });
    assert.equal(next.baseBackupId, "");
  });

  it("is not valid either if its SHA-256 is not known, and its size is another", async () => {
    await using fixture = await BackupsFixture.open();
    await fixture.fill("one");
    const made = await fixture.backUp("one");
    await fixture.records.write([
      { kind: "put", id: made.backupId, value: { ...made, sha256: "" } },
    ]);
    await fixture.restart();
    await exchange(fixture, made);
    const { problems } = await fixture.backups.verify(made.backupId, calmRun);
    assert.match(problems[0]?.description ?? "", /has [0-9]+ bytes, not [0-9]+$/);
    assert.equal(fixture.backups.get(made.backupId).sha256, "");
  });

  it("tells of damage as such", async () => {
    await using fixture = await BackupsFixture.open();
    await fixture.fill("one");
    const made = await fixture.backUp("one");
    await appendFile(join(fixture.own, made.storagePath), "more");
    const { problems } = await fixture.backups.verify(made.backupId, calmRun);
    assert.doesNotMatch(problems.map(({ description }) => description).join(), /SHA-256/);
    assert.notDeepEqual(problems, []);
  });
});
