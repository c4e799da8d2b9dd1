import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Copies } from "../../copies/open-copies.ts";
import type { CollectionPlace, RemoteCopyRequest } from "../../copies/remote/remote-collector.ts";
import { invalidField } from "../../errors.ts";
import {
  type CloneRequest,
  CloneResponseSchema,
  type CollectionRepo,
  type FetchRequest,
  FetchResponseSchema,
} from "../../gen/collector/collection_repo_pb.ts";
import type { OperationStore } from "../../operations/operation-store.ts";
import type { ServiceHandlers } from "../call.ts";
import { runLong } from "./long-call.ts";

/** The methods of `collector.CollectionRepo` that make copies, here and on other servers. */
export function cloneHandlers(
  copies: Pick<Copies, "installer" | "remote">,
  operations: OperationStore,
): Pick<ServiceHandlers<typeof CollectionRepo>, "clone" | "fetch"> {
  return {
    async clone(request, { signal }) {
      const { returnImmediately, destEndpoint } = request;
      const place = placeOf(request, destEndpoint);
      const { response, operation } = await runLong({
        operations,
        topic: topicOf("clone", place),
        returnImmediately,
        signal,
        schema: CloneResponseSchema,
        work: async (run) => {
          if (destEndpoint === "") {
            const { source, dest, includeFiles, refresh } = place;
            const mode = refresh ? "refresh" : "create";
            const local = { source, ...dest, includeFiles, mode } as const;
            const installed = await copies.installer.clone(local, run);
            return {
              collectionId: installed.collection.collectionId,
              recordsCloned: installed.recordCount,
              filesCloned: installed.fileCount,
              bytesTransferred: installed.bytes,
            };
          }
          const copied = await copies.remote.clone(place, run);
          return {
            collectionId: copied.collectionId,
            recordsCloned: copied.recordCount,
            filesCloned: copied.fileCount,
            bytesTransferred: copied.bytes,
            incremental: copied.isIncremental,
            transferTime: durationFromMs(Math.round(copied.transferMs)),
          };
        },
      });
      return { ...response, operation };
    },

    async fetch(request, { signal }) {
      const { returnImmediately, sourceEndpoint } = request;
      if (sourceEndpoint === "") {
        throw invalidField("ARGUMENT_MISSING", "source_endpoint", "names no server");
      }
      const place = placeOf(request, sourceEndpoint);
      const { response, operation } = await runLong({
        operations,
        topic: topicOf("fetch", place),
        returnImmediately,
        signal,
        schema: FetchResponseSchema,
        work: async (run) => {
          const copied = await copies.remote.fetch(place, run);
          return {
            collectionId: copied.collectionId,
            recordsFetched: copied.recordCount,
            filesFetched: copied.fileCount,
            bytesTransferred: copied.bytes,
            incremental: copied.isIncremental,
            transferTime: durationFromMs(Math.round(copied.transferMs)),
          };
        },
      });
      return { ...response, operation };
    },
  };
}

/** What is not said of the destination is as at the source. @throws {CollectorError} ARGUMENT_MISSING */
function placeOf(request: CloneRequest | FetchRequest, endpoint: string): RemoteCopyRequest {
  const { sourceCollection, destNamespace, destName, includeFiles, refresh } = request;
  if (sourceCollection === undefined || sourceCollection.name === "") {
    throw invalidField("ARGUMENT_MISSING", "source_collection", "names no collection");
  }
  const { namespace, name } = sourceCollection;
  const source: CollectionPlace = { namespace, name };
  const dest = {
    namespace: destNamespace === "" ? namespace : destNamespace,
    name: destName === "" ? name : destName,
  };
  return { endpoint, source, dest, includeFiles, refresh };
}

function topicOf(kind: string, { dest: { namespace, name } }: RemoteCopyRequest) {
  return { kind, namespace, subject: `${namespace}/${name}` };
}
