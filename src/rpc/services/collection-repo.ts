import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CollectionCatalog } from "../../collections/catalog.ts";
import { type CollectionMatches, searchCollections } from "../../collections/search-collections.ts";
import type { Copies } from "../../copies/open-copies.ts";
import type {
  CollectionRepo,
  SearchCollectionsResponse_CollectionResultSchema,
} from "../../gen/collector/collection_repo_pb.ts";
import type { SearchResult } from "../../gen/collector/collection_server_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import type { OperationStore } from "../../operations/operation-store.ts";
import type { ServiceHandlers } from "../call.ts";
import { contractStatus } from "../contract-status.ts";
import { backupHandlers } from "./backup-handlers.ts";
import { cloneHandlers } from "./clone-handler.ts";
import { transferHandlers } from "./transfer-handlers.ts";

export interface CollectionRepoOptions {
  readonly catalog: CollectionCatalog;
  readonly copies: Pick<Copies, "backups" | "installer" | "transfers" | "remote">;
  readonly operations: OperationStore;
  readonly limits: Limits;
}

/** `collector.CollectionRepo` over the {@link CollectionCatalog}. */
export function collectionRepo({
  catalog,
  copies,
  operations,
  limits,
}: CollectionRepoOptions): ServiceHandlers<typeof CollectionRepo> {
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

    async searchCollections(request, call) {
      const found = await searchCollections(request, catalog, limits, call);
      return {
        results: found.collections.map(collectionResult),
        totalMatches: found.totalMatches,
        ranked: [...found.ranked],
        totalMatchesCapped: found.totalCapped,
        truncated: found.truncated,
      };
    },

    ...cloneHandlers(copies, operations),
    ...backupHandlers(copies.backups, operations),
    ...transferHandlers(copies.transfers),
  };
}

function collectionResult({
  collectionName,
  found,
  error,
}: CollectionMatches): MessageInitShape<typeof SearchCollectionsResponse_CollectionResultSchema> {
  const results = found?.results ?? [];
  return {
    collectionName,
    items: results.flatMap(({ item }) => item ?? []),
    scores: Object.fromEntries(results.map(({ meta, score }) => [meta?.id ?? "", score])),
    results: results.map(withoutItem),
    totalCount: found?.totalCount ?? 0n,
    totalCountCapped: found?.totalCountCapped ?? false,
    status: contractStatus(error),
  };
}

/** The items are in a list of their own. */
function withoutItem(result: SearchResult): SearchResult {
  const { item, ...rest } = result;
  return item === undefined ? result : rest;
}
