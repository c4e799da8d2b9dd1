import type { BackupCatalog } from "../../copies/backup-parts.ts";
import { CollectorError, invalidField } from "../../errors.ts";
import {
  BackupCollectionResponseSchema,
  type CollectionRepo,
  RestoreBackupResponseSchema,
  VerifyBackupResponseSchema,
} from "../../gen/collector/collection_repo_pb.ts";
import type { OperationStore } from "../../operations/operation-store.ts";
import type { ServiceHandlers } from "../call.ts";
import { runLong } from "./long-call.ts";

type BackupHandlers = Pick<
  ServiceHandlers<typeof CollectionRepo>,
  "backupCollection" | "listBackups" | "restoreBackup" | "deleteBackup" | "verifyBackup"
>;

/** The methods of `collector.CollectionRepo` that are about backups. */
export function backupHandlers(backups: BackupCatalog, operations: OperationStore): BackupHandlers {
  return {
    async backupCollection(request, { signal }) {
      const { collection, returnImmediately } = request;
      if (collection === undefined || collection.name === "") {
        throw invalidField("ARGUMENT_MISSING", "collection", "names no collection to back up");
      }
      const { namespace, name } = collection;
      const { response, operation } = await runLong({
        operations,
        topic: { kind: "backup", namespace, subject: `${namespace}/${name}` },
        returnImmediately,
        signal,
        schema: BackupCollectionResponseSchema,
        work: async (run) => {
          const backup = await backups.create({ ...request, namespace, name }, run);
          return { backup, bytesTransferred: backup.sizeBytes };
        },
      });
      return { ...response, operation };
    },

    async listBackups(request, call) {
      const { collection } = request;
      if (collection === undefined || collection.namespace !== "") return backups.list(request);
      return backups.list({ ...request, collection: { ...collection, namespace: call.namespace } });
    },

    async restoreBackup(request, { signal }) {
      const { backupId, destNamespace, destName, overwrite, returnImmediately } = request;
      const { collection } = backups.get(backupId);
      const namespace = destNamespace === "" ? (collection?.namespace ?? "") : destNamespace;
      const name = destName === "" ? (collection?.name ?? "") : destName;
      const { response, operation } = await runLong({
        operations,
        topic: { kind: "restore", namespace, subject: `${namespace}/${name}` },
        returnImmediately,
        signal,
        schema: RestoreBackupResponseSchema,
        work: async (run) => {
          const installed = await backups.restore({ backupId, namespace, name, overwrite }, run);
          return {
            collectionId: installed.collection.collectionId,
            recordsRestored: installed.recordCount,
            filesRestored: installed.fileCount,
          };
        },
      });
      return { ...response, operation };
    },

    async deleteBackup({ backupId, allowMissing }) {
      try {
        return { bytesFreed: await backups.delete(backupId) };
      } catch (error) {
        const isMissing = error instanceof CollectorError && error.reason === "BACKUP_NOT_FOUND";
        if (allowMissing && isMissing) return {};
        throw error;
      }
    },

    async verifyBackup({ backupId, returnImmediately }, { signal }) {
      const { collection } = backups.get(backupId);
      const { namespace = "", name = "" } = collection ?? {};
      const chain = backups.chainOf(backupId);
      const { response, operation } = await runLong({
        operations,
        topic: { kind: "verify", namespace, subject: `${namespace}/${name}` },
        returnImmediately,
        signal,
        schema: VerifyBackupResponseSchema,
        work: async (run) => {
          const { backup, problems } = await backups.verify(backupId, run);
          return {
            isValid: problems.length === 0,
            errorMessage: backup.verifyError,
            backup,
            problems: problems.map(({ archive, part, offset, description }) => ({
              backupId: chain[archive]?.backup.backupId ?? backupId,
              part,
              offset,
              description,
            })),
          };
        },
      });
      return { ...response, operation };
    },
  };
}
