import type {
  BackupMetadata,
  Compression,
  ListBackupsRequest,
  ListBackupsResponse,
} from "../gen/collector/collection_repo_pb.ts";
import type { ArchiveProblem, CopyRun, InstalledCollection } from "./copy-parts.ts";

/** Backups in a chain, the one that holds everything included: a restore reads all of them. */
export const chainMax = 32;

/** Where a caller wants an archive; see BackupCollectionRequest and BackupServerRequest. */
export interface BackupDestination {
  /** Empty: the server chooses the name. */
  readonly destPath: string;
  /** The folder that it is chosen in; absent or empty: the server's own. */
  readonly destFolder?: string | undefined;
}

/** What is known of an archive once it is written. */
export type Made = Pick<BackupMetadata, "sizeBytes" | "sha256"> & Partial<BackupMetadata>;

/** What is wrong with a backup, and what is known of it since that was found out. */
export interface VerifiedBackup {
  readonly backup: BackupMetadata;
  readonly problems: readonly ArchiveProblem[];
}

export interface CreateBackup extends BackupDestination {
  readonly namespace: string;
  readonly name: string;
  /** That the collection of this name has to have; undefined: any. */
  readonly collectionId?: string | undefined;
  readonly includeFiles: boolean;
  readonly metadata: Readonly<Record<string, string>>;
  /** The base it must have; empty: none is asked for. */
  readonly baseBackupId: string;
  /** Based on the newest backup for which that is possible, if there is one. */
  readonly incremental: boolean;
  /** With `incremental`: based on this one if that is possible, else it holds everything. */
  readonly preferredBaseId?: string | undefined;
  readonly compression: Compression;
  readonly setId?: string | undefined;
  readonly policy?: string | undefined;
}

/** Is told of backups as they come and go. */
export interface BackupObserver {
  /** @param backup what was made, with its archive */
  ended(
    outcome: "made" | "failed" | "cancelled",
    durationMs: number,
    backup?: BackupMetadata,
  ): void;
  removed(): void;
}

/** All backups of a server: what is known of them, and their archives. */
export interface BackupCatalog {
  /**
   * Makes a backup. It is whole and durable when this resolves; otherwise nothing is left.
   *
   * @throws {CollectorError} COLLECTION_NOT_FOUND, ARGUMENT_INVALID, BACKUP_EXISTS, BACKUP_NOT_FOUND,
   * BASE_UNUSABLE, SYSTEM_READ_ONLY, DISK_FULL, CANCELLED
   */
  create(request: CreateBackup, run: CopyRun): Promise<BackupMetadata>;

  /**
   * Keeps a backup of another content: `write` makes the archive at a path that is given to it.
   *
   * @returns what was kept, with path, size and id filled in.
   */
  add(
    backup: BackupMetadata,
    destination: BackupDestination,
    write: (path: string, backupId: string) => Promise<Made>,
  ): Promise<BackupMetadata>;

  /**
   * Keeps a backup that was made elsewhere, under the id that it has: `write` puts the archive at a path that is
   * given to it.
   *
   * @throws {CollectorError} BACKUP_EXISTS
   */
  keep(
    backup: BackupMetadata,
    destination: BackupDestination,
    write: (path: string) => Promise<Made>,
  ): Promise<BackupMetadata>;

  /** Takes up an archive that lies in a backup folder already. @throws {CollectorError} BACKUP_EXISTS */
  adopt(backup: BackupMetadata): Promise<BackupMetadata>;

  /**
   * Puts the archive of a backup in its place again, and verifies it: `write` puts it at a path that is given to it.
   *
   * @throws {CollectorError} BACKUP_NOT_FOUND, DISK_FULL; then what was in its place is there still
   */
  repair(
    backupId: string,
    write: (path: string) => Promise<void>,
    run: CopyRun,
  ): Promise<VerifiedBackup>;

  /** @throws {CollectorError} BACKUP_NOT_FOUND, ARGUMENT_MISSING */
  get(backupId: string): BackupMetadata;

  /** Every complete backup, the newest first. In memory. */
  all(): readonly BackupMetadata[];

  /** @throws {CollectorError} ARGUMENT_INVALID, PAGE_TOKEN_INVALID */
  list(
    request: Pick<
      ListBackupsRequest,
      "collection" | "namespace" | "limit" | "sinceTimestamp" | "pageToken" | "setId"
    >,
  ): Omit<ListBackupsResponse, "$typeName" | "status">;

  /** Absolute paths of the archives that a restore needs, the full one first. @throws {CollectorError} BACKUP_NOT_FOUND */
  chainOf(backupId: string): readonly { readonly backup: BackupMetadata; readonly path: string }[];

  /** The backups are not removed until the result is disposed. */
  hold(backupId: string): Disposable;

  /** True while it, or one that is based on it, is read. */
  isHeld(backupId: string): boolean;

  /** @throws {CollectorError} what ArchiveInstaller.install throws, BACKUP_NOT_FOUND, ARGUMENT_INVALID for a registry */
  restore(
    request: {
      readonly backupId: string;
      readonly namespace: string;
      readonly name: string;
      readonly overwrite: boolean;
    },
    run: CopyRun,
  ): Promise<InstalledCollection>;

  /** Reads all of a backup, and notes the outcome in its record. */
  verify(backupId: string, run: CopyRun): Promise<VerifiedBackup>;

  /** @returns bytes freed. @throws {CollectorError} BACKUP_NOT_FOUND, BACKUP_IN_USE */
  delete(backupId: string): Promise<bigint>;

  /**
   * The backup folder that a path is under, and the path in it.
   *
   * @param path relative, or absolute under a configured root.
   * @throws {CollectorError} ARGUMENT_INVALID for whatever else, links that lead out included
   */
  locate(path: string, field: string): Promise<{ readonly root: string; readonly path: string }>;
}
