import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { CliError, codeOf, usageError } from "./failure.ts";
import { unreadable } from "./file-failure.ts";
import type { ProtoSource } from "./proto/compiler.ts";

const descriptorSetSuffixes = [".binpb", ".pb", ".protoset", ".fds"];

/** Folders that hold other people's files. */
const skippedFolders = new Set(["node_modules", ".git"]);

/** How many files are looked for in a folder. */
const filesMax = 20_000;

/** What a command line names: files to compile, and where their imports are. */
export interface SchemaSources {
  /** Names under which the files are imported, sorted. */
  readonly files: readonly string[];
  /** Finds the source of a file by its name. */
  find(name: string): Promise<ProtoSource | undefined>;
  /** The names that `find` would find in the folders given. */
  known(): Promise<readonly string[]>;
}

/**
 * Looks through files, folders and descriptor sets.
 *
 * Without roots, imports start at a folder that was named, and for a file at the folder that its
 * package asks for: `protos/shop/v1/shop.proto` of package `shop.v1` is `shop/v1/shop.proto`.
 *
 * @param roots the folders that imports start from, as given by -I
 * @throws {CliError} FILE_UNREADABLE, or USAGE for a file outside of all roots
 */
export async function findSchemaSources(
  paths: readonly string[],
  roots: readonly string[],
): Promise<SchemaSources> {
  const search = new SourceSearch(roots.map((root) => resolve(root)));
  for (const root of roots) await search.checkRoot(root);
  for (const path of paths) await search.add(path);
  return search;
}

class SourceSearch implements SchemaSources {
  readonly #givenRoots: readonly string[];
  readonly #roots: Set<string>;
  readonly #files = new Set<string>();
  readonly #descriptors = new Map<string, FileDescriptorProto>();

  constructor(roots: readonly string[]) {
    this.#givenRoots = roots;
    this.#roots = new Set(roots);
  }

  get files(): readonly string[] {
    return [...this.#files].sort();
  }

  async checkRoot(path: string): Promise<void> {
    if (!(await statOf(path)).isDirectory())
      throw usageError(`-I takes a folder, ${path} is a file`);
  }

  async add(path: string): Promise<void> {
    const full = resolve(path);
    if ((await statOf(path)).isDirectory()) {
      await this.#addFolder(path, full);
    } else if (descriptorSetSuffixes.some((suffix) => path.endsWith(suffix))) {
      await this.#addDescriptorSet(path);
    } else if (path.endsWith(".proto")) {
      await this.#addFile(path, full);
    } else {
      throw usageError(
        `${path} is neither a .proto file nor a descriptor set`,
        `descriptor sets end in ${descriptorSetSuffixes.join(", ")}`,
      );
    }
  }

  async find(name: string): Promise<ProtoSource | undefined> {
    const descriptor = this.#descriptors.get(name);
    if (descriptor !== undefined) return { descriptor };
    // A name is a path below a root, whatever it says.
    if (name.split("/").includes("..")) return undefined;
    for (const root of this.#roots) {
      const path = join(root, name);
      try {
        return { text: await readFile(path, "utf8") };
      } catch (error) {
        if (codeOf(error) !== "ENOENT" && codeOf(error) !== "ENOTDIR")
          throw unreadable(path, error);
      }
    }
    return undefined;
  }

  async known(): Promise<readonly string[]> {
    const names: string[] = [...this.#descriptors.keys()];
    for (const root of this.#roots) {
      for (const path of await protosIn(root)) names.push(toName(root, path));
    }
    return names;
  }

  async #addFolder(path: string, full: string): Promise<void> {
    const root = this.#rootAbove(full) ?? full;
    this.#roots.add(root);
    const found = await protosIn(full);
    if (found.length === 0) throw usageError(`there are no .proto files in ${path}`);
    for (const file of found) this.#files.add(toName(root, file));
  }

  async #addFile(path: string, full: string): Promise<void> {
    let root = this.#rootAbove(full);
    if (root === undefined && this.#givenRoots.length > 0) {
      throw usageError(`${path} is outside of the folders that -I names`);
    }
    root ??= rootByPackage(full, await readFile(full, "utf8"));
    this.#roots.add(root);
    this.#files.add(toName(root, full));
  }

  async #addDescriptorSet(path: string): Promise<void> {
    let files: readonly FileDescriptorProto[];
    try {
      files = fromBinary(FileDescriptorSetSchema, await readFile(path)).file;
    } catch (error) {
      if (codeOf(error) !== undefined) throw unreadable(path, error);
      throw new CliError("SCHEMA_INVALID", `${path} is no descriptor set`, {
        cause: error,
        hint: "make one with `buf build -o FILE.binpb` or `protoc --include_imports -o FILE.pb`",
      });
    }
    if (files.length === 0) throw new CliError("SCHEMA_INVALID", `${path} holds no files`);
    for (const file of files) {
      delete file.sourceCodeInfo;
      this.#descriptors.set(file.name, file);
      this.#files.add(file.name);
    }
  }

  /** The deepest of the given roots that a path is below. */
  #rootAbove(path: string): string | undefined {
    return this.#givenRoots
      .filter((root) => path === root || path.startsWith(root + sep))
      .sort((a, b) => b.length - a.length)[0];
  }
}

async function statOf(path: string): Promise<{ isDirectory(): boolean }> {
  try {
    return await stat(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

async function protosIn(folder: string): Promise<string[]> {
  const found: string[] = [];
  const open = [folder];
  for (let current = open.pop(); current !== undefined; current = open.pop()) {
    for (const entry of await readdir(current, { withFileTypes: true })) {
      const path = join(current, entry.name);
      if (entry.isDirectory() && !skippedFolders.has(entry.name)) open.push(path);
      else if (entry.isFile() && entry.name.endsWith(".proto")) found.push(path);
      if (found.length > filesMax) {
        throw usageError(`there are more than ${filesMax} .proto files in ${folder}`);
      }
    }
  }
  return found.sort();
}

/** The folder above those that the package of a file names, or the one the file is in. */
function rootByPackage(path: string, text: string): string {
  const folder = dirname(path);
  const code = text.replace(/\/\*[^]*?\*\/|\/\/.*$/gm, " ");
  const packageName = /(?:^|[;\s])package\s+([\w.]+)\s*;/.exec(code)?.[1];
  if (packageName === undefined) return folder;
  const suffix = sep + packageName.split(".").join(sep);
  return folder.endsWith(suffix) ? folder.slice(0, -suffix.length) || sep : folder;
}

function toName(root: string, path: string): string {
  return relative(root, path).split(sep).join("/");
}
