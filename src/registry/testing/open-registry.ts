import { CollectionRepo } from "../../gen/collector/collection_repo_pb.ts";
import { CollectionService } from "../../gen/collector/collection_server_pb.ts";
import { NamespaceSchema, Namespaces } from "../../gen/collector/namespaces_pb.ts";
import {
  CollectorRegistry,
  RegisteredProtoSchema,
  RegisteredServiceSchema,
} from "../../gen/collector/registry_pb.ts";
import { RemovedRegistrationSchema } from "../../gen/collector/sharing_pb.ts";
import { TypeRegistry } from "../../gen/collector/type_registry_pb.ts";
import { defaultLimits } from "../../lib/limits.ts";
import { Registry } from "../registry.ts";
import type { RegistryOptions } from "../requests.ts";
import { MemoryRecords } from "./memory-records.ts";

/** A registry on records in memory, and what stands around it. */
export interface TestRegistry {
  readonly registry: Registry;
  readonly protos: MemoryRecords<typeof RegisteredProtoSchema>;
  readonly services: MemoryRecords<typeof RegisteredServiceSchema>;
  readonly namespaces: MemoryRecords<typeof NamespaceSchema>;
  /** Collections by namespace: name and type of each. A test adds to them. */
  readonly collections: Map<string, Map<string, string>>;
  /** A second registry on the same records, as after a restart. */
  readonly reopen: () => Promise<Registry>;
}

export async function openRegistry(options: Partial<RegistryOptions> = {}): Promise<TestRegistry> {
  const protos = new MemoryRecords(RegisteredProtoSchema);
  const services = new MemoryRecords(RegisteredServiceSchema);
  const namespaces = new MemoryRecords(NamespaceSchema);
  const collections = new Map<string, Map<string, string>>();
  const all: RegistryOptions = {
    protos,
    services,
    namespaces,
    removals: new MemoryRecords(RemovedRegistrationSchema),
    builtInServices: [
      CollectionService,
      CollectionRepo,
      CollectorRegistry,
      TypeRegistry,
      Namespaces,
    ],
    defaultNamespace: "default",
    limits: defaultLimits,
    checkEndpoint: () => undefined,
    nowMs: () => 1_700_000_000_000,
    usage: {
      collectionsUsing: (namespace, types) =>
        [...(collections.get(namespace) ?? [])]
          .filter(([, type]) => types.has(type))
          .map(([name]) => name),
      hasCollections: (namespace) => (collections.get(namespace)?.size ?? 0) > 0,
    },
    ...options,
  };
  return {
    registry: await Registry.open(all),
    protos,
    services,
    namespaces,
    collections,
    reopen: () => Registry.open(all),
  };
}
