import {
  create,
  createFileRegistry,
  type DescMessage,
  type Registry as Types,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  type FileDescriptorSet,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { CollectorError } from "../errors.ts";
import { isReservedPackage } from "../registry/built-ins.ts";
import { breakingChanges } from "../registry/compatibility/breaking-changes.ts";
import { quote, systemNamespace } from "../registry/names.ts";
import type { Registry } from "../registry/registry.ts";
import { indexFile } from "../registry/schema/file-index.ts";
import { invalidArchive } from "./archive-failures.ts";

/** Files of one schema at most. */
const filesMax = 2_000;

/** The types of an archive, linked apart from those of any namespace. */
export interface ArchivedTypes {
  readonly desc: DescMessage;
  readonly types: Types;
  /** All files, the built-in ones too, in binary form. */
  readonly descriptors: Uint8Array;
  /** What has to be registered, imports first. */
  readonly files: readonly FileDescriptorProto[];
}

/**
 * Links the types of an archive. Built-in files are this server's, whatever the archive has.
 *
 * @throws {CollectorError} ARCHIVE_INVALID
 */
export function linkTypes(
  schema: FileDescriptorSet | undefined,
  typeName: string,
  registry: Registry,
): ArchivedTypes {
  const given = schema?.file ?? [];
  if (given.length > filesMax) throw invalidArchive(`its schema has over ${filesMax} files`);
  const files = given.filter((file) => !isBuiltIn(file));
  try {
    // A built-in type needs no file of its own in the archive.
    const own = new Set(files.map(({ name }) => name));
    const imported = new Set(
      files.flatMap(({ dependency }) => dependency).filter((name) => !own.has(name)),
    );
    for (const { name } of given) if (!own.has(name)) imported.add(name);
    const symbols = imported.size === 0 && files.length === 0 ? [typeName] : [];
    const builtIn =
      imported.size === 0 && symbols.length === 0
        ? []
        : registry.closure(systemNamespace, [...imported], symbols).file;
    const all = create(FileDescriptorSetSchema, { file: [...builtIn, ...files] });
    const types = createFileRegistry(all);
    const desc = types.getMessage(typeName);
    if (desc === undefined) throw invalidArchive(`its schema has no message ${quote(typeName)}`);
    return { desc, types, descriptors: toBinary(FileDescriptorSetSchema, all), files };
  } catch (error) {
    if (error instanceof CollectorError && error.reason === "ARCHIVE_INVALID") throw error;
    throw invalidArchive("its schema does not link", error);
  }
}

/** A place for types, by name. */
export interface SchemaPlace {
  readonly registry: Registry;
  readonly namespace: string;
}

/**
 * Says whether the types can be had in a namespace, and registers nothing.
 *
 * @throws {CollectorError} SCHEMA_INCOMPATIBLE, SCHEMA_LIMIT_EXCEEDED; ARCHIVE_INVALID for files that no
 * registry would have taken
 */
export async function checkTypes(types: ArchivedTypes, place: SchemaPlace): Promise<void> {
  await registerAll(types, place, true);
}

/**
 * Registers what a namespace lacks: all of it or nothing.
 *
 * @returns whether all the types in force are those of the archive. Otherwise some are newer.
 * @throws {CollectorError} as {@link checkTypes}
 */
export async function registerTypes(types: ArchivedTypes, place: SchemaPlace): Promise<boolean> {
  const { registry, namespace } = place;
  await registry.ensureNamespace(namespace);
  return registerAll(types, place, false);
}

/** Whether the types in force in a namespace are those of the archive, registered already. */
export function areInForce({ files }: ArchivedTypes, place: SchemaPlace): boolean {
  return files.every((file) => isSameVersion(place, file));
}

async function registerAll(
  { files }: ArchivedTypes,
  place: SchemaPlace,
  validateOnly: boolean,
): Promise<boolean> {
  const { registry, namespace } = place;
  if (files.length === 0) return true;
  const wanted = files.filter((file) => !isSucceeded(file, place));
  const [last] = wanted.slice(-1);
  if (last !== undefined) {
    try {
      const dependencies = wanted.slice(0, -1);
      await registry.registerFile({ namespace, file: last, dependencies, validateOnly });
    } catch (error) {
      throw schemaFailure(error, namespace);
    }
  }
  if (validateOnly || wanted.length < files.length) return wanted.length === files.length;
  // Content of an earlier version is a success that leaves the newer one in force.
  const snapshot = registry.snapshot(namespace);
  return files.every((file) =>
    file.messageType.every(({ name }) => {
      const desc = snapshot.types.getMessage(
        file.package === "" ? name : `${file.package}.${name}`,
      );
      return desc?.file.proto.name !== file.name || isSameVersion(place, file);
    }),
  );
}

function isSameVersion({ registry, namespace }: SchemaPlace, file: FileDescriptorProto): boolean {
  try {
    const current = registry.getFile(namespace, file.name).fileDescriptor;
    return current !== undefined && describes(current) === describes(file);
  } catch {
    return false;
  }
}

/** Whether the namespace has a version of the file that may follow this one. */
function isSucceeded(file: FileDescriptorProto, { registry, namespace }: SchemaPlace): boolean {
  let current: FileDescriptorProto | undefined;
  try {
    current = registry.getFile(namespace, file.name).fileDescriptor;
  } catch {
    return false;
  }
  if (current === undefined || describes(current) === describes(file)) return false;
  const [before, after] = [indexFile(file), indexFile(current)];
  const changes = breakingChanges(before, after, {
    before: (name) => before.types.get(name),
    after: (name) => after.types.get(name),
  });
  // What was taken away is no breaking change by the rules, but data of it cannot be read.
  return changes.length === 0 && [...before.types.keys()].every((name) => after.types.has(name));
}

/** Without what does not matter to data. */
function describes({ sourceCodeInfo: _comments, ...file }: FileDescriptorProto): string {
  return JSON.stringify(file, (_key, value: unknown) =>
    typeof value === "bigint"
      ? `${value}n`
      : value instanceof Uint8Array
        ? Buffer.from(value).toString("base64")
        : value,
  );
}

function isBuiltIn(file: FileDescriptorProto): boolean {
  return isReservedPackage(file.package);
}

function schemaFailure(error: unknown, namespace: string): unknown {
  if (!(error instanceof CollectorError)) return error;
  if (error.reason === "DESCRIPTOR_INVALID" || error.reason === "NAME_INVALID") {
    return invalidArchive(`its schema is not valid: ${error.message}`, error);
  }
  const isConflict = ["SCHEMA_INCOMPATIBLE", "SYMBOL_EXISTS", "TYPE_IN_USE"].includes(error.reason);
  if (!isConflict) return error;
  return new CollectorError(
    "SCHEMA_INCOMPATIBLE",
    `the types do not fit those of namespace ${namespace}: ${error.message}`,
    { cause: error, subject: { ...error.subject, namespace }, violations: error.violations },
  );
}
