import type { ArchiveInstaller } from "../../copies/copy-parts.ts";
import { CollectorError, invalidField } from "../../errors.ts";
import {
  CloneResponseSchema,
  type CollectionRepo,
} from "../../gen/collector/collection_repo_pb.ts";
import type { OperationStore } from "../../operations/operation-store.ts";
import type { ServiceHandlers } from "../call.ts";
import { runLong } from "./long-call.ts";

/** `collector.CollectionRepo/Clone`, within this server. */
export function cloneHandler(
  installer: ArchiveInstaller,
  operations: OperationStore,
): Pick<ServiceHandlers<typeof CollectionRepo>, "clone"> {
  return {
    async clone(request, { signal }) {
      const { sourceCollection: source, destEndpoint, includeFiles, refresh } = request;
      if (source === undefined || source.name === "") {
        throw invalidField("ARGUMENT_MISSING", "source_collection", "names no collection");
      }
      if (destEndpoint !== "") {
        throw new CollectorError(
          "METHOD_UNIMPLEMENTED",
          "dest_endpoint: copies to another server are not served by this version; leave it empty",
        );
      }
      const namespace = request.destNamespace === "" ? source.namespace : request.destNamespace;
      const name = request.destName === "" ? source.name : request.destName;
      const { response, operation } = await runLong({
        operations,
        topic: { kind: "clone", namespace, subject: `${namespace}/${name}` },
        returnImmediately: request.returnImmediately,
        signal,
        schema: CloneResponseSchema,
        work: async (run) => {
          const mode = refresh ? "refresh" : "create";
          const place = { source, namespace, name, includeFiles, mode } as const;
          const installed = await installer.clone(place, run);
          return {
            collectionId: installed.collection.collectionId,
            recordsCloned: installed.recordCount,
            filesCloned: installed.fileCount,
            bytesTransferred: installed.bytes,
          };
        },
      });
      return { ...response, operation };
    },
  };
}
