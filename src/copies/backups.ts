import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Archives } from "../archive/archive.ts";
import { plainBytesOf } from "../archive/format.ts";
import type { CollectionCatalog } from "../collections/catalog.ts";
import { refuseSystemWrite } from "../collections/names.ts";
import { timestampOfUs } from "../collections/record-answers.ts";
import type { SystemRecords } from "../collections/system-records.ts";
import { CollectorError, invalidField } from "../errors.ts";
import {
  type BackupMetadata,
  BackupMetadata_Content,
  BackupMetadataSchema,
  type Compression,
  type ListBackupsResponse,
} from "../gen/collector/collection_repo_pb.ts";
import type { Clock } from "../lib/clock.ts";
import type { Limits } from "../lib/limits.ts";
import type { Log } from "../lib/log.ts";
import { BackupBases } from "./backup-bases.ts";
import { chosenCompression } from "./backup-compression.ts";
import type { BackupFolders } from "./backup-folders.ts";
import { checkIdentity } from "./backup-identity.ts";
import { BackupKeeper } from "./backup-keeper.ts";
import { type BackupsQuery, listBackups } from "./backup-listing.ts";
import { checkNotes } from "./backup-notes.ts";
import {
  type BackupCatalog,
  type BackupDestination,
  type BackupObserver,
  type CreateBackup,
  type Made,
  type VerifiedBackup,
} from "./backup-parts.ts";
import { BackupTable, type ChainLink } from "./backup-table.ts";
import { BackupVerifier } from "./backup-verifier.ts";
import type {
  ArchiveInstaller,
  ArchiveKeys,
  CollectionArchiver,
  CopyBase,
  CopyRun,
  InstalledCollection,
  VerifyRegistry,
} from "./copy-parts.ts";
import { CopyTurns } from "./copy-slots.ts";

export interface BackupsOptions {
  /** Collection `backups` of namespace `system`. */
  readonly records: SystemRecords<BackupMetadata>;
  readonly folders: BackupFolders;
  readonly catalog: CollectionCatalog;
  readonly archiver: CollectionArchiver;
  readonly installer: ArchiveInstaller;
  readonly archives: Archives;
  readonly keys: ArchiveKeys;
  readonly verifyRegistry: VerifyRegistry;
  /** What COMPRESSION_UNSPECIFIED means. */
  readonly compression: Compression;
  readonly limits: Pick<Limits, "messageBytesMax">;
  /** Absolute; exists, and is emptied at start by its owner. */
  readonly scratchFolder: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly observer?: BackupObserver | undefined;
}

/** The backups of a server, in memory and as records of `system`; see {@link BackupCatalog}. */
export class Backups implements BackupCatalog {
  readonly #options: BackupsOptions;
  readonly #table: BackupTable;
  readonly #keeper: BackupKeeper;
  readonly #bases: BackupBases;
  readonly #verifier: BackupVerifier;
  /** By collection: its backups are made one after the other. */
  readonly #turns = new CopyTurns();

  private constructor(options: BackupsOptions) {
    this.#options = options;
    this.#table = new BackupTable((storagePath) => options.folders.pathOf(storagePath));
    this.#keeper = new BackupKeeper({ ...options, table: this.#table });
    this.#bases = new BackupBases({ ...options, table: this.#table });
    this.#verifier = new BackupVerifier({ ...options, table: this.#table, keeper: this.#keeper });
  }

  /** Reads all backups, and takes back those that a crash has cut. */
  static async open(options: BackupsOptions): Promise<Backups> {
    const backups = new Backups(options);
    const cut: BackupMetadata[] = [];
    for await (const { value } of options.records.all()) {
      if (value.complete) backups.#table.set(value);
      else cut.push(value);
    }
    for (const backup of cut) await backups.#keeper.takeBackCut(backup);
    for (const backup of backups.all()) {
      if (backup.verifyError !== "") await backups.#keeper.tidy(backup);
    }
    return backups;
  }

