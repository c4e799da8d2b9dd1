import { toBinary } from "@bufbuild/protobuf";
import type { Archives } from "../../archive/archive.ts";
import { KeyedLock } from "../../collections/keyed-lock.ts";
import { CollectorError } from "../../errors.ts";
import type { ArchiveManifest } from "../../gen/collector/archive_pb.ts";
import {
  type BackupMetadata,
  BackupMetadataSchema,
} from "../../gen/collector/collection_repo_pb.ts";
import { printable } from "../../lib/printable.ts";
import type { BackupFolders } from "../backup-folders.ts";
import type { BackupCatalog } from "../backup-parts.ts";
import type { ArchiveKeys } from "../copy-parts.ts";
import { type ArchiveFile, checkEnd, findArchives } from "./archive-files.ts";
import { archivedBackup } from "./archived-backup.ts";

export interface BackupImportOptions {
  readonly backups: Pick<BackupCatalog, "all" | "adopt">;
  readonly folders: BackupFolders;
  readonly archives: Pick<Archives, "manifest">;
  readonly keys: Pick<ArchiveKeys, "identities">;
}

/** A file that was not taken. */
export interface RefusedArchive {
  readonly path: string;
  readonly reason: string;
}

export interface ImportedBackups {
  readonly backups: readonly BackupMetadata[];
  readonly refused: readonly RefusedArchive[];
}

interface Candidate {
  readonly backup: BackupMetadata;
  readonly base: ArchiveManifest["base"];
  /** By which two archives of one id are told apart. */
  readonly digest: string;
}

/** Backups that one call takes, and files that it refuses; a further one goes on. */
const takenMax = 1000;
const takenBytesMax = 1024 * 1024;
const refusedMax = 1000;

/** What is wrong with a file, rather than with this server. */
const refusals: ReadonlySet<string> = new Set([
  "ARCHIVE_INVALID",
  "ARCHIVE_DAMAGED",
  "ARCHIVE_TOO_NEW",
  "KEY_UNAVAILABLE",
  "STORAGE_UNAVAILABLE",
]);

/** Takes archives that lie in backup folders into the list of backups. */
export class BackupImport {
  readonly #options: BackupImportOptions;
  readonly #turns = new KeyedLock();

  constructor(options: BackupImportOptions) {
    this.#options = options;
  }

