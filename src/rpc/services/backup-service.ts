import type { BackupCatalog } from "../../copies/backup-parts.ts";
import type { Backups } from "../../gen/collector/backups_pb.ts";
import type { ServiceHandlers } from "../call.ts";
import { unserved } from "./unserved.ts";

/** `collector.Backups`: what is known of a backup; the rest is not served yet. */
export function backupService(backups: BackupCatalog): ServiceHandlers<typeof Backups> {
  return {
    async getBackup({ backupId }) {
      return backups.get(backupId);
    },

    backupServer: unserved("Backups/BackupServer"),
    restoreServer: unserved("Backups/RestoreServer"),
    importBackups: unserved("Backups/ImportBackups"),
    putBackupPolicy: unserved("Backups/PutBackupPolicy"),
    getBackupPolicy: unserved("Backups/GetBackupPolicy"),
    listBackupPolicies: unserved("Backups/ListBackupPolicies"),
    deleteBackupPolicy: unserved("Backups/DeleteBackupPolicy"),
    runBackupPolicy: unserved("Backups/RunBackupPolicy"),
  };
}
