import assert from "node:assert/strict";
import { randomUUIDv7 } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { openSystemRecords } from "../../collections/system-collections.ts";
import { CollectorError } from "../../errors.ts";
import type { ArchiveManifest, ArchiveManifestSchema } from "../../gen/collector/archive_pb.ts";
import {
  type BackupMetadata,
  BackupMetadata_Content,
  BackupMetadataSchema,
  Compression,
} from "../../gen/collector/collection_repo_pb.ts";
import { systemClock } from "../../lib/clock.ts";
import { defaultLimits } from "../../lib/limits.ts";
import { silentLog } from "../../lib/log.ts";
import { BackupFolders } from "../backup-folders.ts";
import { Backups } from "../backups.ts";
import { calmRun, InstallerFixture } from "../testing/installer-fixture.ts";
import { BackupUploads } from "./backup-uploads.ts";

type Manifest = Exclude<MessageInitShape<typeof ArchiveManifestSchema>, ArchiveManifest>;

const setId = "0198c0de-7a2b-7f00-8000-000000000001";

/** The backups of a server, and a folder elsewhere with archives that come. */
class Bench implements AsyncDisposable {
  readonly own: string;
  readonly elsewhere: string;
  readonly backups: Backups;
  readonly uploads: BackupUploads;
  readonly #fixture: InstallerFixture;

  private constructor(fixture: InstallerFixture, folders: BackupFolders, backups: Backups) {
    const { archives, folder } = fixture;
    this.#fixture = fixture;
    this.own = folders.own;
    this.elsewhere = join(folder, "elsewhere");
    this.backups = backups;
    this.uploads = new BackupUploads({ backups, folders, archives, keys: { identities: [] } });
  }

  static async open(): Promise<Bench> {
    const fixture = await InstallerFixture.open();
    const { catalog, installer, archives, engine, folder } = fixture;
    await mkdir(join(folder, "elsewhere"));
    await writeFile(join(folder, "part"), "the data");
    const folders = await BackupFolders.open(join(folder, "backups"), []);
    const backups = await Backups.open({
      records: await openSystemRecords(engine, BackupMetadataSchema, "backups", defaultLimits),
      folders,
      catalog,
      archiver: { write: () => assert.fail("nothing is backed up") },
      installer,
      archives,
      keys: { identities: [], recipients: [] },
      verifyRegistry: () => assert.fail("it is of no registry"),
      compression: Compression.ZSTD,
      limits: defaultLimits,
      scratchFolder: join(folder, "scratch"),
      clock: systemClock,
      log: silentLog,
    });
    return new Bench(fixture, folders, backups);
  }

  get known(): readonly BackupMetadata[] {
    return this.backups.all();
  }

  at(name: string): string {
    return join(this.elsewhere, name);
  }

  /** Makes an archive that comes. @returns the id of its backup */
  async pack(name: string, manifest: Manifest = {}): Promise<string> {
    const backupId = manifest.backupId ?? randomUUIDv7();
    await this.#fixture.archives.pack({
      path: this.at(name),
      manifest: {
        content: BackupMetadata_Content.COLLECTION,
        collection: { namespace: "shop", name: "prices", collectionId: "c1" },
        moment: timestampNow(),
        incarnation: "i1",
        revision: 5n,
        recordCount: 3n,
        backupId,
        ...manifest,
      },
      parts: [
        {
          name: manifest.base === undefined ? "database" : "changes",
          path: join(this.#fixture.folder, "part"),
        },
      ],
      recipients: [],
    });
    return backupId;
  }

  keep(name: string, sha256 = ""): Promise<BackupMetadata> {
    return this.uploads.keep({ path: this.at(name), sha256 }, calmRun);
  }

  /** Keeps what must be refused, and looks that nothing is left of it. */
  async refused(name: string, sha256 = ""): Promise<CollectorError> {
    const before = await readdir(this.own, { recursive: true });
    const known = [...this.known];
    const error = await this.keep(name, sha256).then(
      () => assert.fail("it was kept"),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof CollectorError, String(error));
    assert.deepEqual(this.known, known);
    assert.deepEqual(await readdir(this.own, { recursive: true }), before);
    return error;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fixture[Symbol.asyncDispose]();
  }
}

