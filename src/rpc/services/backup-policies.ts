import type { BackupPolicies } from "../../copies/policies/backup-policies.ts";
import { type Backups, RunBackupPolicyResponseSchema } from "../../gen/collector/backups_pb.ts";
import type { OperationStore } from "../../operations/operation-store.ts";
import type { ServiceHandlers } from "../call.ts";
import { runLong } from "./long-call.ts";

type PolicyHandlers = Pick<
  ServiceHandlers<typeof Backups>,
  | "putBackupPolicy"
  | "getBackupPolicy"
  | "listBackupPolicies"
  | "deleteBackupPolicy"
  | "runBackupPolicy"
>;

/** The methods of `collector.Backups` that are about policies. */
export function policyHandlers(
  policies: BackupPolicies,
  operations: OperationStore,
): PolicyHandlers {
  return {
    putBackupPolicy({ policy, validateOnly }, { namespace }) {
      // A collection is in a namespace; only without one does an empty namespace mean all.
      const isInCall = policy !== undefined && policy.collectionName !== "" && !policy.namespace;
      return policies.put(isInCall ? { ...policy, namespace } : policy, validateOnly);
    },

    async getBackupPolicy({ name }) {
      return policies.get(name);
    },

    async listBackupPolicies(request) {
      return policies.list(request);
    },

    async deleteBackupPolicy({ name, allowMissing }) {
      await policies.delete(name, allowMissing);
      return {};
    },

    async runBackupPolicy({ name, pruneOnly, validateOnly, returnImmediately }, { signal }) {
      if (validateOnly) return { run: await policies.rehearse(name, pruneOnly) };
      const { response, operation } = await runLong({
        operations,
        topic: policies.topicOf(name),
        returnImmediately,
        signal,
        schema: RunBackupPolicyResponseSchema,
        work: async (run) => ({ run: await policies.run(name, pruneOnly, run) }),
      });
      return { ...response, operation };
    },
  };
}
