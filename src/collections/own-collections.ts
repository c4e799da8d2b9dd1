import type { DescMessage } from "@bufbuild/protobuf";
import { BackupPolicySchema } from "../gen/collector/backups_pb.ts";
import { CollectionSchema } from "../gen/collector/collection_pb.ts";
import { BackupMetadataSchema } from "../gen/collector/collection_repo_pb.ts";
import { ConnectionSchema, DispatchSchema } from "../gen/collector/dispatcher_pb.ts";
import { NamespaceSchema } from "../gen/collector/namespaces_pb.ts";
import { OperationSchema } from "../gen/collector/operations_pb.ts";
import { RegisteredProtoSchema, RegisteredServiceSchema } from "../gen/collector/registry_pb.ts";
import { RemovedRegistrationSchema } from "../gen/collector/sharing_pb.ts";

/** What this server keeps of itself: the collections of namespace `system`. */
export const systemCollections: Readonly<Record<string, DescMessage>> = {
  backups: BackupMetadataSchema,
  collections: CollectionSchema,
  connections: ConnectionSchema,
  dispatches: DispatchSchema,
  namespaces: NamespaceSchema,
  operations: OperationSchema,
  policies: BackupPolicySchema,
  protos: RegisteredProtoSchema,
  removals: RemovedRegistrationSchema,
  services: RegisteredServiceSchema,
};
