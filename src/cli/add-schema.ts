import type { DescriptorProto, FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import type { Client } from "../client/client.ts";
import { ClientError } from "../client/client-error.ts";
import { type RegisteredFileResult, registerFiles } from "../client/register.ts";
import { type CompiledFile, compileProtos, type ProtoSource } from "./proto/compiler.ts";
import type { SchemaSources } from "./schema-sources.ts";

export interface AddSchemaRequest {
  readonly client: Client;
  readonly sources: SchemaSources;
  readonly namespace: string;
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
}

/** What a registration has brought: how many more there are of each kind. */
export interface SchemaReport {
  readonly files: readonly RegisteredFileResult[];
  readonly messages: number;
  readonly enums: number;
  readonly services: number;
}

/**
 * Compiles and registers files with their imports, then the services of the files that were named.
 *
 * An import that is not in the sources may be registered already: it is fetched from the server.
 *
 * @throws {ProtoCompileError} nothing is registered
 * @throws {ClientError} earlier files may be registered; to add them again changes nothing
 */
export async function addSchema(request: AddSchemaRequest): Promise<SchemaReport> {
  const { client, namespace, dryRun, signal } = request;
  const { own, ownFiles } = await compileWith(request);
  const protos = own;
  const options = { namespace, validateOnly: dryRun, signal };
  const files = await registerFiles(client.services.registry, protos, options);
  if (!dryRun) await registerServices(request, ownFiles);
  const report = { files, messages: 0, enums: 0, services: 0 };
  for (const { name, version, unchanged } of files) {
    const proto = protos.find((candidate) => candidate.name === name);
    if (proto === undefined || unchanged) continue;
    const before = version > 1n ? await fetchVersion(request, name, version - 1n) : undefined;
    report.messages += countMessages(proto) - countMessages(before);
    report.enums += proto.enumType.length - (before?.enumType.length ?? 0);
    report.services += proto.service.length - (before?.service.length ?? 0);
  }
  return report;
}

/** What was compiled: everything, imports first, and what of it is to be registered. */
export interface Compiled {
  readonly all: readonly FileDescriptorProto[];
  readonly own: readonly FileDescriptorProto[];
  readonly ownFiles: readonly CompiledFile[];
}

/** Compiles files with their imports, which the namespace may have. @throws {ProtoCompileError} */
export async function compileWith(request: Omit<AddSchemaRequest, "dryRun">): Promise<Compiled> {
  const { sources } = request;
  const fetched = new Set<string>();
  const compiled = await compileProtos({
    files: sources.files,
    find: async (name) => {
      const source = await sources.find(name);
      if (source !== undefined) return source;
      const registered = await fetchFile(request, name);
      if (registered !== undefined) fetched.add(name);
      return registered;
    },
    known: () => sources.known(),
  });
  const ownFiles = compiled.filter(
    ({ proto, origin }) => origin !== "well-known" && !fetched.has(proto.name),
  );
  return {
    all: compiled.map(({ proto }) => proto),
    own: ownFiles.map(({ proto }) => proto),
    ownFiles,
  };
}

async function fetchVersion(
  { client, namespace, signal }: AddSchemaRequest,
  name: string,
  version: bigint,
): Promise<FileDescriptorProto | undefined> {
  const { file } = await client.services.types.getFile({ namespace, name, version }, { signal });
  return file?.fileDescriptor;
}

async function fetchFile(
  { client, namespace, signal }: Omit<AddSchemaRequest, "dryRun">,
  name: string,
): Promise<ProtoSource | undefined> {
  try {
    const { file } = await client.services.types.getFile({ namespace, name }, { signal });
    const descriptor = file?.fileDescriptor;
    return descriptor === undefined ? undefined : { descriptor };
  } catch (error) {
    if (error instanceof ClientError && error.status === "NotFound") return undefined;
    throw error;
  }
}

async function registerServices(
  { client, namespace, signal }: AddSchemaRequest,
  files: readonly CompiledFile[],
): Promise<void> {
  for (const { proto, requested } of files) {
    if (!requested) continue;
    for (const { name } of proto.service) {
      const serviceName = proto.package === "" ? name : `${proto.package}.${name}`;
      await client.services.registry.registerService(
        { namespace, fileName: proto.name, serviceName },
        { signal },
      );
    }
  }
}

/** Messages with those nested in them; the entries of maps are nobody's messages. */
function countMessages(file: FileDescriptorProto | undefined): number {
  const countIn = (messages: readonly DescriptorProto[]): number =>
    messages
      .filter(({ options }) => options?.mapEntry !== true)
      .reduce((total, { nestedType }) => total + 1 + countIn(nestedType), 0);
  return countIn(file?.messageType ?? []);
}