  async create(request: CreateBackup, run: CopyRun): Promise<BackupMetadata> {
    const { namespace, name } = request;
    refuseSystemWrite(namespace);
    checkNotes(request.metadata);
    const { catalog, keys } = this.#options;
    const compression = chosenCompression(request.compression, this.#options.compression);
    const { collectionId = catalog.get({ namespace, name }).collectionId } = request;
    return this.#turns.run(collectionId, run, async () => {
      const { held: chosen, fullReason } = await this.#bases.of({ ...request, collectionId }, run);
      using held = chosen;
      const base = held?.base;
      const backup = create(BackupMetadataSchema, {
        collection: { namespace, name },
        includesFiles: request.includeFiles,
        metadata: { ...request.metadata },
        baseBackupId: base?.backupId ?? "",
        collectionId,
        compression,
        encrypted: keys.recipients.length > 0,
        policy: request.policy ?? "",
        setId: request.setId ?? "",
        content: BackupMetadata_Content.COLLECTION,
        fullReason,
      });
      return await this.#observed(async () => {
        try {
          return await this.#make(backup, request, base, run);
        } catch (error) {
          const isUnusable = error instanceof CollectorError && error.reason === "BASE_UNUSABLE";
          if (!isUnusable || request.baseBackupId !== "") throw error;
          const full = { ...backup, baseBackupId: "", fullReason: error.message };
          return await this.#make(full, request, undefined, run);
        }
      });
    });
  }

  async add(
    backup: BackupMetadata,
    destination: BackupDestination,
    write: (path: string, backupId: string) => Promise<Made>,
  ): Promise<BackupMetadata> {
    checkNotes(backup.metadata);
    return this.#observed(() => this.#keeper.keep(backup, destination, write));
  }

  async keep(
    backup: BackupMetadata,
    destination: BackupDestination,
    write: (path: string) => Promise<Made>,
  ): Promise<BackupMetadata> {
    this.#refuseKnown(backup.backupId);
    return await this.#keeper.keep({ ...backup, importTime: this.#now() }, destination, write);
  }

  async adopt(backup: BackupMetadata): Promise<BackupMetadata> {
    this.#refuseKnown(backup.backupId);
    const adopted: BackupMetadata = { ...backup, complete: true, importTime: this.#now() };
    await this.#keeper.save(adopted);
    return adopted;
  }

  async repair(
    backupId: string,
    write: (path: string) => Promise<void>,
    run: CopyRun,
  ): Promise<VerifiedBackup> {
    using _held = this.hold(backupId);
    await this.#keeper.replace(this.get(backupId), write);
    return await this.verify(backupId, run);
  }

  get(backupId: string): BackupMetadata {
    return this.#table.get(backupId);
  }

  all(): readonly BackupMetadata[] {
    return this.#table.all();
  }

  list(request: BackupsQuery): Omit<ListBackupsResponse, "$typeName" | "status"> {
    return listBackups(this.all(), request);
  }

  chainOf(backupId: string): readonly ChainLink[] {
    return this.#table.chainOf(backupId);
  }

  hold(backupId: string): Disposable {
    return this.#table.hold(backupId);
  }

  isHeld(backupId: string): boolean {
    return this.#table.isHeld(backupId);
  }

  async restore(
    request: {
      readonly backupId: string;
      readonly namespace: string;
      readonly name: string;
      readonly overwrite: boolean;
    },
    run: CopyRun,
  ): Promise<InstalledCollection> {
    const { backupId } = request;
    const { collection, content, collectionId } = this.get(backupId);
    if (content === BackupMetadata_Content.REGISTRY || collection === undefined) {
      const description = "is of a registry; restore its set by Backups.RestoreServer";
      throw invalidField("ARGUMENT_INVALID", "backup_id", description);
    }
    using _held = this.hold(backupId);
    const chain = this.chainOf(backupId);
    const namespace = request.namespace === "" ? collection.namespace : request.namespace;
    const name = request.name === "" ? collection.name : request.name;
    const { archives, keys } = this.#options;
    const { collectorId } = await checkIdentity(chain, archives, keys.identities);
    return await this.#options.installer.install(
      {
        chain: chain.map(({ path }) => path),
        namespace,
        name,
        mode: request.overwrite ? "replace" : "create",
        origin: { backupId, collectorId, collection, collectionId },
      },
      run,
    );
  }

  verify(backupId: string, run: CopyRun): Promise<VerifiedBackup> {
    return this.#verifier.verify(backupId, run);
  }

  async delete(backupId: string): Promise<bigint> {
    const backup = this.get(backupId);
    this.#table.refuseUsed(backupId);
    const bytes = await this.#keeper.remove(backup);
    this.#options.observer?.removed();
    return bytes;
  }

  async locate(
    path: string,
    field: string,
  ): Promise<{ readonly root: string; readonly path: string }> {
    return this.#options.folders.locate(path, field);
  }

  async #observed(make: () => Promise<BackupMetadata>): Promise<BackupMetadata> {
    const { observer } = this.#options;
    const startMs = performance.now();
    try {
      const backup = await make();
      observer?.ended("made", performance.now() - startMs, backup);
      return backup;
    } catch (error) {
      const isGivenUp =
        error instanceof CollectorError && ["CANCELLED", "SHUTTING_DOWN"].includes(error.reason);
      observer?.ended(isGivenUp ? "cancelled" : "failed", performance.now() - startMs);
      throw error;
    }
  }

  async #make(
    backup: BackupMetadata,
    request: CreateBackup,
    base: CopyBase | undefined,
    run: CopyRun,
  ): Promise<BackupMetadata> {
    const { archiver, keys } = this.#options;
    const { namespace, name, includeFiles } = request;
    const { collectionId, metadata, setId, policy, compression } = backup;
    return this.#keeper.keep(backup, request, async (path, backupId) => {
      const { manifest, sizeBytes, sha256 } = await archiver.write(
        {
          namespace,
          name,
          collectionId,
          includeFiles,
          path,
          compression,
          recipients: keys.recipients,
          backup: { backupId, metadata, setId, policy },
          ...(base === undefined ? {} : { base }),
        },
        run,
      );
      const { moment, recordCount, fileCount, revision, incarnation } = manifest;
      return {
        sizeBytes,
        sha256,
        recordCount,
        fileCount,
        revision,
        incarnation,
        contentBytes: plainBytesOf(manifest),
        ...(moment === undefined ? {} : { createTime: moment, timestamp: moment.seconds }),
      };
    });
  }

  /** @throws {CollectorError} BACKUP_EXISTS if it is known or being made */
  #refuseKnown(backupId: string): void {
    if (!this.#table.has(backupId) && !this.#keeper.isMaking(backupId)) return;
    throw new CollectorError("BACKUP_EXISTS", "a backup of this id is known already");
  }

  #now(): Timestamp {
    return timestampOfUs(this.#options.clock.nowUs());
  }
}
