import type {
  DescriptorProto,
  EnumDescriptorProto,
  FieldDescriptorProto,
  FileDescriptorProto,
  ServiceDescriptorProto,
} from "@bufbuild/protobuf/wkt";
import { type Features, fileFeatures, mergeFeatures } from "./features.ts";

/** A message of a file with what its place in the file says about it. */
export interface MessageEntry {
  readonly kind: "message";
  readonly fullName: string;
  readonly proto: DescriptorProto;
  readonly features: Features;
  /** Undefined for a message of the file's top level. */
  readonly parent: MessageEntry | undefined;
  readonly isMapEntry: boolean;
}

export interface EnumEntry {
  readonly kind: "enum";
  readonly fullName: string;
  readonly proto: EnumDescriptorProto;
  readonly features: Features;
}

export interface ServiceEntry {
  readonly kind: "service";
  readonly fullName: string;
  readonly proto: ServiceDescriptorProto;
}

export interface ExtensionEntry {
  readonly kind: "extension";
  readonly fullName: string;
  readonly proto: FieldDescriptorProto;
  /** The name in whose scope its type names resolve. */
  readonly scope: string;
  readonly features: Features;
}

export type TypeEntry = MessageEntry | EnumEntry | ServiceEntry;

/** Everything a file declares, by full name. */
export interface FileIndex {
  readonly file: FileDescriptorProto;
  readonly features: Features;
  /** Messages (map entries too), enums and services, nested ones included. */
  readonly types: ReadonlyMap<string, TypeEntry>;
  readonly extensions: readonly ExtensionEntry[];
  /** Names that other files of the namespace must not declare: those outside of any message. */
  readonly outerSymbols: ReadonlySet<string>;
}

/** The full name of something called `name` in `scope`, which may be empty. */
export function qualify(scope: string, name: string): string {
  return scope === "" ? name : `${scope}.${name}`;
}

/**
 * Indexes a file. Where a file declares one name twice the last one is found; the validation
 * refuses such a file.
 */
export function indexFile(file: FileDescriptorProto): FileIndex {
  const features = fileFeatures(file);
  const types = new Map<string, TypeEntry>();
  const extensions: ExtensionEntry[] = [];
  const outerSymbols = new Set<string>();
  const scope = file.package;

  const addEnum = (proto: EnumDescriptorProto, scope: string, features: Features): void => {
    const fullName = qualify(scope, proto.name);
    const merged = mergeFeatures(features, proto.options);
    types.set(fullName, { kind: "enum", fullName, proto, features: merged });
  };
  const addExtension = (proto: FieldDescriptorProto, scope: string, features: Features): void => {
    const fullName = qualify(scope, proto.name);
    const merged = mergeFeatures(features, proto.options);
    extensions.push({ kind: "extension", fullName, proto, scope, features: merged });
  };
  const addMessage = (
    proto: DescriptorProto,
    scope: string,
    inherited: Features,
    parent: MessageEntry | undefined,
  ): void => {
    const entry: MessageEntry = {
      kind: "message",
      fullName: qualify(scope, proto.name),
      proto,
      features: mergeFeatures(inherited, proto.options),
      parent,
      isMapEntry: proto.options?.mapEntry === true,
    };
    types.set(entry.fullName, entry);
    for (const nested of proto.enumType) addEnum(nested, entry.fullName, entry.features);
    for (const nested of proto.extension) addExtension(nested, entry.fullName, entry.features);
    for (const nested of proto.nestedType) {
      addMessage(nested, entry.fullName, entry.features, entry);
    }
  };

  for (const proto of file.messageType) {
    addMessage(proto, scope, features, undefined);
    outerSymbols.add(qualify(scope, proto.name));
  }
  for (const proto of file.enumType) {
    addEnum(proto, scope, features);
    outerSymbols.add(qualify(scope, proto.name));
    // The values of an enum are its siblings, not its children.
    for (const value of proto.value) outerSymbols.add(qualify(scope, value.name));
  }
  for (const proto of file.extension) {
    addExtension(proto, scope, features);
    outerSymbols.add(qualify(scope, proto.name));
  }
  for (const proto of file.service) {
    const fullName = qualify(scope, proto.name);
    types.set(fullName, { kind: "service", fullName, proto });
    outerSymbols.add(fullName);
  }
  return { file, features, types, extensions, outerSymbols };
}

/** Full names of a file's messages, in order of declaration, without map entries. */
export function messageNames(index: FileIndex): string[] {
  const names: string[] = [];
  for (const entry of index.types.values()) {
    if (entry.kind === "message" && !entry.isMapEntry) names.push(entry.fullName);
  }
  return names;
}
