import type { DescService } from "@bufbuild/protobuf";
import type { FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import type { SystemRecords } from "../collections/system-records.ts";
import type { Namespace } from "../gen/collector/namespaces_pb.ts";
import type { RegisteredProto, RegisteredService } from "../gen/collector/registry_pb.ts";
import type { ServiceEndpoint } from "../gen/collector/service_hosts_pb.ts";
import type { RemovedRegistration } from "../gen/collector/sharing_pb.ts";
import type { Limits } from "../lib/limits.ts";
import type { FileOutcome } from "./intake.ts";
import type { SchemaLimits } from "./schema/measure.ts";
import type { HostingChecks, HostingRequest } from "./service-hosting.ts";
import type { ServiceChoice } from "./services.ts";
import type { TypeUsage } from "./type-usage.ts";

export interface RegistryOptions {
  /** One record per version of a file. */
  readonly protos: SystemRecords<RegisteredProto>;
  readonly services: SystemRecords<RegisteredService>;
  readonly namespaces: SystemRecords<Namespace>;
  readonly removals: SystemRecords<RemovedRegistration>;
  /** Whether removals in a namespace have to be remembered, as its registrations are shared. */
  readonly keepsRemovals?: (namespace: string) => boolean;
  /** The services that this server serves: registered in every namespace unless switched off. */
  readonly builtInServices: readonly DescService[];
  readonly defaultNamespace: string;
  readonly limits: SchemaLimits &
    Pick<Limits, "pageSizeDefault" | "pageSizeMax"> &
    HostingChecks["limits"];
  readonly checkEndpoint: HostingChecks["checkEndpoint"];
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  readonly usage: TypeUsage;
  /** Told when another snapshot of a namespace is in force. */
  readonly onChange?: (namespace: string) => void;
  /** Told when a namespace came or went. */
  readonly onNamespaces?: (() => void) | undefined;
}

export interface RegisterFileRequest {
  readonly namespace: string;
  readonly file: FileDescriptorProto | undefined;
  readonly dependencies: readonly FileDescriptorProto[];
  /** Checks everything and stores nothing. */
  readonly validateOnly: boolean;
}

export interface RegisterFileResult {
  /** Id of the record of the file's version. */
  readonly protoId: string;
  readonly version: bigint;
  /** Full names of the file's messages. */
  readonly registeredMessages: readonly string[];
  /** The file first, then the dependencies that were sent. */
  readonly files: readonly FileOutcome[];
}

export interface RegisterServiceRequest extends ServiceChoice {
  readonly namespace: string;
  /** Registered first, if it is sent. */
  readonly file: FileDescriptorProto | undefined;
  /** Who runs it; without it, as before. */
  readonly hosting?: HostingRequest | undefined;
  readonly validateOnly: boolean;
}

export interface RegisterServiceResult {
  readonly serviceId: string;
  readonly registeredMethods: readonly string[];
  /** Those that it has then. */
  readonly endpoints: readonly ServiceEndpoint[];
}

export interface NamespacesPage {
  readonly namespaces: readonly Namespace[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}
