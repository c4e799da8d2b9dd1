import type { Copies } from "../../copies/open-copies.ts";
import type { BackupPolicies } from "../../copies/policies/backup-policies.ts";
import type { Backups } from "../../gen/collector/backups_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import type { OperationStore } from "../../operations/operation-store.ts";
import type { ServiceHandlers } from "../call.ts";
import { policyHandlers } from "./backup-policies.ts";
import { backupSetHandlers } from "./backup-set-handlers.ts";

export interface BackupServiceOptions {
  readonly copies: Pick<Copies, "backups" | "sets">;
  readonly policies: BackupPolicies;
  readonly operations: OperationStore;
  readonly limits: Limits;
}

/** `collector.Backups`: what is known of a backup, backups of a whole server, and policies. */
export function backupService({
  copies: { backups, sets },
  policies,
  operations,
  limits,
}: BackupServiceOptions): ServiceHandlers<typeof Backups> {
  return {
    async getBackup({ backupId }) {
      return backups.get(backupId);
    },

    ...backupSetHandlers({ sets, operations, limits }),
    ...policyHandlers(policies, operations),
  };
}
