import { create, createFileRegistry, type DescFile, type DescMessage } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { Client } from "../client/client.ts";
import { ClientError } from "../client/client-error.ts";
import { compileWith } from "./add-schema.ts";
import { diffSchemas, type SchemaChange, type SchemaPart } from "./schema-diff.ts";
import type { SchemaSources } from "./schema-sources.ts";

export interface CompareRequest {
  readonly client: Client;
  readonly sources: SchemaSources;
  readonly namespace: string;
  readonly signal: AbortSignal;
}

/** How files differ from what is registered under their names. */
export interface SchemaDifference {
  readonly files: readonly { readonly name: string; readonly isRegistered: boolean }[];
  readonly changes: readonly SchemaChange[];
}

/** Compiles files and compares them with what is registered. @throws {ProtoCompileError} */
export async function compareSchema(request: CompareRequest): Promise<SchemaDifference> {
  const { all, own } = await compileWith(request);
  const now = partOf(registryOf(all), new Set(own.map(({ name }) => name)));
  const files: { name: string; isRegistered: boolean }[] = [];
  const registered: FileDescriptorProto[] = [];
  const names = new Set<string>();
  for (const { name } of own) {
    const found = await closureOf(request, name);
    files.push({ name, isRegistered: found !== undefined });
    if (found === undefined) continue;
    names.add(name);
    for (const file of found) {
      if (!registered.some((other) => other.name === file.name)) registered.push(file);
    }
  }
  const before = partOf(registryOf(registered), names);
  return { files, changes: diffSchemas(before, now) };
}

/** A file as it is registered, behind all that it imports; undefined if it is not. */
async function closureOf(
  { client, namespace, signal }: CompareRequest,
  name: string,
): Promise<readonly FileDescriptorProto[] | undefined> {
  try {
    const { fileDescriptorSet } = await client.services.types.getFileDescriptorSet(
      { namespace, fileNames: [name] },
      { signal },
    );
    return fileDescriptorSet?.file ?? [];
  } catch (error) {
    if (error instanceof ClientError && error.status === "NotFound") return undefined;
    throw error;
  }
}

function registryOf(files: readonly FileDescriptorProto[]): readonly DescFile[] {
  return [...createFileRegistry(create(FileDescriptorSetSchema, { file: [...files] })).files];
}

function partOf(files: readonly DescFile[], names: ReadonlySet<string>): SchemaPart {
  const messages = new Map<string, DescMessage>();
  const enums = new Map<string, ReadonlyMap<number, string>>();
  const services: [string, DescFile["services"][number]["methods"]][] = [];
  const visit = (parent: Pick<DescFile, "messages" | "enums"> | DescMessage): void => {
    const nested = "nestedMessages" in parent ? parent.nestedMessages : parent.messages;
    const nestedEnums = "nestedEnums" in parent ? parent.nestedEnums : parent.enums;
    for (const { typeName, values } of nestedEnums) {
      enums.set(typeName, new Map(values.map(({ number, name }) => [number, name])));
    }
    for (const message of nested) {
      messages.set(message.typeName, message);
      visit(message);
    }
  };
  for (const file of files) {
    if (!names.has(file.proto.name)) continue;
    visit(file);
    for (const { typeName, methods } of file.services) services.push([typeName, methods]);
  }
  return { messages, enums, services: new Map(services) };
}
