import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { openSystemRecords } from "../../collections/system-collections.ts";
import type { SystemRecords } from "../../collections/system-records.ts";
import { product } from "../../collections/testing/fixture.ts";
import { CollectionSchema } from "../../gen/collector/collection_pb.ts";
import {
  type BackupMetadata,
  BackupMetadataSchema,
  Compression,
} from "../../gen/collector/collection_repo_pb.ts";
import { CreateRequestSchema } from "../../gen/collector/collection_server_pb.ts";
import { systemClock } from "../../lib/clock.ts";
import { defaultLimits } from "../../lib/limits.ts";
import { silentLog } from "../../lib/log.ts";
import { BackupFolders } from "../backup-folders.ts";
import type { CreateBackup } from "../backup-parts.ts";
import { Backups } from "../backups.ts";
import type { CopyRun } from "../copy-parts.ts";
import { calmRun, InstallerFixture } from "./installer-fixture.ts";

export interface BackupsSetting {
  /** age recipients; nobody has the key here. */
  readonly recipients?: readonly string[];
}

/** The backups of collections of a server, which can start anew. */
export class BackupsFixture implements AsyncDisposable {
  readonly parts: InstallerFixture;
  readonly records: SystemRecords<BackupMetadata>;
  /** The backup folder. */
  readonly own: string;
  backups!: Backups;
  /** Is awaited whenever an archive is about to be written. */
  beforeWrite: () => Promise<void> = async () => undefined;
  readonly #setting: BackupsSetting;

  private constructor(
    parts: InstallerFixture,
    records: SystemRecords<BackupMetadata>,
    setting: BackupsSetting,
  ) {
    this.parts = parts;
    this.records = records;
    this.own = join(parts.folder, "backups");
    this.#setting = setting;
  }

  static async open(setting: BackupsSetting = {}): Promise<BackupsFixture> {
    const parts = await InstallerFixture.open();
    const { engine } = parts;
    const records = await openSystemRecords(engine, BackupMetadataSchema, "backups", defaultLimits);
    const fixture = new BackupsFixture(parts, records, setting);
    await fixture.restart();
    return fixture;
  }

  /** Reads everything anew, as a server that starts after a crash. */
  async restart(): Promise<void> {
    const { catalog, installer, archives, folder } = this.parts;
    const archiver = this.parts.archiver();
    this.backups = await Backups.open({
      records: this.records,
      folders: await BackupFolders.open(this.own, []),
      catalog,
      archiver: {
        write: async (...args) => {
          await this.beforeWrite();
          return await archiver.write(...args);
        },
      },
      installer,
      archives,
      keys: { identities: [], recipients: this.#setting.recipients ?? [] },
      verifyRegistry: () => Promise.reject(new Error("there is no registry")),
      compression: Compression.ZSTD,
      limits: defaultLimits,
      scratchFolder: folder,
      clock: systemClock,
      log: silentLog,
    });
  }

  /** Makes a collection with one record. */
  async fill(name: string): Promise<void> {
    const { catalog } = this.parts;
    const messageType = { messageName: "shop.v1.Product" };
    await catalog.create(create(CollectionSchema, { namespace: "default", name, messageType }));
    const item = product({ title: "chair", stock: 3 });
    await catalog.open("default", name).create(create(CreateRequestSchema, { id: "r1", item }));
  }

  backUp(
    name: string,
    more: Partial<CreateBackup> = {},
    run: CopyRun = calmRun,
  ): Promise<BackupMetadata> {
    const request = {
      namespace: "default",
      name,
      includeFiles: true,
      metadata: {},
      baseBackupId: "",
      incremental: false,
      compression: Compression.UNSPECIFIED,
      destPath: "",
      ...more,
    };
    return this.backups.create(request, run);
  }

  /** Notes a backup as one that a crash has cut. */
  async noteCut(backup: BackupMetadata): Promise<void> {
    const value = { ...backup, complete: false };
    await this.records.write([{ kind: "put", id: backup.backupId, value }]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.parts[Symbol.asyncDispose]();
  }
}
