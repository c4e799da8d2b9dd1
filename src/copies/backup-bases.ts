import type { Archives } from "../archive/archive.ts";
import { CollectorError, invalidField } from "../errors.ts";
import type { ArchiveManifest } from "../gen/collector/archive_pb.ts";
import type { BackupMetadata } from "../gen/collector/collection_repo_pb.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { momentUsOf } from "./backup-moment.ts";
import { type CreateBackup, chainMax } from "./backup-parts.ts";
import type { BackupTable } from "./backup-table.ts";
import { type BaseContentsOptions, contentsAfter } from "./base-contents.ts";
import type { CopyBase, CopyRun } from "./copy-parts.ts";

export interface BackupBasesOptions extends BaseContentsOptions {
  readonly table: BackupTable;
  readonly archives: Pick<Archives, "manifest" | "unpack">;
  readonly clock: Clock;
  readonly log: Log;
}

/** A backup that is to be made, of which collection is known. */
type BasedBackup = CreateBackup & { readonly collectionId: string };

/** What a backup is based on. Nobody removes it before this is disposed. */
export interface HeldBase extends Disposable {
  readonly base: CopyBase;
}

/** What an incremental backup is based on, or why there is nothing. */
export interface ChosenBase {
  readonly held?: HeldBase | undefined;
  /** Why the backup is to hold everything; empty if nobody asked for a base. */
  readonly fullReason: string;
}

/** How many backups are tried. Each that cannot be read may cost as much as one that can. */
const triesMax = 4;

/** Chooses the backup that the next one of a collection holds only the changes since. */
export class BackupBases {
  readonly #options: BackupBasesOptions;

  constructor(options: BackupBasesOptions) {
    this.#options = options;
  }

  /**
   * The one that the request names, or the newest one that can be read.
   *
   * @throws {CollectorError} BACKUP_NOT_FOUND, ARGUMENT_INVALID, and what reading an archive throws if the
   * request names its base
   */
  async of(request: BasedBackup, run: CopyRun): Promise<ChosenBase> {
    const { collectionId, baseBackupId, incremental, includeFiles } = request;
    if (baseBackupId === "" && !incremental) return { fullReason: "" };
    const { table } = this.#options;
    if (baseBackupId !== "") {
      const backup = table.get(baseBackupId);
      if (backup.collectionId !== collectionId) {
        throw invalidField("ARGUMENT_INVALID", "base_backup_id", "is of another collection");
      }
      return { held: await this.#hold(backup, includeFiles, run), fullReason: "" };
    }
    return await this.#newest(request, run);
  }

  async #newest(request: BasedBackup, run: CopyRun): Promise<ChosenBase> {
    const { table, log } = this.#options;
    let fullReason = "there is no backup that it could be based on";
    for (const { backupId } of this.#candidates(request).take(triesMax)) {
      if (table.chainOf(backupId).length >= chainMax) {
        return { fullReason: `${chainMax} backups are based on one another by now` };
      }
      try {
        return {
          held: await this.#hold(table.get(backupId), request.includeFiles, run),
          fullReason: "",
        };
      } catch (error) {
        run.signal.throwIfAborted();
        // An archive that is gone or damaged is no base.
        log.warn({ backup: backupId, err: error }, "backup cannot be a base");
        const why = error instanceof CollectorError ? error.message : "its archive cannot be read";
        fullReason = `backup ${backupId} cannot be a base: ${why}`;
      }
    }
    return { fullReason };
  }

  /** The newest first. */
  #candidates({
    collectionId,
    includeFiles,
    preferredBaseId,
  }: BasedBackup): IteratorObject<BackupMetadata> {
    const { table, clock } = this.#options;
    const nowUs = clock.nowUs();
    return table
      .all()
      .values()
      .filter(
        (backup) =>
          backup.collectionId === collectionId &&
          backup.includesFiles === includeFiles &&
          // One that a clock made when it was ahead would be the newest for long.
          momentUsOf(backup) <= nowUs &&
          (preferredBaseId === undefined || backup.backupId === preferredBaseId) &&
          table.chainOf(backup.backupId).every((link) => link.backup.verifyError === ""),
      );
  }

  async #hold(
    { backupId }: BackupMetadata,
    includeFiles: boolean,
    run: CopyRun,
  ): Promise<HeldBase> {
    const { table, archives, keys } = this.#options;
    using held = new DisposableStack();
    held.use(table.hold(backupId));
    const chain: { readonly path: string; readonly manifest: ArchiveManifest }[] = [];
    for (const { path } of table.chainOf(backupId)) {
      chain.push({ path, manifest: await archives.manifest(path, keys.identities) });
    }
    const { incarnation = "", revision = 0n, collection } = chain.at(-1)?.manifest ?? {};
    const contents: CopyBase["contents"] = includeFiles
      ? await contentsAfter(chain, run, this.#options)
      : new Set<string>();
    const base = { backupId, incarnation, revision, definition: collection, contents };
    const kept = held.move();
    return { base, [Symbol.dispose]: () => kept.dispose() };
  }
}
