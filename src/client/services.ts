import { type Client as ConnectClient, createClient, type Transport } from "@connectrpc/connect";
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

/** A typed client for each service of the server. A call that fails throws a ClientError. */
export interface Services {
  readonly records: ConnectClient<typeof CollectionService>;
  readonly streams: ConnectClient<typeof RecordStreams>;
  readonly repo: ConnectClient<typeof CollectionRepo>;
  readonly admin: ConnectClient<typeof CollectionAdmin>;
  readonly files: ConnectClient<typeof FileService>;
  readonly registry: ConnectClient<typeof CollectorRegistry>;
  readonly types: ConnectClient<typeof TypeRegistry>;
  readonly namespaces: ConnectClient<typeof Namespaces>;
  readonly operations: ConnectClient<typeof Operations>;
  readonly backups: ConnectClient<typeof Backups>;
  readonly transfers: ConnectClient<typeof Transfers>;
  readonly hosts: ConnectClient<typeof ServiceHosts>;
  readonly dispatcher: ConnectClient<typeof CollectiveDispatcher>;
  readonly mesh: ConnectClient<typeof Mesh>;
}

/** The services behind a transport that throws what the callers shall see. */
export function createServices(transport: Transport): Services {
  return {
    records: createClient(CollectionService, transport),
    streams: createClient(RecordStreams, transport),
    repo: createClient(CollectionRepo, transport),
    admin: createClient(CollectionAdmin, transport),
    files: createClient(FileService, transport),
    registry: createClient(CollectorRegistry, transport),
    types: createClient(TypeRegistry, transport),
    namespaces: createClient(Namespaces, transport),
    operations: createClient(Operations, transport),
    backups: createClient(Backups, transport),
    transfers: createClient(Transfers, transport),
    hosts: createClient(ServiceHosts, transport),
    dispatcher: createClient(CollectiveDispatcher, transport),
    mesh: createClient(Mesh, transport),
  };
}
