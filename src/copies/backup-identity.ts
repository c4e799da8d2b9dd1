import type { Archives } from "../archive/archive.ts";
import { invalidArchive } from "./archive-failures.ts";
import type { BackupCatalog } from "./backup-parts.ts";

/**
 * Checks that archives are those of the backups that are known at their places: someone may have moved files.
 *
 * @throws {CollectorError} ARCHIVE_INVALID, ARCHIVE_DAMAGED, ARCHIVE_TOO_NEW, KEY_UNAVAILABLE
 */
export async function checkIdentity(
  chain: ReturnType<BackupCatalog["chainOf"]>,
  archives: Pick<Archives, "manifest">,
  identities: readonly string[],
): Promise<{ readonly collectorId: string }> {
  let collectorId = "";
  for (const { backup, path } of chain) {
    const manifest = await archives.manifest(path, identities);
    if (manifest.backupId !== backup.backupId) throw ofAnother(backup.backupId);
    ({ collectorId } = manifest);
  }
  return { collectorId };
}

export function ofAnother(backupId: string): Error {
  return invalidArchive(`it is not that of backup ${backupId}`);
}
