import type { DescFile, DescMethod, DescService } from "@bufbuild/protobuf";
import * as wkt from "@bufbuild/protobuf/wkt";
import { file_collector_collection_admin } from "../gen/collector/collection_admin_pb.ts";
import { file_collector_collection } from "../gen/collector/collection_pb.ts";
import { file_collector_collection_repo } from "../gen/collector/collection_repo_pb.ts";
import { file_collector_collection_server } from "../gen/collector/collection_server_pb.ts";
import { file_collector_common } from "../gen/collector/common_pb.ts";
import { file_collector_dispatcher } from "../gen/collector/dispatcher_pb.ts";
import { file_collector_namespaces } from "../gen/collector/namespaces_pb.ts";
import { file_collector_operations } from "../gen/collector/operations_pb.ts";
import { file_collector_registry } from "../gen/collector/registry_pb.ts";
import { file_collector_type_registry } from "../gen/collector/type_registry_pb.ts";
import { builtInFile, type LinkedFile, prefixes } from "./schema/linked-file.ts";
import { TypeTable } from "./type-table.ts";

/** Files that every namespace has, next to those of the services that are served. */
const roots: readonly DescFile[] = [
  wkt.file_google_protobuf_any,
  wkt.file_google_protobuf_api,
  wkt.file_google_protobuf_compiler_plugin,
  wkt.file_google_protobuf_cpp_features,
  wkt.file_google_protobuf_descriptor,
  wkt.file_google_protobuf_duration,
  wkt.file_google_protobuf_empty,
  wkt.file_google_protobuf_field_mask,
  wkt.file_google_protobuf_go_features,
  wkt.file_google_protobuf_java_features,
  wkt.file_google_protobuf_source_context,
  wkt.file_google_protobuf_struct,
  wkt.file_google_protobuf_timestamp,
  wkt.file_google_protobuf_type,
  wkt.file_google_protobuf_wrappers,
  file_collector_collection,
  file_collector_collection_admin,
  file_collector_collection_repo,
  file_collector_collection_server,
  file_collector_common,
  file_collector_dispatcher,
  file_collector_namespaces,
  file_collector_operations,
  file_collector_registry,
  file_collector_type_registry,
];

const reserved = ["google.protobuf", "collector"];

/** Whether the names of a package belong to protobuf or to the collector. */
export function isReservedPackage(name: string): boolean {
  return reserved.some((prefix) => name === prefix || name.startsWith(`${prefix}.`));
}

/** What every namespace has without registering it. The same for all namespaces. */
export class BuiltIns {
  readonly files: ReadonlyMap<string, LinkedFile>;
  readonly services: ReadonlyMap<string, DescService>;
  /** The methods of each service, by name. */
  readonly methods: ReadonlyMap<string, ReadonlyMap<string, DescMethod>>;
  readonly types: TypeTable;
  /** The file of each name that is declared outside of messages. */
  readonly symbols: ReadonlyMap<string, string>;
  /** Packages, with the packages that hold them. */
  readonly packages: ReadonlySet<string>;

  /** @param services those that are served; they are registered in every namespace */
  constructor(services: readonly DescService[]) {
    const files = new Map<string, LinkedFile>();
    for (const root of [...roots, ...services.map((service) => service.file)]) {
      for (const desc of withImports(root)) {
        if (!files.has(desc.proto.name)) files.set(desc.proto.name, builtInFile(desc));
      }
    }
    const symbols = new Map<string, string>();
    const packages = new Set<string>();
    const types = new TypeTable();
    for (const file of files.values()) {
      for (const symbol of file.index.outerSymbols) symbols.set(symbol, file.name);
      for (const prefix of prefixes(file.index.file.package)) packages.add(prefix);
      types.add(file.desc);
    }
    // A contract may define services that are not served; those must not show.
    const served = new Map(services.map((service) => [service.typeName, service]));
    types.dropServices((service) => !served.has(service.typeName));
    this.files = files;
    this.services = served;
    this.methods = new Map(
      services.map((service) => [service.typeName, methodsByName(service)] as const),
    );
    this.types = types;
    this.symbols = symbols;
    this.packages = packages;
  }
}

export function methodsByName(service: DescService): ReadonlyMap<string, DescMethod> {
  return new Map(service.methods.map((method) => [method.name, method] as const));
}

/** A file after all that it imports. */
function withImports(root: DescFile): DescFile[] {
  const seen = new Set<string>();
  const result: DescFile[] = [];
  const visit = (file: DescFile): void => {
    if (seen.has(file.proto.name)) return;
    seen.add(file.proto.name);
    for (const dependency of file.dependencies) visit(dependency);
    result.push(file);
  };
  visit(root);
  return result;
}
