import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  type ServiceDescriptorProto,
  timestampFromMs,
  timestampMs,
} from "@bufbuild/protobuf/wkt";
import { CollectorError } from "../errors.ts";
import type { Metadata } from "../gen/collector/common_pb.ts";
import { MetadataSchema } from "../gen/collector/common_pb.ts";
import {
  type RegisteredProto,
  RegisteredProtoSchema,
  type RegisteredService,
  RegisteredServiceSchema,
} from "../gen/collector/registry_pb.ts";
import { isMoment } from "../lib/timestamps.ts";
import type { FileVersion } from "./namespace-state.ts";
import { fileRecordId, serviceRecordId } from "./record-ids.ts";
import { indexFile, messageNames } from "./schema/file-index.ts";
import { builtInVersion, type LinkedFile } from "./schema/linked-file.ts";
import { canonicalBytes, canonicalCopy } from "./schema/normalize.ts";
import type { Hosting } from "./service-hosting.ts";

/** The record of one version of a file. */
export function toRegisteredProto(namespace: string, version: FileVersion): RegisteredProto {
  const file = fromBinary(FileDescriptorProtoSchema, version.source);
  return create(RegisteredProtoSchema, {
    id: version.id,
    namespace,
    messageNames: messageNames(indexFile(file)),
    fileDescriptor: file,
    dependencies: [...file.dependency],
    metadata: writtenAt(version.createdMs, version.createdMs, version.origin),
    version: version.version,
  });
}

/** The same for a built-in file, which has no record. */
export function builtInProto(namespace: string, linked: LinkedFile): RegisteredProto {
  return create(RegisteredProtoSchema, {
    id: fileRecordId(namespace, linked.name, builtInVersion),
    namespace,
    messageNames: messageNames(linked.index),
    fileDescriptor: fromBinary(FileDescriptorProtoSchema, linked.source),
    dependencies: [...linked.index.file.dependency],
    version: builtInVersion,
    builtIn: true,
  });
}

/** @throws {CollectorError} STORAGE_CORRUPT if the record is not one that this module made */
export function toFileVersion(record: RegisteredProto): { name: string; version: FileVersion } {
  const { id, namespace, fileDescriptor, version, metadata } = record;
  if (fileDescriptor === undefined || version < 1n || namespace === "") {
    throw new CollectorError("STORAGE_CORRUPT", `the record ${id} of a registered file is damaged`);
  }
  const source = toBinary(FileDescriptorProtoSchema, fileDescriptor);
  const canonical = canonicalBytes(canonicalCopy(source));
  return {
    name: fileDescriptor.name,
    version: {
      id,
      version,
      source,
      canonical: Buffer.compare(source, canonical) === 0 ? source : canonical,
      createdMs: metadata?.createdAt === undefined ? 0 : timestampMs(metadata.createdAt),
      origin: originOf(record),
    },
  };
}

/** What a record of a service says. */
export interface ServiceContent {
  readonly namespace: string;
  /** The full name. */
  readonly name: string;
  readonly descriptor: ServiceDescriptorProto;
  readonly fileName: string;
  readonly fileVersion: bigint;
  readonly builtIn: boolean;
  readonly metadata: Metadata | undefined;
  readonly hosting: Hosting;
}

export function toRegisteredService(content: ServiceContent): RegisteredService {
  const { namespace, name, descriptor, metadata } = content;
  return create(RegisteredServiceSchema, {
    id: serviceRecordId(namespace, name),
    namespace,
    serviceName: name,
    serviceDescriptor: descriptor,
    methodNames: descriptor.method.map((method) => method.name),
    ...(metadata === undefined ? {} : { metadata }),
    fileName: content.fileName,
    version: content.fileVersion,
    builtIn: content.builtIn,
    endpoints: [...content.hosting.endpoints],
    idempotentMethods: [...content.hosting.idempotentMethods],
  });
}

/** Label of what was taken over from another collector: the id of the one that it was registered at. */
export const originLabel = "origin_collector_id";

/** @param origin of what was taken over: the collector that it was registered at */
export function writtenAt(createdMs: number, updatedMs: number, origin = ""): Metadata {
  return create(MetadataSchema, {
    createdAt: timestampFromMs(createdMs),
    updatedAt: timestampFromMs(updatedMs),
    labels: origin === "" ? {} : { [originLabel]: origin },
  });
}

/** The collector that a registration was taken over from; empty if it was registered here. */
export function originOf({ metadata }: { readonly metadata?: Metadata | undefined }): string {
  return metadata?.labels[originLabel] ?? "";
}

/** Whether it says when it was created, and a record can tell that. */
export function isSound({ metadata }: { readonly metadata?: Metadata | undefined }): boolean {
  const createdAt = metadata?.createdAt;
  return createdAt !== undefined && createdAt.seconds >= 0n && isMoment(createdAt);
}
