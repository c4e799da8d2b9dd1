import type { Copies } from "../../copies/open-copies.ts";
import type { Backups } from "../../gen/collector/backups_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import type { OperationStore } from "../../operations/operation-store.ts";
import type { ServiceHandlers } from "../call.ts";
import { backupSetHandlers } from "./backup-set-handlers.ts";
import { unserved } from "./unserved.ts";

export interface BackupServiceOptions {
  readonly copies: Pick<Copies, "backups" | "sets">;
  readonly operations: OperationStore;
  readonly limits: Limits;
}

/** `collector.Backups`: what is known of a backup, and backups of a whole server; the rest is not served yet. */
export function backupService({
  copies: { backups, sets },
  operations,
  limits,
}: BackupServiceOptions): ServiceHandlers<typeof Backups> {
  return {
    async getBackup({ backupId }) {
      return backups.get(backupId);
    },

    ...backupSetHandlers({ sets, operations, limits }),
    putBackupPolicy: unserved("Backups/PutBackupPolicy"),
    getBackupPolicy: unserved("Backups/GetBackupPolicy"),
    listBackupPolicies: unserved("Backups/ListBackupPolicies"),
    deleteBackupPolicy: unserved("Backups/DeleteBackupPolicy"),
    runBackupPolicy: unserved("Backups/RunBackupPolicy"),
  };
}
