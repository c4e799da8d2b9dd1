import { clone } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { nearest } from "../../lib/suggest.ts";
import { Linker } from "./linker.ts";
import type { ParsedFile } from "./parsed-file.ts";
import { parseProto } from "./parser.ts";
import { type Position, problemAt } from "./problem.ts";
import { wellKnownFile, wellKnownNames } from "./well-known.ts";

/** Where a file comes from: its text, or a descriptor that is complete. */
export type ProtoSource = { readonly text: string } | { readonly descriptor: FileDescriptorProto };

export interface CompileOptions {
  /** The files to compile, by the names under which others import them. */
  readonly files: readonly string[];
  /** Finds a file by its name; undefined if there is none. Not asked for well-known files. */
  readonly find: (name: string) => Promise<ProtoSource | undefined>;
  /** Names to suggest for an import that is not found. */
  readonly known?: () => Promise<readonly string[]>;
}

export interface CompiledFile {
  readonly proto: FileDescriptorProto;
  /** Whether the file was asked for, rather than found through an import. */
  readonly requested: boolean;
  /** `text` was compiled here, `descriptor` came complete, `well-known` comes with Protobuf. */
  readonly origin: "text" | "descriptor" | "well-known";
}

/**
 * Compiles `.proto` files and what they import into descriptors, without source info.
 *
 * @returns each file once, behind everything it imports
 * @throws {ProtoCompileError} with the places at fault
 */
export async function compileProtos(options: CompileOptions): Promise<CompiledFile[]> {
  const compilation = new Compilation(options);
  return await compilation.run();
}

class Compilation {
  readonly #options: CompileOptions;
  readonly #linker = new Linker();
  readonly #compiled = new Map<string, CompiledFile>();
  /** The chain of imports that led to the file in hand. */
  readonly #path: string[] = [];

  constructor(options: CompileOptions) {
    this.#options = options;
  }

  async run(): Promise<CompiledFile[]> {
    // The types of all options are in this file, imported or not.
    const descriptor = wellKnownFile("google/protobuf/descriptor.proto");
    if (descriptor === undefined) throw new Error("the options of Protobuf are not at hand");
    this.#linker.add(descriptor);
    for (const name of this.#options.files) {
      if (!(await this.#compile(name))) throw problemAt(name, undefined, "is not there");
    }
    return [...this.#compiled.values()];
  }

  /** Returns false if there is no such file. */
  async #compile(name: string): Promise<boolean> {
    if (this.#compiled.has(name)) return true;
    const requested = this.#options.files.includes(name);
    const wellKnown = wellKnownFile(name);
    if (wellKnown !== undefined) {
      await this.#addComplete(wellKnown, { requested, origin: "well-known" });
      return true;
    }
    const source = await this.#options.find(name);
    if (source === undefined) return false;
    if ("descriptor" in source) {
      const descriptor = clone(FileDescriptorProtoSchema, source.descriptor);
      await this.#addComplete(descriptor, { requested, origin: "descriptor" });
      return true;
    }
    const parsed = parseProto(name, source.text);
    await this.#imports(parsed.proto, parsed);
    const proto = this.#linker.link(parsed);
    this.#compiled.set(name, { proto, requested, origin: "text" });
    return true;
  }

  async #addComplete(
    proto: FileDescriptorProto,
    about: Omit<CompiledFile, "proto">,
  ): Promise<void> {
    await this.#imports(proto, undefined);
    if (this.#linker.symbols.file(proto.name) === undefined) this.#linker.add(proto);
    this.#compiled.set(proto.name, { proto, ...about });
  }

  async #imports(proto: FileDescriptorProto, parsed: ParsedFile | undefined): Promise<void> {
    this.#path.push(proto.name);
    for (const name of [...proto.dependency, ...proto.optionDependency]) {
      const position = parsed?.importPositions.get(name);
      const start = this.#path.indexOf(name);
      if (start !== -1) {
        const cycle = [...this.#path.slice(start), name].join(" → ");
        throw problemAt(proto.name, position, `imports in a circle: ${cycle}`);
      }
      if (!(await this.#compile(name))) throw await this.#missing(proto.name, position, name);
    }
    this.#path.pop();
  }

  async #missing(file: string, position: Position | undefined, name: string): Promise<Error> {
    const known = [...((await this.#options.known?.()) ?? []), ...wellKnownNames];
    const near = nearest(withoutSuffix(name), known.map(withoutSuffix))[0];
    const hint = near === undefined ? "" : `; did you mean "${near}.proto"?`;
    const where = hint === "" ? "; name the folder that imports start from with -I" : hint;
    return problemAt(file, position, `cannot find import "${name}"${where}`);
  }
}

/** Every path ends alike, so the end says nothing about how near two of them are. */
function withoutSuffix(path: string): string {
  return path.replace(/\.proto$/, "");
}
