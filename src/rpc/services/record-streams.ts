import type { CollectionCatalog } from "../../collections/catalog.ts";
import { exportRecords } from "../../collections/export.ts";
import type { RecordStreams } from "../../gen/collector/record_streams_pb.ts";
import type { ServiceHandlers } from "../call.ts";

/** `collector.RecordStreams` over the collections of a {@link CollectionCatalog}. */
export function recordStreams(catalog: CollectionCatalog): ServiceHandlers<typeof RecordStreams> {
  return {
    export: () => exportRecords(),

    watch: (request, call) =>
      catalog.open(request.namespace, request.collectionName).watch(request, call),
  };
}