describe("an archive that is uploaded", () => {
  it("is a backup as any other, where this server would have put it", async () => {
    await using bench = await Bench.open();
    const backupId = await bench.pack("came", { setId, metadata: { why: "test" } });
    const backup = await bench.keep("came");
    assert.equal(backup.storagePath, `${setId}/${backupId}.collector`);
    assert.equal(backup.metadata["why"], "test");
    assert.match(backup.sha256, /^[0-9a-f]{64}$/);
    assert.notEqual(backup.importTime, undefined);
    assert.deepEqual(bench.known, [backup]);
    const kept = await readFile(join(bench.own, backup.storagePath));
    assert.ok(kept.equals(await readFile(bench.at("came"))));
    assert.deepEqual(await readdir(join(bench.own, setId)), [`${backupId}.collector`]);
  });

  it("is answered as it is known when it comes again, also twice at a time", async () => {
    await using bench = await Bench.open();
    await bench.pack("came");
    const both = await Promise.all([bench.keep("came"), bench.keep("came")]);
    assert.equal(bench.known.length, 1);
    for (const backup of [...both, await bench.keep("came")]) {
      assert.deepEqual(backup, bench.known[0]);
    }
  });

  it("is refused under the id of another one, or of one that cannot be read", async () => {
    await using bench = await Bench.open();
    const backupId = await bench.pack("one");
    await bench.pack("other", { backupId, revision: 6n });
    const { storagePath } = await bench.keep("one");
    assert.match((await bench.refused("other")).message, /is another archive/);
    await rm(bench.at("other"));
    await bench.pack("other", { backupId, metadata: { repacked: "since" } });
    await writeFile(join(bench.own, storagePath), "");
    assert.match((await bench.refused("other")).message, /by its SHA-256: delete that first/);
  });

  it("takes the place of its own archive if that is missing or damaged", async () => {
    await using bench = await Bench.open();
    const setId = randomUUIDv7();
    await bench.pack("one", { setId });
    const whole = await readFile(bench.at("one"));
    const kept = await bench.keep("one");
    const path = join(bench.own, kept.storagePath);
    const damaged = Buffer.from(whole);
    damaged[damaged.length >> 1] = (damaged[damaged.length >> 1] ?? 0) ^ 1;
    for (const spoil of [
      () => rm(path),
      () => rm(join(bench.own, setId), { recursive: true }),
      () => writeFile(path, ""),
      async () => {
        await writeFile(path, damaged);
        const { problems } = await bench.backups.verify(kept.backupId, calmRun);
        assert.notDeepEqual(problems, []);
      },
    ]) {
      await spoil();
      const again = await bench.keep("one");
      assert.ok((await readFile(path)).equals(whole));
      assert.deepEqual(await readdir(join(bench.own, setId)), [`${kept.backupId}.collector`]);
      const { verifyTime, verifyError } = again;
      assert.deepEqual(again, { ...kept, verifyTime, verifyError });
      assert.deepEqual(bench.known, [again]);
    }
  });

  it("needs what it is based on", async () => {
    await using bench = await Bench.open();
    const first = randomUUIDv7();
    const on = (revision: bigint): Manifest => ({
      revision: 9n,
      base: { backupId: first, incarnation: "i1", revision },
    });
    await bench.pack("changes", on(5n));
    await bench.pack("others", on(4n));
    const early = await bench.refused("changes");
    assert.equal(early.reason, "BASE_UNUSABLE");
    assert.match(early.message, /is not there/);
    await bench.pack("first", { backupId: first });
    await bench.keep("first");
    assert.match((await bench.refused("others")).message, /does not follow/);
    assert.equal((await bench.keep("changes")).baseBackupId, first);
  });

  it("is refused if any byte of it is another, or missing", async () => {
    await using bench = await Bench.open();
    await bench.pack("came");
    const whole = await readFile(bench.at("came"));
    for (let at = 0; at < whole.length; at += 7) {
      const bytes = Buffer.from(whole);
      bytes[at] = (bytes[at] ?? 0) ^ 0x10;
      await writeFile(bench.at("came"), bytes);
      await bench.refused("came");
      await writeFile(bench.at("came"), whole.subarray(0, at));
      await bench.refused("came");
    }
    await writeFile(bench.at("came"), whole);
    const { reason, violations } = await bench.refused("came", "ab".repeat(32));
    assert.equal(reason, "CONTENT_MISMATCH");
    assert.equal(violations[0]?.field, "sha256");
  });

  it("is refused if it is no backup, or says what no server says", async () => {
    await using bench = await Bench.open();
    for (const manifest of [
      { backupId: "" },
      { backupId: "../../../etc/passwd" },
      { setId: "../out" },
      { collection: { namespace: "system", name: "backups", collectionId: "c" } },
    ]) {
      await bench.pack("came", manifest);
      assert.equal((await bench.refused("came")).reason, "ARCHIVE_INVALID");
      await rm(bench.at("came"));
    }
  });

  it("leaves a file alone that has its name, and says so", async () => {
    await using bench = await Bench.open();
    const backupId = await bench.pack("came");
    const taken = join(bench.own, `${backupId}.collector`);
    await writeFile(taken, "something else");
    const { reason, message } = await bench.refused("came");
    assert.equal(reason, "BACKUP_EXISTS");
    assert.match(message, /import or remove it/);
    assert.equal(await readFile(taken, "utf8"), "something else");
  });
});
