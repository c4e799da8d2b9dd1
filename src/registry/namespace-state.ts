import type { RegisteredService } from "../gen/collector/registry_pb.ts";
import type { BuiltIns } from "./built-ins.ts";
import { ForkableMap } from "./forkable-map.ts";
import { type LinkedFile, prefixes, publicImports } from "./schema/linked-file.ts";
import type { SchemaSize } from "./schema/measure.ts";
import { TypeTable } from "./type-table.ts";

/** One version of a file, as it is stored. */
export interface FileVersion {
  /** Id of its record. */
  readonly id: string;
  readonly version: bigint;
  /** The bytes of the file as it came in. */
  readonly source: Uint8Array;
  /** The bytes by which versions are compared; the same array as `source` where they are equal. */
  readonly canonical: Uint8Array;
  /** Milliseconds since 1970. */
  readonly createdMs: number;
  /** Id of the collector that it was taken over from; empty if a caller registered it here. */
  readonly origin: string;
}

/** A registered file: the version in force, and all there were. */
export interface FileState {
  readonly linked: LinkedFile;
  /** The oldest first; the last is in force. */
  readonly versions: readonly FileVersion[];
}

/** A registered service, as its record has it. */
export interface ServiceState {
  readonly id: string;
  readonly fileName: string;
  readonly record: RegisteredService;
}

/** Everything registered in one namespace at one moment. Immutable. */
export interface NamespaceState {
  readonly namespace: string;
  readonly revision: bigint;
  readonly files: ForkableMap<string, FileState>;
  /** By full name. */
  readonly services: ForkableMap<string, ServiceState>;
  readonly types: TypeTable;
  /** The file of each name that is declared outside of messages. */
  readonly symbols: ForkableMap<string, string>;
  /** Packages with the packages that hold them, and how many files are in each. */
  readonly packages: ForkableMap<string, number>;
  readonly size: SchemaSize;
}

export function emptyState(namespace: string): NamespaceState {
  return {
    namespace,
    revision: 0n,
    files: ForkableMap.empty(),
    services: ForkableMap.empty(),
    types: new TypeTable(),
    symbols: ForkableMap.empty(),
    packages: ForkableMap.empty(),
    size: { types: 0, fields: 0 },
  };
}

/** Two files that declare one name. */
export interface Conflict {
  readonly symbol: string;
  readonly file: string;
  /** The other file, or the package that has the name. */
  readonly other: string;
}

/** A copy of a namespace's state to change. Nothing shows until it is committed. */
export class NamespaceDraft {
  readonly namespace: string;
  readonly #builtIns: BuiltIns;
  readonly #files: ForkableMap<string, FileState>;
  readonly #services: ForkableMap<string, ServiceState>;
  readonly #types: TypeTable;
  readonly #symbols: ForkableMap<string, string>;
  readonly #packages: ForkableMap<string, number>;
  #size: SchemaSize;
  readonly #placed = new Set<string>();
  readonly #claims: Conflict[] = [];

  constructor(base: NamespaceState, builtIns: BuiltIns) {
    this.namespace = base.namespace;
    this.#builtIns = builtIns;
    this.#files = base.files.fork();
    this.#services = base.services.fork();
    this.#types = new TypeTable(base.types);
    this.#symbols = base.symbols.fork();
    this.#packages = base.packages.fork();
    this.#size = base.size;
  }

  get size(): SchemaSize {
    return this.#size;
  }

  /** A file of the namespace, or a built-in one. */
  file(name: string): LinkedFile | undefined {
    return this.#files.get(name)?.linked ?? this.#builtIns.files.get(name);
  }

  /** Name of the file that defines a type. */
  fileOfType(fullName: string): string | undefined {
    const desc = this.#types.get(fullName) ?? this.#builtIns.types.get(fullName);
    return desc?.file.proto.name;
  }

  get files(): ReadonlyMap<string, FileState> {
    return this.#files;
  }

  get services(): ReadonlyMap<string, ServiceState> {
    return this.#services;
  }

  /** Adds a file, or replaces the one of the same name. */
  place(state: FileState): void {
    const { linked } = state;
    this.#takeOut(linked.name);
    this.#files.set(linked.name, state);
    this.#types.add(linked.desc);
    for (const symbol of linked.index.outerSymbols) {
      const other = this.#symbols.get(symbol);
      if (other !== undefined && other !== linked.name) {
        this.#claims.push({ symbol, file: linked.name, other });
      }
      this.#symbols.set(symbol, linked.name);
    }
    for (const prefix of prefixes(linked.index.file.package)) {
      this.#packages.set(prefix, (this.#packages.get(prefix) ?? 0) + 1);
    }
    this.#count(linked, 1);
    this.#placed.add(linked.name);
  }

