import { open } from "node:fs/promises";
import type { Archives } from "../../archive/archive.ts";
import { translateFileError } from "../../archive/file-failure.ts";
import { KeyedLock } from "../../collections/keyed-lock.ts";
import { CollectorError } from "../../errors.ts";
import type { ArchiveManifest } from "../../gen/collector/archive_pb.ts";
import type { BackupMetadata } from "../../gen/collector/collection_repo_pb.ts";
import { damagedArchive, unusableBase } from "../archive-failures.ts";
import { type BackupFolders, inFolder } from "../backup-folders.ts";
import type { BackupCatalog } from "../backup-parts.ts";
import type { ArchiveKeys, ArrivedArchive, CopyRun, KeepBackup } from "../copy-parts.ts";
import { readArchiveFile } from "./archive-files.ts";
import { archivedBackup } from "./archived-backup.ts";
import { follows, isSameArchive } from "./backup-import.ts";

export interface BackupUploadsOptions {
  readonly backups: Pick<BackupCatalog, "all" | "keep" | "repair" | "hold">;
  readonly folders: BackupFolders;
  readonly archives: Pick<Archives, "manifest" | "unpack">;
  readonly keys: Pick<ArchiveKeys, "identities">;
}

/** What is copied before it is synced: no other writer's sync waits for more of it. */
const stepBytes = 4 * 1024 * 1024;

/** Keeps archives that came from elsewhere as backups of this server. */
export class BackupUploads {
  readonly #options: BackupUploadsOptions;
  readonly #turns = new KeyedLock();

  constructor(options: BackupUploadsOptions) {
    this.#options = options;
  }

  /** See {@link KeepBackup}. */
  async keep(...[file, run]: Parameters<KeepBackup>): Promise<BackupMetadata> {
    const { archives, keys, backups } = this.#options;
    run.report({ phase: "verifying" });
    const manifest = await archives.manifest(file.path, keys.identities);
    const found = archivedBackup(manifest, await readArchiveFile(file.path));
    return await this.#turns.run([found.backupId], async () => {
      const known = backups.all().find(({ backupId }) => backupId === found.backupId);
      if (known !== undefined) return await this.#again(known, manifest, file, run);
      using _base = this.#holdBase(found, manifest);
      const sha256 = await this.#check(file, run);
      const name = inFolder(found.setId, `${found.backupId}.collector`);
      try {
        // Where this server would have put it.
        return await backups.keep(found, { destPath: name }, async (path) => {
          // With no count: it is of other bytes than that of the check, which is shown until the end.
          run.report({ phase: "copying" });
          await copyDurably(file.path, path, run.signal);
          return { sizeBytes: found.sizeBytes, sha256 };
        });
      } catch (error) {
        if (!isReason(error, "BACKUP_EXISTS")) throw translateFileError(error);
        // An import may have come upon it in the meantime.
        const imported = backups.all().find(({ backupId }) => backupId === found.backupId);
        if (imported !== undefined) return await this.#again(imported, manifest, file, run);
        const problem = `there is a file ${name} in the backup folder already: import or remove it`;
        throw new CollectorError("BACKUP_EXISTS", problem, { cause: error });
      }
    });
  }

  /**
   * One that is known is answered as it is, or takes the place of an archive that is missing or damaged.
   *
   * @throws {CollectorError} ARCHIVE_INVALID if it is not the archive of that backup, or nobody can tell
   */
  async #again(
    known: BackupMetadata,
    manifest: ArchiveManifest,
    file: ArrivedArchive,
    run: CopyRun,
  ): Promise<BackupMetadata> {
    const { archives, keys, backups, folders } = this.#options;
    const { backupId, storagePath, sha256, verifyError } = known;
    const path = folders.pathOf(storagePath);
    // Whatever keeps it from being read: nothing but its own archive takes its place.
    const theirs = await archives.manifest(path, keys.identities).catch(() => undefined);
    if (theirs !== undefined && !isSameArchive(theirs, manifest)) {
      const reason = `it has the id of backup ${backupId}, which is known, and is another archive`;
      throw new CollectorError("ARCHIVE_INVALID", reason);
    }
    if (theirs !== undefined && verifyError === "") return known;
    if (sha256 === "" || (await this.#check(file, run)) !== sha256) {
      const reason = `it is of backup ${backupId}, which is known, and is not the archive that was at ${storagePath} by its SHA-256: delete that first`;
      throw new CollectorError("ARCHIVE_INVALID", reason);
    }
    run.report({ phase: "copying" });
    const write = (target: string): Promise<void> => copyDurably(file.path, target, run.signal);
    return (await backups.repair(backupId, write, run)).backup;
  }

  /** @throws {CollectorError} BASE_UNUSABLE */
  #holdBase(found: BackupMetadata, { base }: ArchiveManifest): Disposable | undefined {
    const { backups } = this.#options;
    const { baseBackupId } = found;
    if (baseBackupId === "") return undefined;
    const before = backups.all().find(({ backupId }) => backupId === baseBackupId);
    if (before === undefined) {
      throw unusableBase(`it is based on backup ${baseBackupId}, which is not there`);
    }
    if (!follows(found, base, before)) {
      throw unusableBase(`it does not follow backup ${baseBackupId}, which it is based on`);
    }
    return backups.hold(baseBackupId);
  }

  /** @returns the SHA-256 of the file. @throws {CollectorError} ARCHIVE_DAMAGED, CONTENT_MISMATCH */
  async #check({ path, sha256 }: ArrivedArchive, run: CopyRun): Promise<string> {
    const { archives, keys } = this.#options;
    const checked = await archives.unpack({
      path,
      identities: keys.identities,
      targets: new Map(),
      signal: run.signal,
      onProgress: (progress) => run.report({ ...progress, phase: "verifying" }),
    });
    const [fault] = checked.faults;
    if (fault !== undefined) throw damagedArchive({ archive: 0, ...fault });
    const digest = checked.sha256 ?? "";
    if (sha256 === "" || sha256 === digest) return digest;
    const description = "is not that of the archive that came";
    throw new CollectorError("CONTENT_MISMATCH", `sha256: ${description}`, {
      violations: [{ field: "sha256", description }],
    });
  }
}

async function copyDurably(from: string, to: string, signal: AbortSignal): Promise<void> {
  await using source = await open(from, "r");
  await using target = await open(to, "wx", 0o600);
  const { size } = await source.stat();
  const step = Buffer.allocUnsafe(Math.min(stepBytes, size));
  for (let at = 0; at < size; ) {
    signal.throwIfAborted();
    const { bytesRead } = await source.read(step, 0, step.length, at);
    if (bytesRead === 0) throw new Error("the archive that came has become shorter");
    await target.writeFile(step.subarray(0, bytesRead));
    await target.datasync();
    at += bytesRead;
  }
  await target.sync();
}

function isReason(error: unknown, reason: CollectorError["reason"]): boolean {
  return error instanceof CollectorError && error.reason === reason;
}
