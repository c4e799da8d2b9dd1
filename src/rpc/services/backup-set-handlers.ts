import { create, toBinary } from "@bufbuild/protobuf";
import type { Copies } from "../../copies/open-copies.ts";
import type { RestoredItem } from "../../copies/sets/server-restore.ts";
import {
  BackupServerResponseSchema,
  type Backups,
  RestoreServerResponse_RestoredSchema,
  RestoreServerResponseSchema,
} from "../../gen/collector/backups_pb.ts";
import { BackupMetadataSchema } from "../../gen/collector/collection_repo_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import type { OperationStore } from "../../operations/operation-store.ts";
import type { ServiceHandlers } from "../call.ts";
import { contractStatus } from "../contract-status.ts";
import { runLong } from "./long-call.ts";

export interface BackupSetOptions {
  readonly sets: Copies["sets"];
  readonly operations: OperationStore;
  readonly limits: Pick<Limits, "messageBytesMax">;
}

/** The methods of `collector.Backups` that are about all of a server. */
export function backupSetHandlers({
  sets,
  operations,
  limits,
}: BackupSetOptions): Pick<
  ServiceHandlers<typeof Backups>,
  "backupServer" | "restoreServer" | "importBackups"
> {
  // An operation keeps its response, and answers it beside what else it has.
  const answerBytesMax = limits.messageBytesMax / 4;
  return {
    async backupServer(request, { signal }) {
      const { namespace, returnImmediately } = request;
      const { response, operation } = await runLong({
        operations,
        topic: { kind: "server-backup", namespace, subject: namespace },
        returnImmediately,
        signal,
        schema: BackupServerResponseSchema,
        work: async (run) => {
          const { setId, backups } = await sets.backup.run(request, run);
          const { fitting, leftOut } = fit(
            backups,
            answerBytesMax,
            (backup) => toBinary(BackupMetadataSchema, backup).length,
          );
          return { setId, backups: [...fitting], leftOut };
        },
      });
      return { ...response, operation };
    },

    async restoreServer(request, { signal }) {
      const { setId, returnImmediately } = request;
      sets.restore.find(request);
      const { response, operation } = await runLong({
        operations,
        topic: { kind: "server-restore", namespace: "", subject: setId },
        returnImmediately,
        signal,
        schema: RestoreServerResponseSchema,
        work: async (run) => {
          const items = await sets.restore.run(request, run);
          const all = items.map(restored);
          const failed = all.filter((_, index) => items[index]?.error !== undefined);
          const others = all.filter((_, index) => items[index]?.error === undefined);
          // If not all fit, what failed is told first.
          const { fitting, leftOut } = fit(
            [...failed, ...others],
            answerBytesMax,
            (item) => toBinary(RestoreServerResponse_RestoredSchema, item).length,
          );
          const isTold = new Set(fitting);
          return { restored: all.filter((item) => isTold.has(item)), leftOut };
        },
      });
      return { ...response, operation };
    },

    async importBackups({ path }, { signal }) {
      const { backups, refused } = await sets.imports.run(path, signal);
      return { backups: [...backups], refused: [...refused] };
    },
  };
}

function restored({ backupId, collection, recordCount, fileCount, error }: RestoredItem) {
  return create(RestoreServerResponse_RestoredSchema, {
    backupId,
    ...(collection === undefined ? {} : { collection }),
    recordsRestored: recordCount,
    filesRestored: fileCount,
    status: contractStatus(error),
  });
}

/** As many of them, from the first on, as an answer has room for. */
function fit<T>(
  items: readonly T[],
  bytesMax: number,
  sizeOf: (item: T) => number,
): { readonly fitting: readonly T[]; readonly leftOut: number } {
  let bytes = 0;
  const over = items.findIndex((item) => {
    bytes += sizeOf(item);
    return bytes > bytesMax;
  });
  const fitting = over === -1 ? items : items.slice(0, over);
  return { fitting, leftOut: items.length - fitting.length };
}
