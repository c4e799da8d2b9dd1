import { Code } from "@connectrpc/connect";
import {
  type BackupServerResponse,
  BackupServerResponseSchema,
  type RestoreServerResponse,
  RestoreServerResponseSchema,
  type RunBackupPolicyResponse,
  RunBackupPolicyResponseSchema,
} from "../gen/collector/backups_pb.ts";
import {
  BackupCollectionResponseSchema,
  type BackupMetadata,
  Compression,
  type RestoreBackupResponse,
  RestoreBackupResponseSchema,
  type VerifyBackupResponse,
  VerifyBackupResponseSchema,
} from "../gen/collector/collection_repo_pb.ts";
import type { ArchiveInput } from "./archive-content.ts";
import type { DownloadedArchive } from "./archive-receiver.ts";
import {
  type ArchiveOutput,
  type ArchiveSource,
  downloadArchive,
  type KeptArchive,
  keepArchive,
  type UploadedArchive,
  type UploadOptions,
  uploadArchive,
  type VerifiedArchive,
  verifyArchive,
} from "./archive-transfer.ts";
import { ClientError } from "./client-error.ts";
import { type CallLimits, limitsOf } from "./collection.ts";
import { type CollectionName, collectionNameOf } from "./collection-name.ts";
import { type LongCallOptions, longCall } from "./long-call.ts";
import type { Services } from "./services.ts";

export interface BackupOptions extends LongCallOptions {
  /** Where to put it, relative to the server's backup folder; the server chooses if it is left out. */
  readonly destPath?: string;
  /** Saves attached files too, which is the default. */
  readonly includeFiles?: boolean;
  /** Notes that are kept with it; `retention`, such as `30d`, has the server remove it after that. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Holds only what changed since that backup. */
  readonly baseBackupId?: string;
  /** Holds only what changed since the newest backup that allows it; everything if none does. */
  readonly incremental?: boolean;
  /** As the server is configured if it is left out. */
  readonly compression?: "zstd" | "none" | undefined;
}

export interface ListBackupsOptions extends CallLimits {
  /** Only backups of this collection: `name`, or `namespace/name`. */
  readonly collection?: string | undefined;
  /** Only backups of this namespace. */
  readonly namespace?: string | undefined;
  /** Only backups from this moment on. */
  readonly since?: Date | undefined;
  /** Only backups of this set. */
  readonly setId?: string | undefined;
  /** Most backups; all that there are if it is left out. */
  readonly limit?: number | undefined;
}

export interface RestoreOptions extends LongCallOptions {
  /** `name` or `namespace/name` to restore under; what it was called if it is left out. */
  readonly as?: string | undefined;
  /** Replaces the collection that has the name, in one step once the backup is verified. */
  readonly overwrite?: boolean;
}

export interface ServerBackupOptions extends LongCallOptions {
  /** Folder in the server's backup folder; the server chooses if it is left out. */
  readonly destPath?: string;
  /** Only collections of this namespace, and its types. */
  readonly namespace?: string;
  readonly includeFiles?: boolean;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly incremental?: boolean;
  readonly compression?: "zstd" | "none" | undefined;
}

export interface ServerRestoreOptions extends LongCallOptions {
  /** Only this collection: `name`, or `namespace/name`. */
  readonly collection?: string | undefined;
  /** Replaces collections that are there; otherwise they are told as failures. */
  readonly overwrite?: boolean;
}

export interface PolicyRunOptions extends LongCallOptions {
  /** Makes no backups, only removes what the policy does not keep. */
  readonly pruneOnly?: boolean;
}

export interface BackupsOptions {
  readonly services: Services;
  /** For names that come without one; empty means the server's default. */
  readonly namespace: string;
}

/** Most backups on one page. */
const pageSize = 1000;

/** Backups of collections, on the server's disk and in files here. */
export class Backups {
  readonly #services: Services;
  readonly #namespace: string;

  constructor(options: BackupsOptions) {
    this.#services = options.services;
    this.#namespace = options.namespace;
  }

