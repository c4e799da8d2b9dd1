import assert from "node:assert/strict";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { openSystemRecords } from "../collections/system-collections.ts";
import type { SystemRecords } from "../collections/system-records.ts";
import { ArchiveManifestSchema } from "../gen/collector/archive_pb.ts";
import { DeleteCollectionRequestSchema } from "../gen/collector/collection_admin_pb.ts";
import { CollectionSchema } from "../gen/collector/collection_pb.ts";
import {
  type BackupMetadata,
  BackupMetadataSchema,
  Compression,
} from "../gen/collector/collection_repo_pb.ts";
import { systemClock } from "../lib/clock.ts";
import { defaultLimits } from "../lib/limits.ts";
import { silentLog } from "../lib/log.ts";
import { BackupFolders } from "./backup-folders.ts";
import type { CreateBackup } from "./backup-parts.ts";
import { Backups, type BackupsOptions } from "./backups.ts";
import type { CollectionArchiver } from "./copy-parts.ts";
import { calmRun, InstallerFixture } from "./testing/installer-fixture.ts";

/** Backups whose archives hold nothing but what a test says. */
class Bench implements AsyncDisposable {
  readonly records: SystemRecords<BackupMetadata>;
  readonly backupFolder: string;
  readonly #fixture: InstallerFixture;

  private constructor(fixture: InstallerFixture, records: SystemRecords<BackupMetadata>) {
    this.#fixture = fixture;
    this.records = records;
    this.backupFolder = join(fixture.folder, "backups");
  }

  static async open(): Promise<Bench> {
    const fixture = await InstallerFixture.open();
    const { engine } = fixture;
    const records = await openSystemRecords(engine, BackupMetadataSchema, "backups", defaultLimits);
    return new Bench(fixture, records);
  }

  /** As the server does when it starts. */
  async start(archiver: CollectionArchiver): Promise<Backups> {
    const { catalog, installer, archives } = this.#fixture;
    const options: BackupsOptions = {
      records: this.records,
      folders: await BackupFolders.open(this.backupFolder, []),
      catalog,
      archiver,
      installer,
      archives,
      keys: { identities: [], recipients: ["age1somebody"] },
      verifyRegistry: () => assert.fail("it is of no registry"),
      compression: Compression.ZSTD,
      limits: defaultLimits,
      scratchFolder: this.#fixture.folder,
      clock: systemClock,
      log: silentLog,
    };
    return await Backups.open(options);
  }

  /** Makes an empty collection, in the place of one that has the name. @returns its id */
  async collection(name: string): Promise<string> {
    const { catalog } = this.#fixture;
    if (catalog.find("default", name) !== undefined) {
      const collection = { namespace: "default", name };
      await catalog.delete(create(DeleteCollectionRequestSchema, { collection }));
    }
    const messageType = { namespace: "default", messageName: "shop.v1.Product" };
    const collection = create(CollectionSchema, { namespace: "default", name, messageType });
    const { collectionId } = await catalog.create(collection);
    return collectionId;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fixture[Symbol.asyncDispose]();
  }
}

/** Writes what cannot be read as an archive: it might be encrypted. */
function archiver(
  collectionId: string,
  meanwhile: () => Promise<void> = async () => undefined,
): CollectionArchiver {
  return {
    async write({ path }) {
      await meanwhile();
      await writeFile(path, `of ${collectionId}`);
      const collection = { collectionId };
      return {
        manifest: create(ArchiveManifestSchema, { collection }),
        sizeBytes: 3n,
        sha256: "0".repeat(64),
      };
    },
  };
}

function request(name: string, destPath: string): CreateBackup {
  return {
    namespace: "default",
    name,
    destPath,
    includeFiles: false,
    metadata: {},
    baseBackupId: "",
    incremental: false,
    compression: Compression.UNSPECIFIED,
  };
}

describe("Backups", () => {
  it("are not put where another one is being written to", async () => {
    await using bench = await Bench.open();
    const ids = { one: await bench.collection("one"), other: await bench.collection("other") };
    const begun = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const backups = await bench.start(
      archiver(ids.one, async () => {
        begun.resolve();
        await goOn.promise;
      }),
    );
    const first = backups.create(request("one", "weekly.collector"), calmRun);
    await begun.promise;
    await assert.rejects(backups.create(request("other", "weekly.collector"), calmRun), {
      reason: "BACKUP_EXISTS",
    });
    goOn.resolve();
    assert.equal((await first).collectionId, ids.one);
    assert.deepEqual(await readdir(bench.backupFolder), ["weekly.collector"]);
  });

  it("stay, where a cut one should have gone, though nobody can read whose archive it is", async () => {
    await using bench = await Bench.open();
    const backups = await bench.start(archiver(await bench.collection("one")));
    const whole = await backups.create(request("one", "weekly.collector"), calmRun);
    const backupId = "0198c0de-7a2b-7f00-8000-000000000001";
    const value = { ...whole, backupId, encrypted: true, sizeBytes: 0n, complete: false };
    await bench.records.write([{ kind: "put", id: backupId, value }]);
    const again = await bench.start(archiver(""));
    assert.deepEqual(
      again.all().map((backup) => backup.backupId),
      [whole.backupId],
    );
    assert.deepEqual(await readdir(bench.backupFolder), ["weekly.collector"]);
  });

  it("are not told as those of a collection that was made anew while they waited", async () => {
    await using bench = await Bench.open();
    const before = await bench.collection("one");
    const after = await bench.collection("one");
    assert.notEqual(before, after);
    const backups = await bench.start(archiver(before));
    await assert.rejects(backups.create(request("one", ""), calmRun), {
      reason: "COLLECTION_REPLACED",
    });
    assert.deepEqual(backups.all(), []);
    assert.deepEqual(await readdir(bench.backupFolder), []);
  });

  it("are refused with a compression that there is not", async () => {
    await using bench = await Bench.open();
    const backups = await bench.start(archiver(await bench.collection("one")));
    for (const compression of [99, -1] as Compression[]) {
      await assert.rejects(backups.create({ ...request("one", ""), compression }, calmRun), {
        reason: "ARGUMENT_INVALID",
        message: /compression/,
      });
    }
  });
});
