import { CollectorError, invalidField } from "../errors.ts";
import type { BackupMetadata } from "../gen/collector/collection_repo_pb.ts";

/** A backup, and the absolute path of its archive. */
export interface ChainLink {
  readonly backup: BackupMetadata;
  readonly path: string;
}

/** The complete backups of a server in memory, what they are based on, and which of them are being read. */
export class BackupTable {
  readonly #pathOf: (storagePath: string) => string;
  readonly #backups = new Map<string, BackupMetadata>();
  /** How many have this `storage_path`, which of a backup never changes. */
  readonly #places = new Map<string, number>();
  readonly #holds = new Map<string, number>();
  /** The newest first; made when first asked for after a change. */
  #ordered: readonly BackupMetadata[] | undefined;

  constructor(pathOf: (storagePath: string) => string) {
    this.#pathOf = pathOf;
  }

  has(backupId: string): boolean {
    return this.#backups.has(backupId);
  }

  /** Whether a complete backup has this `storage_path`. */
  isAt(storagePath: string): boolean {
    return this.#places.has(storagePath);
  }

  /** @throws {CollectorError} BACKUP_NOT_FOUND, ARGUMENT_MISSING */
  get(backupId: string): BackupMetadata {
    const found = this.#backups.get(backupId);
    if (found !== undefined) return found;
    if (backupId === "") throw invalidField("ARGUMENT_MISSING", "backup_id", "names no backup");
    throw new CollectorError("BACKUP_NOT_FOUND", "there is no backup of this id", {
      subject: { backup: backupId.slice(0, 256) },
    });
  }

  set(backup: BackupMetadata): void {
    if (!this.has(backup.backupId)) this.#count(backup, 1);
    this.#backups.set(backup.backupId, backup);
    this.#ordered = undefined;
  }

  delete(backupId: string): void {
    const backup = this.#backups.get(backupId);
    if (backup !== undefined) this.#count(backup, -1);
    this.#backups.delete(backupId);
    this.#ordered = undefined;
  }

  #count({ storagePath }: BackupMetadata, change: 1 | -1): void {
    const count = (this.#places.get(storagePath) ?? 0) + change;
    if (count === 0) this.#places.delete(storagePath);
    else this.#places.set(storagePath, count);
  }

  /** The newest first. The same array until something changes. */
  all(): readonly BackupMetadata[] {
    // Ids begin with the time.
    this.#ordered ??= [...this.#backups.values()].sort((a, b) =>
      a.backupId < b.backupId ? 1 : -1,
    );
    return this.#ordered;
  }

  /** The one that holds everything first. @throws {CollectorError} BACKUP_NOT_FOUND, ARGUMENT_MISSING */
  chainOf(backupId: string): readonly ChainLink[] {
    const chain: ChainLink[] = [];
    for (let id = backupId; chain.length === 0 || id !== ""; ) {
      const backup = this.get(id);
      chain.unshift({ backup, path: this.#pathOf(backup.storagePath) });
      id = backup.baseBackupId;
    }
    return chain;
  }

  /** Says that a backup, and with it its chain, is read until the result is disposed. */
  hold(backupId: string): Disposable {
    const ids = this.chainOf(backupId).map(({ backup }) => backup.backupId);
    for (const id of ids) this.#holds.set(id, (this.#holds.get(id) ?? 0) + 1);
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        for (const id of ids) {
          const left = (this.#holds.get(id) ?? 1) - 1;
          if (left === 0) this.#holds.delete(id);
          else this.#holds.set(id, left);
        }
      },
    };
  }

  isHeld(backupId: string): boolean {
    return this.#holds.has(backupId);
  }

  /** @throws {CollectorError} BACKUP_IN_USE if the backup has to stay for now */
  refuseUsed(backupId: string): void {
    const dependent = this.all().find(({ baseBackupId }) => baseBackupId === backupId);
    if (dependent !== undefined) {
      throw new CollectorError(
        "BACKUP_IN_USE",
        `backup_id: backup ${dependent.backupId} is based on it: delete that first`,
      );
    }
    if (this.#holds.has(backupId)) {
      throw new CollectorError("BACKUP_IN_USE", "backup_id: it is being read; try again later");
    }
  }
}