  /**
   * Backs up a collection as it is at one moment, while it is read and written. The backup is on the
   * server's disk when the promise resolves.
   *
   * @param collection `name`, or `namespace/name`
   * @throws {ClientError} COLLECTION_NOT_FOUND, BACKUP_EXISTS, BASE_UNUSABLE, DISK_FULL, CANCELLED
   */
  async create(collection: string, options: BackupOptions = {}): Promise<BackupMetadata> {
    const { destPath = "", includeFiles = true, metadata = {}, baseBackupId = "" } = options;
    const begin = () =>
      this.#services.repo.backupCollection({
        collection: collectionNameOf(collection, this.#namespace),
        destPath,
        includeFiles,
        metadata,
        baseBackupId,
        incremental: options.incremental === true,
        compression: compressionOf(options.compression),
        returnImmediately: true,
      });
    const { operations } = this.#services;
    const { backup } = await longCall(operations, BackupCollectionResponseSchema, begin, options);
    if (backup !== undefined) return backup;
    throw new ClientError("UNRECOGNIZED", "the server answered no backup", { code: Code.Internal });
  }

  /** Every backup that matches, the newest first, page after page. */
  async *list(options: ListBackupsOptions = {}): AsyncIterable<BackupMetadata> {
    const { collection, namespace = "", since, setId = "" } = options;
    let left = options.limit ?? Number.POSITIVE_INFINITY;
    let pageToken = "";
    do {
      const page = await this.#services.repo.listBackups(
        {
          namespace,
          setId,
          pageToken,
          limit: Math.min(left, pageSize),
          sinceTimestamp: BigInt(Math.ceil((since?.getTime() ?? 0) / 1000)),
          ...(collection === undefined
            ? {}
            : { collection: collectionNameOf(collection, namespace || this.#namespace) }),
        },
        limitsOf(options),
      );
      yield* page.backups;
      left -= page.backups.length;
      pageToken = page.nextPageToken;
    } while (pageToken !== "" && left > 0);
  }

  /** @throws {ClientError} BACKUP_NOT_FOUND */
  async get(backupId: string, limits: CallLimits = {}): Promise<BackupMetadata> {
    return await this.#services.backups.getBackup({ backupId }, limitsOf(limits));
  }

  /**
   * Reads a backup through, and all that it is based on. What is wrong with it is answered, not thrown.
   *
   * @throws {ClientError} BACKUP_NOT_FOUND, KEY_UNAVAILABLE, CANCELLED
   */
  async verify(backupId: string, options: LongCallOptions = {}): Promise<VerifyBackupResponse> {
    const begin = () => this.#services.repo.verifyBackup({ backupId, returnImmediately: true });
    return await longCall(this.#services.operations, VerifyBackupResponseSchema, begin, options);
  }

  /**
   * Makes a collection from a backup. It is there, verified and durable, when the promise resolves; if
   * that fails, everything is as it was.
   *
   * @throws {ClientError} BACKUP_NOT_FOUND, COLLECTION_EXISTS, ARCHIVE_DAMAGED, SCHEMA_INCOMPATIBLE,
   * KEY_UNAVAILABLE, DISK_FULL, CANCELLED
   */
  async restore(backupId: string, options: RestoreOptions = {}): Promise<RestoreBackupResponse> {
    const { as, overwrite = false } = options;
    const { namespace, name } = as === undefined ? nameless : collectionNameOf(as, "");
    const begin = () =>
      this.#services.repo.restoreBackup({
        backupId,
        destNamespace: namespace,
        destName: name,
        overwrite,
        returnImmediately: true,
      });
    return await longCall(this.#services.operations, RestoreBackupResponseSchema, begin, options);
  }

  /** @throws {ClientError} BACKUP_NOT_FOUND unless `allowMissing`, BACKUP_IN_USE if another is based on it */
  async delete(
    backupId: string,
    options: CallLimits & { readonly allowMissing?: boolean } = {},
  ): Promise<{ readonly bytesFreed: bigint }> {
    const { allowMissing = false } = options;
    return await this.#services.repo.deleteBackup({ backupId, allowMissing }, limitsOf(options));
  }

  /**
   * Streams a collection as it is now, or a backup, into a file here. A connection that breaks is taken
   * up again where it was. The file appears under its name when it is complete, checked and on the disk.
   *
   * @param output path of the file, or what takes the bytes in its place: one piece after the other, and if
   * this throws, they are not all there
   * @throws {ClientError} COLLECTION_NOT_FOUND, BACKUP_NOT_FOUND, BASE_UNUSABLE for an incremental
   * backup that was not asked for, ARCHIVE_DAMAGED, CANCELLED; errors of the file system
   */
  async download(
    source: ArchiveSource,
    output: ArchiveOutput,
    options: LongCallOptions = {},
  ): Promise<DownloadedArchive> {
    return await downloadArchive(this.#services, this.#namespace, source, output, options);
  }

  /**
   * Makes a collection from an archive that is here, on a server that need not have seen it before. A
   * connection that breaks is taken up again where it was.
   *
   * @param input path of the file, or the bytes as they come. Of these the last 32 MiB are held, to be sent
   * again after a cut.
   * @throws {ClientError} as {@link restore}, and ARCHIVE_INVALID; TRANSFER_NOT_FOUND if a cut needs more
   * than what is held; errors of the file system
   */
  async upload(input: ArchiveInput, options: UploadOptions = {}): Promise<UploadedArchive> {
    return await uploadArchive(this.#services, input, options);
  }

  /**
   * Has the server read an archive through that is here, with every check of a restore, and keep nothing.
   * What is wrong with it is answered, not thrown.
   *
   * @param input as {@link upload}
   * @throws {ClientError} KEY_UNAVAILABLE, ARCHIVE_TOO_NEW, DISK_FULL, CANCELLED; errors of the file system
   */
  async verifyArchive(
    input: ArchiveInput,
    options: LongCallOptions = {},
  ): Promise<VerifiedArchive> {
    return await verifyArchive(this.#services, input, options);
  }

  /**
   * Has the server keep the archive of a backup that is here, as one of its own: in its backup folder, listed,
   * with all checksums checked. One that it knows already is answered as it is.
   *
   * @param input as {@link upload}
   * @throws {ClientError} ARCHIVE_INVALID for what is no backup, ARCHIVE_DAMAGED, ARCHIVE_TOO_NEW; BASE_UNUSABLE if
   * what it is based on is not there; KEY_UNAVAILABLE, DISK_FULL, CANCELLED; errors of the file system
   */
  async keepArchive(input: ArchiveInput, options: LongCallOptions = {}): Promise<KeptArchive> {
    return await keepArchive(this.#services, input, options);
  }

  /**
   * Backs up the registry and every collection, one archive each.
   *
   * @throws {ClientError} what the first backup failed with; the others are made nevertheless
   */
  async createServer(options: ServerBackupOptions = {}): Promise<BackupServerResponse> {
    const { destPath = "", namespace = "", includeFiles = true, metadata = {} } = options;
    const begin = () =>
      this.#services.backups.backupServer({
        destPath,
        namespace,
        excludeFiles: !includeFiles,
        metadata,
        incremental: options.incremental === true,
        compression: compressionOf(options.compression),
        returnImmediately: true,
      });
    return await longCall(this.#services.operations, BackupServerResponseSchema, begin, options);
  }

  /** Restores a set of backups, or one collection of it; what became of each is answered. */
  async restoreServer(
    setId: string,
    options: ServerRestoreOptions = {},
  ): Promise<RestoreServerResponse> {
    const { collection, overwrite = false } = options;
    const begin = () =>
      this.#services.backups.restoreServer({
        setId,
        overwrite,
        returnImmediately: true,
        ...(collection === undefined
          ? {}
          : { collection: collectionNameOf(collection, this.#namespace) }),
      });
    return await longCall(this.#services.operations, RestoreServerResponseSchema, begin, options);
  }

  /**
   * Runs a policy now: makes its backups, and removes those that it does not keep. What goes wrong with
   * single collections is in the `errors` of the run.
   *
   * @throws {ClientError} POLICY_NOT_FOUND, OPERATION_RUNNING, CANCELLED
   */
  async runPolicy(name: string, options: PolicyRunOptions = {}): Promise<RunBackupPolicyResponse> {
    const { pruneOnly = false } = options;
    const request = { name, pruneOnly, returnImmediately: true };
    const begin = () => this.#services.backups.runBackupPolicy(request);
    return await longCall(this.#services.operations, RunBackupPolicyResponseSchema, begin, options);
  }
}

const nameless: CollectionName = { namespace: "", name: "" };

const compressions = {
  zstd: Compression.ZSTD,
  none: Compression.NONE,
} as const;

function compressionOf(name: keyof typeof compressions | undefined): Compression {
  return name === undefined ? Compression.UNSPECIFIED : compressions[name];
}