  remove(name: string): void {
    this.#takeOut(name);
    this.#files.delete(name);
  }

  setService(fullName: string, state: ServiceState): void {
    this.#services.set(fullName, state);
  }

  removeService(fullName: string): void {
    this.#services.delete(fullName);
  }

  /** Names that a placed file declares and that something else in the namespace has. */
  conflicts(): Conflict[] {
    const found: Conflict[] = [];
    // A name that moves from one file to another in one call is no conflict.
    for (const claim of this.#claims) {
      const others = this.#files.get(claim.other)?.linked.index.outerSymbols;
      if (others?.has(claim.symbol)) found.push(claim);
    }
    for (const file of this.#placed) {
      const index = this.#files.get(file)?.linked.index;
      if (index === undefined) continue;
      for (const symbol of index.outerSymbols) {
        if (this.#packages.has(symbol) || this.#builtIns.packages.has(symbol)) {
          found.push({ symbol, file, other: `package ${symbol}` });
        }
        const builtIn = this.#builtIns.symbols.get(symbol);
        if (builtIn !== undefined && !this.#files.has(builtIn)) {
          found.push({ symbol, file, other: builtIn });
        }
      }
      for (const symbol of prefixes(index.file.package)) {
        const other = this.#symbols.get(symbol) ?? this.#builtIns.symbols.get(symbol);
        if (other !== undefined) found.push({ symbol, file, other });
      }
    }
    return found;
  }

  commit(revision: bigint): NamespaceState {
    return {
      namespace: this.namespace,
      revision,
      files: this.#files,
      services: this.#services,
      types: this.#types,
      symbols: this.#symbols,
      packages: this.#packages,
      size: this.#size,
    };
  }

  #takeOut(name: string): void {
    const linked = this.#files.get(name)?.linked;
    if (linked === undefined) return;
    this.#types.remove(linked.desc);
    for (const symbol of linked.index.outerSymbols) {
      if (this.#symbols.get(symbol) === name) this.#symbols.delete(symbol);
    }
    for (const prefix of prefixes(linked.index.file.package)) {
      const count = (this.#packages.get(prefix) ?? 0) - 1;
      if (count > 0) this.#packages.set(prefix, count);
      else this.#packages.delete(prefix);
    }
    this.#count(linked, -1);
  }

  #count(linked: LinkedFile, sign: 1 | -1): void {
    const { types, fields } = sizeOf(linked);
    this.#size = {
      types: this.#size.types + sign * types,
      fields: this.#size.fields + sign * fields,
    };
  }
}

function sizeOf({ index }: LinkedFile): SchemaSize {
  let types = 0;
  let fields = index.extensions.length;
  for (const entry of index.types.values()) {
    if (entry.kind === "message") fields += entry.proto.field.length;
    if (entry.kind !== "message" || !entry.isMapEntry) types += 1;
  }
  return { types, fields };
}

/**
 * Files that import one of `changed`, directly or not, and these themselves.
 *
 * @param isKnown whether a file of this name was there before, so that others may import it
 */
export function affectedFiles(
  files: ReadonlyMap<string, FileState>,
  changed: readonly string[],
  isKnown: (name: string) => boolean,
): Set<string> {
  // The usual case, and the one that must not cost more with every file of the namespace.
  if (!changed.some(isKnown)) return new Set(changed);
  const importers = new Map<string, string[]>();
  for (const [name, { linked }] of files) {
    for (const dependency of linked.index.file.dependency) {
      const list = importers.get(dependency);
      if (list === undefined) importers.set(dependency, [name]);
      else list.push(name);
    }
  }
  const affected = new Set(changed);
  for (const name of affected) {
    for (const importer of importers.get(name) ?? []) affected.add(importer);
  }
  return affected;
}

/** The files that a file with these imports can refer to. */
export interface VisibleFiles {
  readonly direct: readonly LinkedFile[];
  readonly reexported: readonly LinkedFile[];
}

/** Resolves imports. A file that is missing is left out. */
export function visibleFiles(
  dependencies: readonly string[],
  file: (name: string) => LinkedFile | undefined,
): VisibleFiles {
  const direct = dependencies.flatMap((name) => file(name) ?? []);
  const seen = new Set(direct);
  const reexported: LinkedFile[] = [];
  const pending = [...direct];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const name of publicImports(next)) {
      const found = file(name);
      if (found === undefined || seen.has(found)) continue;
      seen.add(found);
      reexported.push(found);
      pending.push(found);
    }
  }
  return { direct, reexported };
}
