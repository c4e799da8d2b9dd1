import type { ArchiveManifest } from "../gen/collector/archive_pb.ts";
import type { Collection, Origin } from "../gen/collector/collection_pb.ts";
import type { BackupMetadata, Compression } from "../gen/collector/collection_repo_pb.ts";

/** What long work is given: when to stop, and whom to tell how far it is. */
export interface CopyRun {
  readonly signal: AbortSignal;
  /** `phase` is for people: `copying`, `packing`, `verifying`. */
  readonly report: (progress: { done?: bigint; total?: bigint; phase?: string }) => void;
}

/** What an incremental archive is to be based on. */
export interface CopyBase {
  /** Empty if it is a copy elsewhere. */
  readonly backupId: string;
  readonly incarnation: string;
  readonly revision: bigint;
  /** Definition at the moment of the base; undefined if the receiver compares it. */
  readonly definition: Collection | undefined;
  /** Tells of each hash, in hex, whether files of the base's moment have that content: it need not be sent. */
  readonly contents: { has(sha256: string): boolean };
}

export interface WriteArchiveRequest {
  readonly namespace: string;
  readonly name: string;
  /** That the collection of this name has to have; undefined: any. */
  readonly collectionId?: string | undefined;
  readonly includeFiles: boolean;
  /** Absolute; a file that does not exist. */
  readonly path: string;
  readonly base?: CopyBase | undefined;
  readonly compression: Compression;
  /** age recipients; empty: not encrypted. */
  readonly recipients: readonly string[];
  /** Goes into the manifest. */
  readonly backup?: Pick<BackupMetadata, "backupId" | "metadata" | "setId" | "policy"> | undefined;
}

/** An archive that came from elsewhere, as a whole, in a file that is removed soon. */
export interface ArrivedArchive {
  /** Absolute. */
  readonly path: string;
  /** As its sender gave it, lower-case hex; empty if it gave none. */
  readonly sha256: string;
}

/**
 * Keeps the archive of a backup that came from elsewhere, as one of this server. One that is known is answered as
 * it is.
 *
 * @throws {CollectorError} ARCHIVE_INVALID, ARCHIVE_DAMAGED, ARCHIVE_TOO_NEW, KEY_UNAVAILABLE, CONTENT_MISMATCH;
 * BASE_UNUSABLE if what it is based on is not there; DISK_FULL, CANCELLED. Then nothing is left of it.
 */
export type KeepBackup = (file: ArrivedArchive, run: CopyRun) => Promise<BackupMetadata>;

/** An archive that is whole and on disk, at the path that was asked for. */
export interface WrittenArchive {
  readonly manifest: ArchiveManifest;
  readonly sizeBytes: bigint;
  /** Of the archive file, lower-case hex. */
  readonly sha256: string;
}

/** Writes a collection into an archive, as it is at one moment. */
export interface CollectionArchiver {
  /**
   * @throws {CollectorError} COLLECTION_NOT_FOUND; COLLECTION_REPLACED if the name has another collection than the one
   * that is wanted; CANCELLED, DISK_FULL; BASE_UNUSABLE if there is a base and what changed since cannot be told. Then
   * nothing is left at the path.
   */
  write(request: WriteArchiveRequest, run: CopyRun): Promise<WrittenArchive>;
}

export interface InstallRequest {
  /**
   * Archives: one that holds everything first, then those that are based on the one before. With
   * `onto`, only the latter.
   */
  readonly chain: readonly string[];
  /** Of the last archive's file, in hex, as it was announced. Undefined or empty: not checked. */
  readonly sha256?: string | undefined;
  readonly namespace: string;
  readonly name: string;
  /**
   * `create`: the name has to be free. `replace`: what has the name is replaced. `refresh`: the name is
   * free or has an earlier copy of the same source, which is replaced.
   */
  readonly mode: "create" | "replace" | "refresh";
  /** The chain is applied to a copy of the collection that has the name, which it replaces. */
  readonly onto?: boolean | undefined;
  /** The backup's id goes into the labels too. */
  readonly origin: Pick<Origin, "backupId" | "collectorId" | "collection" | "collectionId">;
  /** Contents of files are left out. */
  readonly withoutFiles?: boolean | undefined;
}

export interface InstalledCollection {
  readonly collection: Collection;
  readonly recordCount: bigint;
  readonly fileCount: bigint;
}

/** Something that is wrong with an archive. */
export interface ArchiveProblem {
  /** Index in the chain. */
  readonly archive: number;
  readonly part: string;
  /** In the file; -1 if not known. */
  readonly offset: bigint;
  readonly description: string;
}

/** Is told the SHA-256, in lower-case hex, of each archive of a chain that was read and is whole. */
export type NoteDigest = (archive: number, sha256: string) => void;

/** What is wrong with an archive of a registry; empty: nothing. */
export type VerifyRegistry = (
  path: string,
  backupId: string,
  run: CopyRun,
  noteDigest?: NoteDigest,
) => Promise<readonly ArchiveProblem[]>;

/** Makes collections from archives, or only looks whether it could. */
export interface ArchiveInstaller {
  /**
   * The collection is there, verified and durable, when this resolves; otherwise everything is as it was.
   *
   * @throws {CollectorError} ARCHIVE_INVALID, ARCHIVE_DAMAGED, ARCHIVE_TOO_NEW, KEY_UNAVAILABLE,
   * COLLECTION_EXISTS, SCHEMA_INCOMPATIBLE, NAME_INVALID, SYSTEM_READ_ONLY, DISK_FULL, CANCELLED
   */
  install(request: InstallRequest, run: CopyRun): Promise<InstalledCollection>;

  /** Everything that {@link install} checks, and nothing kept. Empty: it would succeed. */
  verify(
    chain: readonly string[],
    run: CopyRun,
    noteDigest?: NoteDigest,
  ): Promise<readonly ArchiveProblem[]>;

  /** Makes a collection from another of this server, without an archive. */
  clone(
    request: {
      readonly source: { readonly namespace: string; readonly name: string };
      readonly namespace: string;
      readonly name: string;
      readonly includeFiles: boolean;
      readonly mode: "create" | "refresh";
    },
    run: CopyRun,
  ): Promise<InstalledCollection & { readonly bytes: bigint }>;
}

/** Reads the private keys that archives may be encrypted to. */
export interface ArchiveKeys {
  /** age recipients (`age1…`) that backups are encrypted to; empty: they are not. */
  readonly recipients: readonly string[];
  /** age identities (`AGE-SECRET-KEY-1…`). */
  readonly identities: readonly string[];
}
