import { mkdir, realpath } from "node:fs/promises";
import { join, resolve } from "node:path";
import { createArchives } from "../archive/archive-pool.ts";
import type { CollectionCatalog } from "../collections/catalog.ts";
import type { SystemRecords } from "../collections/system-records.ts";
import { type BackupMetadata, Compression } from "../gen/collector/collection_repo_pb.ts";
import { systemClock } from "../lib/clock.ts";
import type { Limits } from "../lib/limits.ts";
import type { Log } from "../lib/log.ts";
import { removeFolder } from "../lib/remove-folder.ts";
import type { OperationStore } from "../operations/operation-store.ts";
import type { Registry } from "../registry/registry.ts";
import type { StorageEngine } from "../storage/record-store.ts";
import { loadArchiveKeys } from "./archive-keys.ts";
import { Archiver } from "./archiver.ts";
import { BackupFolders } from "./backup-folders.ts";
import type { BackupCatalog, BackupObserver } from "./backup-parts.ts";
import { Backups } from "./backups.ts";
import type { ArchiveInstaller, VerifyRegistry } from "./copy-parts.ts";
import { boundedArchiver, boundedInstaller, CopySlots } from "./copy-slots.ts";
import { openInstaller } from "./installer.ts";
import type { RemoteCollectors } from "./remote/remote-collector.ts";
import { RemoteCopies } from "./remote/remote-copies.ts";
import { BackupImport } from "./sets/backup-import.ts";
import { BackupUploads } from "./sets/backup-uploads.ts";
import { RegistryCopies } from "./sets/registry-copies.ts";
import { ServerBackup } from "./sets/server-backup.ts";
import { ServerRestore } from "./sets/server-restore.ts";
import { Transfers } from "./transfers/open-transfers.ts";

export interface CopiesOptions {
  /** Absolute. */
  readonly dataFolder: string;
  readonly settings: {
    readonly backupFolder?: string | undefined;
    readonly backupRoots: readonly string[];
    readonly backupCompression: "zstd" | "none";
    readonly backupRecipients: readonly string[];
    readonly backupIdentityFile?: string | undefined;
  };
  readonly engine: StorageEngine;
  readonly catalog: CollectionCatalog;
  readonly registry: Registry;
  /** Collection `backups` of namespace `system`. */
  readonly records: SystemRecords<BackupMetadata>;
  readonly operations: OperationStore;
  /** Where copies may go and come from. */
  readonly remotes: RemoteCollectors;
  readonly collectorId: string;
  readonly serverVersion: string;
  readonly limits: Limits;
  readonly log: Log;
  readonly observer?: BackupObserver | undefined;
}

/** What copies collections, and what is known of their copies. Disposing it stops what runs. */
export interface Copies extends AsyncDisposable {
  readonly backups: BackupCatalog;
  readonly installer: ArchiveInstaller;
  /** Backups of all of a server. */
  readonly sets: {
    readonly backup: ServerBackup;
    readonly restore: ServerRestore;
    readonly imports: BackupImport;
  };
  readonly transfers: Transfers;
  readonly remote: RemoteCopies;
}

/**
 * Opens what is needed for copies, and takes back what a crash has cut.
 *
 * @throws {CollectorError} ARGUMENT_INVALID for settings that do not fit
 */
export async function openCopies(options: CopiesOptions): Promise<Copies> {
  const { dataFolder, settings, engine, catalog, registry, records, limits, log } = options;
  const { collectorId, serverVersion, operations } = options;
  const keys = await loadArchiveKeys(settings);
  const own = resolve(settings.backupFolder ?? join(dataFolder, "backups"));
  const data = await realpath(dataFolder);
  const kept = ["stores", "transfers"].map((name) => join(data, name));
  const folders = await BackupFolders.open(own, settings.backupRoots, kept);
  const scratchFolder = join(dataFolder, "transfers", "packing");
  await removeFolder(scratchFolder);
  await mkdir(scratchFolder, { recursive: true });
  const archives = createArchives({
    threads: 2,
    log,
    diskReserveBytes: limits.diskReserveBytes,
  });
  const clock = systemClock;
  const slots = new CopySlots(limits.copiesMax);
  const unboundInstaller = await openInstaller({
    engine,
    archives,
    keys,
    catalog,
    registry,
    clock,
    collectorId,
    limits,
    scratchFolder: join(dataFolder, "transfers", "installing"),
  });
  const unboundArchiver = new Archiver({
    catalog,
    registry,
    archives,
    clock,
    collectorId,
    serverVersion,
    scratchFolder,
  });
  const installer = boundedInstaller(unboundInstaller, slots);
  const archiver = boundedArchiver(unboundArchiver, slots);
  const compression = settings.backupCompression === "none" ? Compression.NONE : Compression.ZSTD;
  const registryCopies = new RegistryCopies({
    registry,
    archives,
    identities: keys.identities,
    collectorId,
    serverVersion,
    scratchFolder,
  });
  const verifyRegistry: VerifyRegistry = (...args) => registryCopies.verify(...args);
  const backups = await Backups.open({
    records,
    folders,
    catalog,
    archiver,
    installer,
    archives,
    keys,
    verifyRegistry,
    compression,
    limits,
    scratchFolder,
    clock,
    log,
    observer: options.observer,
  });
  const sets = {
    backup: new ServerBackup({
      backups,
      catalog,
      registry,
      registryCopies,
      keys,
      compression,
      limits,
      clock,
      log,
    }),
    restore: new ServerRestore({ backups, registryCopies, limits, log }),
    imports: new BackupImport({ backups, folders, archives, keys }),
  };
  const uploads = new BackupUploads({ backups, folders, archives, keys });
  const transfers = await Transfers.open({
    folder: join(dataFolder, "transfers"),
    catalog,
    archiver,
    archives,
    installer,
    backups,
    keys,
    verifyRegistry,
    keepBackup: (file, run) => uploads.keep(file, run),
    operations,
    compression,
    limits,
    log,
  });
  const { remotes } = options;
  const remote = new RemoteCopies({
    archives,
    installer,
    keys,
    catalog,
    transfers,
    remotes,
    limits,
    log,
  });
  return {
    backups,
    installer,
    sets,
    transfers,
    remote,
    [Symbol.asyncDispose]: async () => {
      await transfers[Symbol.asyncDispose]();
      await archives[Symbol.asyncDispose]();
    },
  };
}
