import { randomUUIDv7 } from "node:crypto";
import { rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { Archives } from "../archive/archive.ts";
import { errnoCode, translateFileError } from "../archive/file-failure.ts";
import type { SystemRecords } from "../collections/system-records.ts";
import type { BackupMetadata } from "../gen/collector/collection_repo_pb.ts";
import type { Log } from "../lib/log.ts";
import { removeFile } from "../lib/remove-file.ts";
import { ArchiveFolders } from "./archive-folders.ts";
import {
  type BackupFolders,
  type BackupPlace,
  existing,
  inFolder,
  isThere,
  putInPlace,
  syncFolder,
  unfinishedName,
} from "./backup-folders.ts";
import type { BackupDestination, Made } from "./backup-parts.ts";
import type { BackupTable } from "./backup-table.ts";
import type { ArchiveKeys } from "./copy-parts.ts";

export interface BackupKeeperOptions {
  readonly table: BackupTable;
  /** Collection `backups` of namespace `system`. */
  readonly records: SystemRecords<BackupMetadata>;
  readonly folders: BackupFolders;
  readonly archives: Pick<Archives, "manifest">;
  readonly keys: Pick<ArchiveKeys, "identities">;
  readonly log: Log;
}

/** Puts archives in their places together with what is known of them, and takes both back. */
export class BackupKeeper {
  readonly #options: BackupKeeperOptions;
  /** The paths of archives that are being written, by the ids of their backups. */
  readonly #making = new Map<string, string>();
  readonly #folders = new ArchiveFolders(() => this.#making.values());

  constructor(options: BackupKeeperOptions) {
    this.#options = options;
  }

  /** True while the archive of that backup is being written. */
  isMaking(backupId: string): boolean {
    return this.#making.has(backupId);
  }

  /** Whatever happens, either the archive is there, whole and durable, and known, or nothing is. */
  async keep(
    given: BackupMetadata,
    { destPath, destFolder = "" }: BackupDestination,
    write: (path: string, backupId: string) => Promise<Made>,
  ): Promise<BackupMetadata> {
    const { folders } = this.#options;
    const backupId = given.backupId === "" ? randomUUIDv7() : given.backupId;
    const place = await folders.locate(
      destPath === "" ? inFolder(destFolder, `${backupId}.collector`) : destPath,
      "dest_path",
    );
    this.#refuseTaken(place);
    this.#making.set(backupId, place.path);
    try {
      if (await isThere(place.path)) throw existing();
      const backup = await this.#make({ ...given, backupId }, place, write);
      this.#folders.settle(place);
      return backup;
    } finally {
      this.#making.delete(backupId);
      await this.#folders.release(place);
    }
  }

  /** Another backup's place stays its own, also before its archive is there, and when that is missing. */
  #refuseTaken({ path, storagePath }: BackupPlace): void {
    const isAwaited = this.#making.values().some((other) => other === path);
    if (isAwaited || this.#options.table.isAt(storagePath)) throw existing();
  }

  async #make(
    given: BackupMetadata,
    place: BackupPlace,
    write: (path: string, backupId: string) => Promise<Made>,
  ): Promise<BackupMetadata> {
    const { backupId } = given;
    const { storagePath, path } = place;
    const unfinished = unfinishedName(path, backupId);
    const { length: newFolders } = await this.#folders.missing(place);
    const known = { ...given, storagePath, storageType: "file" };
    let backup: BackupMetadata = { ...known, newFolders, complete: false };
    await this.#note(backup);
    let isInPlace = false;
    try {
      await this.#folders.make(place);
      backup = { ...backup, ...(await write(unfinished, backupId)) };
      // From here on what is in its place is its archive, even if nobody can read that.
      await this.#note(backup);
      await putInPlace(unfinished, path);
      isInPlace = true;
      const complete: BackupMetadata = { ...backup, newFolders: 0, complete: true };
      await this.save(complete);
      return complete;
    } catch (error) {
      await this.#forget(backup, unfinished, isInPlace);
      throw translateFileError(error, "the archive cannot be put in the backup folder");
    }
  }

  async #forget(backup: BackupMetadata, unfinished: string, isInPlace: boolean): Promise<void> {
    const { records, log } = this.#options;
    const { backupId } = backup;
    try {
      if (isInPlace) await this.takeBack(backup);
      else {
        await rm(unfinished, { force: true });
        await records.write([{ kind: "delete", id: backupId }]);
      }
    } catch (error) {
      log.warn({ backup: backupId, err: error }, "backup could not be taken back");
    }
  }

  /**
   * Puts an archive in the place of that of a complete backup. Until it is verified it counts as damaged.
   *
   * @throws {CollectorError} STORAGE_UNAVAILABLE, DISK_FULL; then what was in its place is there still
   */
  async replace(
    { backupId, storagePath }: BackupMetadata,
    write: (path: string) => Promise<void>,
  ): Promise<void> {
    const { folders, table } = this.#options;
    const place = await folders.locate(storagePath, "storage_path");
    const unfinished = unfinishedName(place.path, backupId);
    // A start looks beside the archives of such for what a crash has left.
    await this.save({
      ...table.get(backupId),
      verifyError: "it is not verified since it came again",
    });
    try {
      await removeFile(unfinished);
      await this.#folders.make(place);
      await write(unfinished);
      await rename(unfinished, place.path);
      await syncFolder(dirname(place.path));
      this.#folders.settle(place);
    } catch (error) {
      await rm(unfinished, { force: true }).catch(() => undefined);
      throw translateFileError(error);
    } finally {
      await this.#folders.release(place);
    }
  }

  /** Removes what a crash has left of an archive that was to take the place of a damaged one. */
  async tidy({ backupId, storagePath }: BackupMetadata): Promise<void> {
    const { folders, log } = this.#options;
    try {
      await removeFile(unfinishedName(folders.pathOf(storagePath), backupId));
    } catch (error) {
      if (errnoCode(error) === undefined) throw error;
      log.warn({ backup: backupId, err: error }, "what is unfinished could not be removed");
    }
  }

  /**
   * Removes a complete backup, which nobody is told of from now on. One whose archive cannot go stays.
   *
   * @returns the bytes of its archive
   * @throws {CollectorError} STORAGE_UNAVAILABLE, DISK_FULL
   */
  async remove(backup: BackupMetadata): Promise<bigint> {
    const { table, folders } = this.#options;
    const gone = { ...backup, complete: false };
    table.delete(backup.backupId);
    try {
      await this.#note(gone);
      return await this.takeBack(gone);
    } catch (error) {
      // What is not known whether it is there is not forgotten.
      if (await isThere(folders.pathOf(backup.storagePath)).catch(() => true)) {
        table.set(backup);
        await this.#note(backup);
      }
      throw translateFileError(error, "the archive cannot be removed, and the backup stays");
    }
  }

  /**
   * Removes the archive of a backup that is not complete, whole or not, and what is known of it.
   *
   * @returns the bytes of a whole one
   */
  async takeBack(backup: BackupMetadata): Promise<bigint> {
    const { folders, records } = this.#options;
    const { backupId, storagePath } = backup;
    const path = folders.pathOf(storagePath);
    let bytes = 0n;
    // What another backup has by now stays, whatever it is.
    if (!this.#options.table.isAt(storagePath) && (await isThere(path))) {
      const isOurs = await this.#isArchiveOf(backup, path);
      const { size, isFile } = await stat(path).then(
        (found) => ({ size: BigInt(found.size), isFile: found.isFile() }),
        () => ({ size: 0n, isFile: false }),
      );
      if (isFile && (isOurs || size === 0n)) {
        await removeFile(path);
        await syncFolder(dirname(path));
        bytes = size;
      }
    }
    await removeFile(unfinishedName(path, backupId));
    await this.#folders.removeOfSet(dirname(path), backup.setId);
    await this.#folders.removeNew(path, backup.newFolders);
    await records.write([{ kind: "delete", id: backupId }]);
    return bytes;
  }

  /** The same for one that a crash has cut. What cannot be reached now goes at a later start. */
  async takeBackCut(backup: BackupMetadata): Promise<void> {
    try {
      await this.takeBack(backup);
    } catch (error) {
      if (errnoCode(error) === undefined) throw error;
      const { backupId } = backup;
      this.#options.log.warn({ backup: backupId, err: error }, "backup could not be taken back");
    }
  }

  /** A file of that name may have come from elsewhere after a crash. */
  async #isArchiveOf({ backupId, sizeBytes }: BackupMetadata, path: string): Promise<boolean> {
    const { archives, keys } = this.#options;
    return await archives.manifest(path, keys.identities).then(
      (manifest) => manifest.backupId === backupId,
      // It is damaged, or nobody here has its key.
      async () => sizeBytes > 0n && !(await isThere(unfinishedName(path, backupId))),
    );
  }

  /** Notes a complete backup. */
  async save(backup: BackupMetadata): Promise<void> {
    await this.#note(backup);
    this.#options.table.set(backup);
  }

  async #note(backup: BackupMetadata): Promise<void> {
    await this.#options.records.write([{ kind: "put", id: backup.backupId, value: backup }]);
  }
}
