import { create } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { CollectorError } from "../errors.ts";
import type { RegisteredProto } from "../gen/collector/registry_pb.ts";
import {
  type RegisteredType,
  RegisteredType_Kind,
  RegisteredTypeSchema,
} from "../gen/collector/type_registry_pb.ts";
import type { Limits } from "../lib/limits.ts";
import { encodePageToken, type PageQuery, type PageRequest, readPage } from "../lib/page-token.ts";
import { didYouMean } from "../lib/suggest.ts";
import type { BuiltIns } from "./built-ins.ts";
import { quote, refuseEmpty } from "./names.ts";
import type { FileState, NamespaceState } from "./namespace-state.ts";
import { builtInProto, toRegisteredProto } from "./records.ts";
import { builtInVersion } from "./schema/linked-file.ts";

export type PageLimits = Pick<Limits, "pageSizeDefault" | "pageSizeMax">;

export interface FilesQuery extends PageRequest {
  /** Part of the name or of the package, in any case; empty finds all. */
  readonly query: string;
  /** Without descriptors the answer is short. */
  readonly includeDescriptors: boolean;
}

export interface FilesPage {
  readonly files: readonly RegisteredProto[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

export interface TypesQuery extends PageRequest {
  /** Part of the full name, in any case; empty finds all. */
  readonly query: string;
  /** UNSPECIFIED finds all. */
  readonly kind: RegisteredType_Kind;
}

export interface ListedTypesPage {
  readonly types: readonly RegisteredType[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

/** One page of items that are sorted by their keys. */
export function pageOf<T>(
  items: readonly T[],
  keyOf: (item: T) => string,
  request: PageRequest,
  query: PageQuery,
  limits: PageLimits,
): { readonly items: readonly T[]; readonly nextPageToken: string } {
  const { size, after } = readPage(request, query, limits);
  const start = after === undefined ? 0 : items.findIndex((item) => keyOf(item) > after);
  if (start === -1) return { items: [], nextPageToken: "" };
  const page = items.slice(start, start + size);
  const last = page.at(-1);
  const isLast = last === undefined || start + size >= items.length;
  return { items: page, nextPageToken: isLast ? "" : encodePageToken(query, keyOf(last)) };
}

/** In the order of `<` on strings, which the cursors of pages rely on. */
export function byKey<T>(keyOf: (item: T) => string): (a: T, b: T) => number {
  return (a, b) => {
    const [x, y] = [keyOf(a), keyOf(b)];
    return x < y ? -1 : x > y ? 1 : 0;
  };
}

interface Files {
  readonly namespace: string;
  readonly files: ReadonlyMap<string, FileState>;
}

/**
 * @param version 0 for a built-in file, undefined for what is in force
 * @throws {CollectorError} ARGUMENT_MISSING, FILE_NOT_FOUND
 */
export function findFile(
  { namespace, files }: Files,
  builtIns: BuiltIns,
  name: string,
  version: bigint | undefined,
): RegisteredProto {
  const state = files.get(name);
  const builtIn = builtIns.files.get(name);
  const wanted = version ?? state?.linked.version ?? builtInVersion;
  if (wanted === builtInVersion && builtIn !== undefined) return builtInProto(namespace, builtIn);
  const found = state?.versions.find((candidate) => candidate.version === wanted);
  if (found !== undefined) return toRegisteredProto(namespace, found);
  refuseEmpty(name, "name", "file");
  const newest = state?.linked.version;
  throw new CollectorError(
    "FILE_NOT_FOUND",
    newest === undefined
      ? `there is no file ${quote(name)} in namespace ${namespace}${didYouMean(name, files.keys())}`
      : `${name} has no version ${wanted} in namespace ${namespace}; the newest is ${newest}`,
    { subject: { namespace, file: name.slice(0, 512) } },
  );
}

/** Files in force, by name. */
export function listFiles(state: NamespaceState, query: FilesQuery, limits: PageLimits): FilesPage {
  const wanted = query.query.toLowerCase();
  const matching = [...state.files.values()]
    .filter(({ linked: { name, index } }) =>
      [name, index.file.package].some((text) => text.toLowerCase().includes(wanted)),
    )
    .sort(byKey(fileName));
  const key = ["ListFiles", state.namespace, query.query, String(query.includeDescriptors)];
  const page = pageOf(matching, fileName, query, key, limits);
  const files = page.items
    .flatMap(({ versions }) => versions.at(-1) ?? [])
    .map((version) => {
      const record = toRegisteredProto(state.namespace, version);
      if (!query.includeDescriptors) withoutDescriptor(record);
      return record;
    });
  return { files, nextPageToken: page.nextPageToken };
}

/** Without its descriptor a record still says which file it is of. */
function withoutDescriptor(record: RegisteredProto): void {
  const file = record.fileDescriptor;
  if (file === undefined) return;
  record.fileDescriptor = create(FileDescriptorProtoSchema, {
    name: file.name,
    package: file.package,
    syntax: file.syntax,
  });
}

function fileName({ linked }: FileState): string {
  return linked.name;
}

/** Versions of one file, the newest first. @throws {CollectorError} ARGUMENT_MISSING, FILE_NOT_FOUND */
export function listFileVersions(
  state: NamespaceState,
  name: string,
  request: PageRequest,
  limits: PageLimits,
): FilesPage {
  const file = state.files.get(name);
  if (file === undefined) {
    refuseEmpty(name, "name", "file");
    throw new CollectorError(
      "FILE_NOT_FOUND",
      `there is no file ${quote(name)} in namespace ${state.namespace}${didYouMean(name, state.files.keys())}`,
      { subject: { namespace: state.namespace, file: name.slice(0, 512) } },
    );
  }
  const key = ["ListFileVersions", state.namespace, name];
  // Keys have to grow along the list, while versions fall.
  const keyOf = ({ version }: { version: bigint }) =>
    String(Number.MAX_SAFE_INTEGER - Number(version));
  const page = pageOf(file.versions.toReversed(), keyOf, request, key, limits);
  return {
    files: page.items.map((version) => toRegisteredProto(state.namespace, version)),
    nextPageToken: page.nextPageToken,
  };
}

/** Messages, enums and registered services of the namespace, by name. */
export function listTypes(
  state: NamespaceState,
  query: TypesQuery,
  limits: PageLimits,
): ListedTypesPage {
  const wanted = query.query.toLowerCase();
  const matching: { name: string; kind: RegisteredType_Kind; fileName: string }[] = [];
  for (const desc of state.types.values()) {
    const name = desc.typeName;
    const kind = kindOf(desc.kind);
    const isListed =
      kind !== undefined &&
      (query.kind === RegisteredType_Kind.KIND_UNSPECIFIED || query.kind === kind) &&
      (kind !== RegisteredType_Kind.SERVICE || state.services.has(name)) &&
      name.toLowerCase().includes(wanted);
    if (isListed) matching.push({ name, kind, fileName: desc.file.proto.name });
  }
  matching.sort(byKey(typeName));
  const key = ["ListTypes", state.namespace, query.query, String(query.kind)];
  const page = pageOf(matching, typeName, query, key, limits);
  const types = page.items.map(({ name, kind, fileName }) =>
    create(RegisteredTypeSchema, {
      name,
      kind,
      fileName,
      version: state.files.get(fileName)?.linked.version ?? builtInVersion,
    }),
  );
  return { types, nextPageToken: page.nextPageToken };
}

function typeName({ name }: { readonly name: string }): string {
  return name;
}

function kindOf(kind: string): RegisteredType_Kind | undefined {
  switch (kind) {
    case "message":
      return RegisteredType_Kind.MESSAGE;
    case "enum":
      return RegisteredType_Kind.ENUM;
    case "service":
      return RegisteredType_Kind.SERVICE;
    default:
      return undefined;
  }
}
