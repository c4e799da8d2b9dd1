import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import type { Archives } from "../../archive/archive.ts";
import type { CollectionCatalog } from "../../collections/catalog.ts";
import { refuseSystemWrite } from "../../collections/names.ts";
import { CollectorError } from "../../errors.ts";
import type { ArchiveManifest } from "../../gen/collector/archive_pb.ts";
import { CollectionSchema } from "../../gen/collector/collection_pb.ts";
import type {
  BackupMetadata,
  Compression,
  CopyState,
} from "../../gen/collector/collection_repo_pb.ts";
import { unusableBase } from "../archive-failures.ts";
import type { BackupCatalog } from "../backup-parts.ts";
import type { ArchiveKeys, CollectionArchiver, CopyBase, CopyRun } from "../copy-parts.ts";
import { OutgoingArchive } from "./outgoing-archive.ts";

export interface ArchiveStagerOptions {
  readonly catalog: CollectionCatalog;
  readonly archiver: CollectionArchiver;
  readonly archives: Archives;
  readonly backups: Pick<BackupCatalog, "get" | "chainOf" | "hold">;
  readonly keys: Pick<ArchiveKeys, "identities">;
  readonly compression: Compression;
  /** Absolute; exists. On the disk of the data. */
  readonly folder: string;
}

export interface StageCollection {
  readonly namespace: string;
  readonly name: string;
  readonly includeFiles: boolean;
  /** What the receiver has of it: then only what has changed since, if that can be told. */
  readonly have?: Pick<CopyState, "incarnation" | "revision" | "contentSha256"> | undefined;
}

/** Makes archives ready to be sent. */
export class ArchiveStager {
  readonly #options: ArchiveStagerOptions;

  constructor(options: ArchiveStagerOptions) {
    this.#options = options;
  }

  /**
   * Writes a collection as it is at one moment of this call.
   *
   * @throws {CollectorError} COLLECTION_NOT_FOUND, SYSTEM_READ_ONLY, DISK_FULL, CANCELLED
   */
  async collection(request: StageCollection, run: CopyRun): Promise<OutgoingArchive> {
    const { have } = request;
    refuseSystemWrite(request.namespace);
    // The revision of a store without writes: there is nothing to save by a delta.
    if (have === undefined || have.revision <= 0n)
      return await this.#write(request, undefined, run);
    const base = {
      backupId: "",
      incarnation: have.incarnation,
      revision: have.revision,
      definition: undefined,
      contents: new Set(have.contentSha256.map((hash) => Buffer.from(hash).toString("hex"))),
    };
    try {
      return await this.#write(request, base, run);
    } catch (error) {
      const isUnusable = error instanceof CollectorError && error.reason === "BASE_UNUSABLE";
      if (!isUnusable) throw error;
      return await this.#write(request, undefined, run);
    }
  }

  /**
   * Opens the archive of a backup as it is, encrypted if it is.
   *
   * @param incremental whether it may hold changes alone
   * @throws {CollectorError} BACKUP_NOT_FOUND, ARCHIVE_DAMAGED; BASE_UNUSABLE for an incremental one
   */
  async backup(backupId: string, incremental: boolean): Promise<OutgoingArchive> {
    const { backups } = this.#options;
    const backup = backups.get(backupId);
    if (backup.baseBackupId !== "" && !incremental) {
      throw unusableBase("this backup is incremental, and its archive alone makes no collection");
    }
    using _held = backups.hold(backupId);
    const path = backups.chainOf(backupId).at(-1)?.path ?? "";
    const manifest = await this.#manifestOf(backup, path);
    const { sizeBytes, sha256, recordCount, fileCount, includesFiles } = backup;
    const facts = {
      collection: manifest?.collection ?? definitionOf(backup),
      sizeBytes,
      sha256,
      recordCount,
      fileCount,
      includesFiles,
      // Of one that cannot be read here, its reader finds out.
      formatVersion: manifest?.formatVersion ?? 1,
      base: manifest?.base,
    };
    return await OutgoingArchive.open(path, facts, false);
  }

  async #write(
    { namespace, name, includeFiles }: StageCollection,
    base: CopyBase | undefined,
    run: CopyRun,
  ): Promise<OutgoingArchive> {
    const { archiver, catalog, compression, folder } = this.#options;
    const path = join(folder, randomUUID());
    const { manifest, sizeBytes, sha256 } = await archiver.write(
      { namespace, name, includeFiles, path, base, compression, recipients: [] },
      run,
    );
    const { serverEndpoint } = catalog.find(namespace, name) ?? { serverEndpoint: "" };
    const { collection, recordCount, fileCount } = manifest;
    const facts = {
      collection: collection === undefined ? undefined : { ...collection, serverEndpoint },
      sizeBytes,
      sha256,
      recordCount,
      fileCount,
      includesFiles: includeFiles,
      formatVersion: manifest.formatVersion,
      base: manifest.base,
    };
    return await OutgoingArchive.open(path, facts, true);
  }

  /** Undefined if it is encrypted and cannot be read here, which its receiver may. */
  async #manifestOf(
    { encrypted }: BackupMetadata,
    path: string,
  ): Promise<ArchiveManifest | undefined> {
    const { archives, keys } = this.#options;
    try {
      return await archives.manifest(path, keys.identities);
    } catch (error) {
      const isLocked = error instanceof CollectorError && error.reason === "KEY_UNAVAILABLE";
      if (encrypted && isLocked) return undefined;
      throw error;
    }
  }
}

function definitionOf({ collection, collectionId }: BackupMetadata): ArchiveManifest["collection"] {
  if (collection === undefined) return undefined;
  const { namespace, name } = collection;
  return create(CollectionSchema, { namespace, name, collectionId });
}
