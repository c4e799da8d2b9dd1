import type { CollectionCatalog } from "../../collections/catalog.ts";
import { fileUri } from "../../files/file-names.ts";
import type { RecordStreams } from "../../gen/collector/record_streams_pb.ts";
import type { ServiceHandlers } from "../call.ts";

/** `collector.RecordStreams` over the collections of a {@link CollectionCatalog}. */
export function recordStreams(catalog: CollectionCatalog): ServiceHandlers<typeof RecordStreams> {
  return {
    export: (request, { signal }) => {
      const { namespace, collectionName } = request;
      const filesUri = (recordId: string) =>
        fileUri({ namespace, collectionName, recordId, name: "" });
      return catalog.open(namespace, collectionName).export(request, { signal, filesUri });
    },

    watch: (request, call) =>
      catalog.open(request.namespace, request.collectionName).watch(request, call),
  };
}
