import type { CollectionCatalog } from "../../collections/catalog.ts";
import type { RecordCollection } from "../../collections/record-collection.ts";
import type { CollectionService } from "../../gen/collector/collection_server_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import { invokeMethod } from "../../mesh/invoke.ts";
import type { TypeSource } from "../../registry/type-snapshot.ts";
import type { ServiceHandlers } from "../call.ts";
import { contractStatus, statusOfFailure } from "../contract-status.ts";
import type { MethodCaller } from "../runtime/method-caller.ts";
import { remainingMs } from "./remaining-ms.ts";

/** What Meta tells of this server. */
export interface ServerFacts {
  readonly version: string;
  readonly collectorId: string;
  readonly defaultNamespace: string;
  readonly limits: Limits;
}

/** Runs registered methods over records. */
export interface MethodRunner {
  readonly types: TypeSource;
  readonly run: MethodCaller;
}

/** What a client can count on, by name; more come with later versions, none goes. */
export const features: readonly string[] = [
  "batch",
  "conditional-writes",
  "durable-writes",
  "expiry",
  "export",
  "facets",
  "files",
  "filters",
  "full-text",
  "highlights",
  "indexes",
  "invoke",
  "namespaces",
  "operations",
  "order-by",
  "request-ids",
  "run-time-services",
  "search-collections",
  "serve",
  "type-versions",
  "update-masks",
  "vectors",
  "watch",
];

/** `collector.CollectionService` over the collections of a {@link CollectionCatalog}. */
export function collectionService(
  catalog: CollectionCatalog,
  server: ServerFacts,
  { types, run }: MethodRunner,
): ServiceHandlers<typeof CollectionService> {
  const open = (request: { namespace: string; collectionName: string }): RecordCollection =>
    catalog.open(request.namespace, request.collectionName);
  return {
    create: async (request, call) => open(request).create(request, call),
    // A literal, as this is the hottest path: `create` would cost as much as the read.
    get: async (request, call) => ({
      $typeName: "collector.GetResponse",
      records: [],
      ...(await open(request).read(request, call)),
    }),
    update: async (request, call) => open(request).update(request, call),
    delete: async (request, call) => open(request).delete(request, call),
    list: async (request, call) => open(request).list(request, call),
    search: async (request, call) => open(request).search(request, call),

    async batch(request, call) {
      return { responses: await open(request).batch(request, call) };
    },

    describe: (request) => catalog.describe(request.namespace, request.collectionName),
    modify: (request, call) =>
      catalog.alterations.modify(request, { signal: call.signal, timeoutMs: remainingMs(call) }),

    async meta() {
      return {
        serverVersion: server.version,
        collectorId: server.collectorId,
        defaultNamespace: server.defaultNamespace,
        features: [...features],
        limits: Object.fromEntries(
          Object.entries(server.limits).map(([name, value]) => [name, BigInt(value)]),
        ),
      };
    },

    async invoke(request, call) {
      const outcomes = await invokeMethod(request, {
        types,
        collection: open(request),
        run: (method) => run(method, call, { dropsMetadata: true }),
        limits: server.limits,
        signal: call.signal,
      });
      return {
        outputs: outcomes.map(({ output }) => output),
        itemStatuses: outcomes.map(({ error }) =>
          error === undefined ? contractStatus(undefined) : statusOfFailure(error),
        ),
      };
    },
  };
}
