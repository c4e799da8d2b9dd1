import type { CollectionCatalog } from "../../collections/catalog.ts";
import type { CollectionRepo } from "../../gen/collector/collection_repo_pb.ts";
import type { ServiceHandlers } from "../call.ts";
import { unserved } from "./unserved.ts";

/** `collector.CollectionRepo` over the {@link CollectionCatalog}. */
export function collectionRepo(catalog: CollectionCatalog): ServiceHandlers<typeof CollectionRepo> {
  return {
    async createCollection(request) {
      const collection = await catalog.create(request.collection, request);
      const { collectionId, serverEndpoint } = collection;
      return { collection, collectionId, serverEndpoint };
    },

    async discover(request) {
      return catalog.discover(request);
    },

    async route(request) {
      const collection = catalog.get(request.collection);
      return { collection, serverEndpoint: collection.serverEndpoint };
    },

    searchCollections: unserved("CollectionRepo/SearchCollections"),
    clone: unserved("CollectionRepo/Clone"),
    fetch: unserved("CollectionRepo/Fetch"),
    pushCollection: unserved("CollectionRepo/PushCollection"),
    async *pullCollection() {
      yield await unserved("CollectionRepo/PullCollection")();
    },
    backupCollection: unserved("CollectionRepo/BackupCollection"),
    listBackups: unserved("CollectionRepo/ListBackups"),
    restoreBackup: unserved("CollectionRepo/RestoreBackup"),
    deleteBackup: unserved("CollectionRepo/DeleteBackup"),
    verifyBackup: unserved("CollectionRepo/VerifyBackup"),
  };
}