  /**
   * Takes up what a folder has, or a file, and is not known. Archives are read to the end of their manifests.
   *
   * @param path as a caller gives it; empty: the server's own folder.
   * @throws {CollectorError} ARGUMENT_INVALID for a path that is none; the storage's failures. What was
   * taken by then stays.
   */
  async run(path: string, signal: AbortSignal): Promise<ImportedBackups> {
    const place = await this.#options.folders.locateExisting(path, "path");
    return this.#turns.run(["import"], async () => {
      const refused: RefusedArchive[] = [];
      const refuse = (file: string, reason: string): void => {
        // Who plants a file chooses its name, and callers print it.
        if (refused.length < refusedMax) refused.push({ path: printable(file), reason });
      };
      const all = this.#options.backups.all();
      const places = new Set(all.map(({ storagePath }) => storagePath));
      const known = new Map(all.map((backup) => [backup.backupId, backup]));
      const candidates = new Map<string, Candidate>();
      let bytes = 0;
      for await (const file of findArchives(this.#options.folders, place, signal)) {
        if (file.kind === "unusable") {
          refuse(file.path, file.reason);
          continue;
        }
        if (places.has(file.storagePath)) continue;
        if (candidates.size >= takenMax || bytes >= takenBytesMax) {
          refuse(file.storagePath, "comes after as many as one call takes; import again");
          break;
        }
        try {
          const candidate = await this.#read(file, known);
          if (candidate === undefined) continue;
          const { backupId } = candidate.backup;
          const twin = candidates.get(backupId);
          if (twin === undefined) {
            candidates.set(backupId, candidate);
            bytes += toBinary(BackupMetadataSchema, candidate.backup).length;
          } else if (twin.digest !== candidate.digest) {
            const reason = `has the id of ${twin.backup.storagePath}, and is another archive`;
            refuse(file.storagePath, reason);
          }
        } catch (error) {
          if (!(error instanceof CollectorError) || !refusals.has(error.reason)) throw error;
          refuse(file.storagePath, error.message);
        }
      }
      const backups = await this.#adopt(candidates, known, refuse);
      return { backups, refused };
    });
  }

  /** Undefined if the backup is known. */
  async #read(
    file: ArchiveFile,
    known: ReadonlyMap<string, BackupMetadata>,
  ): Promise<Candidate | undefined> {
    const { archives, keys, folders } = this.#options;
    folders.checkName(file);
    const manifest = await archives.manifest(file.path, keys.identities);
    await checkEnd(file);
    const backup = archivedBackup(manifest, file);
    const digest = digestOf(manifest);
    const { backupId } = backup;
    const twin = known.get(backupId);
    if (twin === undefined) return { backup, base: manifest.base, digest };
    const theirs = await archives
      .manifest(folders.pathOf(twin.storagePath), keys.identities)
      .catch((cause: unknown) => {
        const reason = `it is of backup ${backupId}, which is known, and whose archive cannot be read at ${twin.storagePath}: put this one there`;
        throw new CollectorError("ARCHIVE_INVALID", reason, { cause });
      });
    if (isSameArchive(theirs, manifest)) return undefined;
    throw new CollectorError(
      "ARCHIVE_INVALID",
      `it has the id of backup ${backupId}, which is known, and is another archive`,
    );
  }

  /** Bases first: what is based on something that is not there is of no use. */
  async #adopt(
    candidates: ReadonlyMap<string, Candidate>,
    known: Map<string, BackupMetadata>,
    refuse: (path: string, reason: string) => void,
  ): Promise<BackupMetadata[]> {
    const { backups } = this.#options;
    const taken: BackupMetadata[] = [];
    const waiting = new Map<string, Candidate[]>();
    const ready: Candidate[] = [];
    for (const candidate of candidates.values()) {
      const { baseBackupId } = candidate.backup;
      if (baseBackupId === "" || known.has(baseBackupId)) ready.push(candidate);
      else waiting.set(baseBackupId, [...(waiting.get(baseBackupId) ?? []), candidate]);
    }
    for (const { backup, base } of ready) {
      const { backupId, storagePath, baseBackupId } = backup;
      const before = known.get(baseBackupId);
      if (before !== undefined && !follows(backup, base, before)) {
        refuse(storagePath, `it does not follow backup ${baseBackupId}, which it is based on`);
        continue;
      }
      try {
        taken.push(await backups.adopt(backup));
      } catch (error) {
        // It was being made when it was found.
        if (!(error instanceof CollectorError) || error.reason !== "BACKUP_EXISTS") throw error;
      }
      known.set(backupId, backup);
      ready.push(...(waiting.get(backupId) ?? []));
      waiting.delete(backupId);
    }
    for (const [base, candidatesOf] of waiting) {
      for (const { backup } of candidatesOf) {
        refuse(backup.storagePath, `it is based on backup ${base}, which is not there`);
      }
    }
    return taken;
  }
}

/** Whether a backup holds what changed since another. */
export function follows(
  { collectionId }: BackupMetadata,
  base: ArchiveManifest["base"],
  before: BackupMetadata,
): boolean {
  return (
    base?.incarnation === before.incarnation &&
    base.revision === before.revision &&
    collectionId === before.collectionId
  );
}

/** Whether two archives of one id are copies of each other. */
export function isSameArchive(one: ArchiveManifest, other: ArchiveManifest): boolean {
  return digestOf(one) === digestOf(other);
}

/** The data in an archive names all files by their SHA-256, so its own stands for everything. */
function digestOf(manifest: ArchiveManifest): string {
  const { incarnation, revision, moment, parts, contentSizes } = manifest;
  const data = parts.find(({ name }) => !name.startsWith("files/"));
  const sha256 = Buffer.from(data?.sha256 ?? []).toString("hex");
  const time = `${moment?.seconds ?? 0n}.${moment?.nanos ?? 0}`;
  return [
    incarnation,
    revision,
    time,
    data?.name ?? "",
    sha256,
    parts.length,
    contentSizes.length,
  ].join(" ");
}
