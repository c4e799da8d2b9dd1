import type { Archives } from "../archive/archive.ts";
import type { CollectionCatalog } from "../collections/catalog.ts";
import { invalidField } from "../errors.ts";
import type { BackupMetadata } from "../gen/collector/collection_repo_pb.ts";
import type { Log } from "../lib/log.ts";
import { type CreateBackup, chainMax } from "./backup-parts.ts";
import type { BackupTable } from "./backup-table.ts";
import type { ArchiveKeys, CopyBase } from "./copy-parts.ts";

export interface BackupBasesOptions {
  readonly table: BackupTable;
  readonly catalog: Pick<CollectionCatalog, "get">;
  readonly archives: Pick<Archives, "manifest">;
  readonly keys: Pick<ArchiveKeys, "identities">;
  readonly log: Log;
}

/** What a backup is based on. Nobody removes it before this is disposed. */
export interface HeldBase extends Disposable {
  readonly base: CopyBase;
}

/** Chooses the backup that the next one of a collection holds only the changes since. */
export class BackupBases {
  readonly #options: BackupBasesOptions;

  constructor(options: BackupBasesOptions) {
    this.#options = options;
  }

  /**
   * @returns undefined if the backup is to hold everything
   * @throws {CollectorError} BACKUP_NOT_FOUND, ARGUMENT_INVALID, COLLECTION_NOT_FOUND, and what reading an
   * archive throws if the request names its base
   */
  async of(request: CreateBackup): Promise<HeldBase | undefined> {
    const { namespace, name, baseBackupId, incremental } = request;
    if (baseBackupId === "" && !incremental) return undefined;
    const { table, catalog, log } = this.#options;
    const { collectionId } = catalog.get({ namespace, name });
    if (baseBackupId !== "") {
      const backup = table.get(baseBackupId);
      if (backup.collectionId !== collectionId) {
        throw invalidField("ARGUMENT_INVALID", "base_backup_id", "is of another collection");
      }
      return await this.#hold(backup);
    }
    const newest = this.#newest(collectionId, request);
    if (newest === undefined) return undefined;
    try {
      if (table.chainOf(newest.backupId).length >= chainMax) return undefined;
      return await this.#hold(newest);
    } catch (error) {
      // An archive that is gone or damaged is no base; everything is saved anew.
      log.warn({ backup: newest.backupId, err: error }, "backup cannot be a base");
      return undefined;
    }
  }

  #newest(
    collectionId: string,
    { includeFiles, preferredBaseId }: CreateBackup,
  ): BackupMetadata | undefined {
    return this.#options.table
      .all()
      .find(
        (backup) =>
          backup.collectionId === collectionId &&
          backup.includesFiles === includeFiles &&
          backup.verifyError === "" &&
          (preferredBaseId === undefined || backup.backupId === preferredBaseId),
      );
  }

  async #hold({ backupId }: BackupMetadata): Promise<HeldBase> {
    const { table, archives, keys } = this.#options;
    using held = new DisposableStack();
    held.use(table.hold(backupId));
    const contents = new Set<string>();
    let manifest: Awaited<ReturnType<Archives["manifest"]>> | undefined;
    for (const { path } of table.chainOf(backupId)) {
      manifest = await archives.manifest(path, keys.identities);
      for (const { name } of manifest.parts) {
        if (name.startsWith("files/")) contents.add(name.slice("files/".length));
      }
    }
    const { incarnation = "", revision = 0n, collection } = manifest ?? {};
    const base = { backupId, incarnation, revision, definition: collection, contents };
    const kept = held.move();
    return { base, [Symbol.dispose]: () => kept.dispose() };
  }
}
