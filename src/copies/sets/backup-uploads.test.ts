import assert from "node:assert/strict";
import { randomUUIDv7 } from "node:crypto";
import { copyFile, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { CollectorError } from "../../errors.ts";
import type { BackupMetadata } from "../../gen/collector/collection_repo_pb.ts";
import { ArchiveBench, type Manifest } from "./testing/archive-bench.ts";

const setId = "0198c0de-7a2b-7f00-8000-000000000001";

function keep(bench: ArchiveBench, path: string, sha256 = ""): Promise<BackupMetadata> {
  const run = { signal: new AbortController().signal, report: () => undefined };
  return bench.uploads.keep({ path, sha256 }, run);
}

/** Keeps what must be refused, and looks that nothing is left of it. */
async function refused(bench: ArchiveBench, path: string, sha256 = ""): Promise<CollectorError> {
  const error = await keep(bench, path, sha256).then(
    () => assert.fail("it was kept"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof CollectorError, String(error));
  assert.deepEqual(bench.known, []);
  const names = await readdir(bench.own, { recursive: true });
  assert.deepEqual(
    names.filter((name) => name.includes(".")),
    [],
  );
  return error;
}

describe("an archive that is uploaded", () => {
  it("is a backup as any other, where this server would have put it", async () => {
    await using bench = await ArchiveBench.open();
    const path = join(bench.outside, "came");
    const backupId = await bench.pack(path, { setId, metadata: { why: "test" } });
    const backup = await keep(bench, path);
    assert.equal(backup.storagePath, `${setId}/${backupId}.collector`);
    assert.equal(backup.metadata["why"], "test");
    assert.match(backup.sha256, /^[0-9a-f]{64}$/);
    assert.deepEqual(bench.known, [backup]);
    const kept = await readFile(join(bench.own, backup.storagePath));
    assert.ok(kept.equals(await readFile(path)));
    assert.deepEqual(await readdir(join(bench.own, setId)), [`${backupId}.collector`]);
  });

  it("is answered as it is known when it comes again, also twice at a time", async () => {
    await using bench = await ArchiveBench.open();
    const path = join(bench.outside, "came");
    await bench.pack(path);
    const both = await Promise.all([keep(bench, path), keep(bench, path)]);
    assert.equal(bench.known.length, 1);
    for (const backup of [...both, await keep(bench, path)]) {
      assert.deepEqual(backup, bench.known[0]);
    }
  });

  it("is refused under the id of another one", async () => {
    await using bench = await ArchiveBench.open();
    const backupId = await bench.pack(join(bench.outside, "one"));
    await bench.pack(join(bench.outside, "other"), { backupId, revision: 6n });
    await keep(bench, join(bench.outside, "one"));
    await assert.rejects(keep(bench, join(bench.outside, "other")), {
      reason: "ARCHIVE_INVALID",
      message: /is another archive/,
    });
    assert.equal(bench.known.length, 1);
  });

  it("needs what it is based on", async () => {
    await using bench = await ArchiveBench.open();
    const first = randomUUIDv7();
    const on = (revision: bigint): Manifest => ({
      revision: 9n,
      base: { backupId: first, incarnation: "i1", revision },
    });
    await bench.pack(join(bench.outside, "changes"), on(5n));
    await bench.pack(join(bench.outside, "others"), on(4n));
    const early = await refused(bench, join(bench.outside, "changes"));
    assert.equal(early.reason, "BASE_UNUSABLE");
    assert.match(early.message, /is not there/);
    await bench.pack(join(bench.outside, "first"), { backupId: first });
    await keep(bench, join(bench.outside, "first"));
    await assert.rejects(keep(bench, join(bench.outside, "others")), { reason: "BASE_UNUSABLE" });
    assert.equal((await keep(bench, join(bench.outside, "changes"))).baseBackupId, first);
  });

  it("is refused if any byte of it is another, or missing", async () => {
    await using bench = await ArchiveBench.open();
    const path = join(bench.outside, "came");
    await bench.pack(path);
    const whole = await readFile(path);
    for (let at = 0; at < whole.length; at += 7) {
      const bytes = Buffer.from(whole);
      bytes[at] = (bytes[at] ?? 0) ^ 0x10;
      await writeFile(path, bytes);
      await refused(bench, path);
      await writeFile(path, whole.subarray(0, at));
      await refused(bench, path);
    }
    await writeFile(path, whole);
    const { reason, violations } = await refused(bench, path, "ab".repeat(32));
    assert.equal(reason, "CONTENT_MISMATCH");
    assert.equal(violations[0]?.field, "sha256");
  });

  it("is refused if it is no backup, or says what no server says", async () => {
    await using bench = await ArchiveBench.open();
    const path = join(bench.outside, "came");
    for (const manifest of [
      { backupId: "" },
      { backupId: "../../../etc/passwd" },
      { setId: "../out" },
      { collection: { namespace: "system", name: "backups", collectionId: "c" } },
    ]) {
      await bench.pack(path, manifest);
      assert.equal((await refused(bench, path)).reason, "ARCHIVE_INVALID");
      await rm(path);
    }
  });

  it("leaves a file alone that has its name, and says so", async () => {
    await using bench = await ArchiveBench.open();
    const path = join(bench.outside, "came");
    const backupId = await bench.pack(path);
    const taken = join(bench.own, `${backupId}.collector`);
    await writeFile(taken, "something else");
    await assert.rejects(keep(bench, path), {
      reason: "BACKUP_EXISTS",
      message: /import or remove/,
    });
    assert.equal(await readFile(taken, "utf8"), "something else");
    assert.deepEqual(await readdir(bench.own), [`${backupId}.collector`]);
    // The same archive is what a crash leaves that comes before it is listed.
    await copyFile(path, taken);
    assert.equal((await keep(bench, path)).storagePath, `${backupId}.collector`);
    assert.deepEqual(await readdir(bench.own), [`${backupId}.collector`]);
  });
});
