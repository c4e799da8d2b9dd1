import type { CollectionCatalog } from "../../collections/catalog.ts";
import type { CollectionAdmin } from "../../gen/collector/collection_admin_pb.ts";
import type { ServiceHandlers } from "../call.ts";

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
  };
}
