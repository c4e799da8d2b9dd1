import { anyUnpack } from "@bufbuild/protobuf/wkt";
import type { CollectionCatalog } from "../../collections/catalog.ts";
import {
  type CollectionAdmin,
  ReindexCollectionResponseSchema,
} from "../../gen/collector/collection_admin_pb.ts";
import type { ServiceHandlers } from "../call.ts";
import { remainingMs } from "./remaining-ms.ts";

/** `collector.CollectionAdmin` over the {@link CollectionCatalog}. */
export function collectionAdmin(
  catalog: CollectionCatalog,
): ServiceHandlers<typeof CollectionAdmin> {
  return {
    async getCollection({ collection }) {
      return { collection: catalog.get(collection) };
    },

    async deleteCollection(request) {
      await catalog.delete(request);
      return {};
    },

    async renameCollection(request) {
      return { collection: await catalog.rename(request) };
    },

    async reindexCollection(request, call) {
      const waiting = { signal: call.signal, timeoutMs: remainingMs(call) };
      const operation = await catalog.alterations.reindex(request, waiting);
      const { result } = operation;
      const done =
        result.case === "response"
          ? anyUnpack(result.value, ReindexCollectionResponseSchema)
          : undefined;
      return done === undefined ? { operation } : { ...done, operation };
    },
  };
}
