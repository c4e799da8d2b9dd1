import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Backups, Transfers } from "../gen/collector/backups_pb.ts";
import { CollectionAdmin } from "../gen/collector/collection_admin_pb.ts";
import { CollectionRepo } from "../gen/collector/collection_repo_pb.ts";
import { CollectionService } from "../gen/collector/collection_server_pb.ts";
import { CollectiveDispatcher } from "../gen/collector/dispatcher_pb.ts";
import { FileService } from "../gen/collector/files_pb.ts";
import { Mesh } from "../gen/collector/mesh_pb.ts";
import { Namespaces } from "../gen/collector/namespaces_pb.ts";
import { Operations } from "../gen/collector/operations_pb.ts";
import { RecordStreams } from "../gen/collector/record_streams_pb.ts";
import { CollectorRegistry } from "../gen/collector/registry_pb.ts";
import { ServiceHosts } from "../gen/collector/service_hosts_pb.ts";
import { TypeRegistry } from "../gen/collector/type_registry_pb.ts";

/** What this version serves of the contract, and what we add to it. */
export const servedServices: readonly DescService[] = [
  CollectionService,
  CollectionRepo,
  CollectorRegistry,
  CollectionAdmin,
  FileService,
  TypeRegistry,
  Namespaces,
  Operations,
  RecordStreams,
  Backups,
  ServiceHosts,
  Transfers,
  CollectiveDispatcher,
  Mesh,
];

/** Unary methods that wait for work whose length nobody knows: no deadline is set for their callers. */
const unlimited: ReadonlySet<DescMethod> = new Set<DescMethod>([
  Operations.method.waitOperation,
  CollectionRepo.method.backupCollection,
  CollectionRepo.method.restoreBackup,
  CollectionRepo.method.verifyBackup,
  CollectionRepo.method.clone,
  CollectionRepo.method.fetch,
  Backups.method.backupServer,
  Backups.method.restoreServer,
  Backups.method.importBackups,
  Backups.method.runBackupPolicy,
]);

/** Whether no deadline is set for the callers of a unary method. */
export function isUnlimited(method: DescMethod): boolean {
  return unlimited.has(method);
}
