import type {
  DescriptorProto,
  EnumDescriptorProto,
  EnumValueDescriptorProto,
  FieldDescriptorProto,
  FileDescriptorProto,
} from "@bufbuild/protobuf/wkt";
import { didYouMean } from "../../lib/suggest.ts";
import { inScope } from "./names.ts";

/** A named thing that a file defines. */
export type ProtoSymbol = { readonly name: string; readonly file: string } & (
  | { readonly kind: "message"; readonly node: DescriptorProto }
  | { readonly kind: "enum"; readonly node: EnumDescriptorProto }
  | { readonly kind: "extension"; readonly node: FieldDescriptorProto }
  | { readonly kind: "enum value"; readonly node: EnumValueDescriptorProto }
  | { readonly kind: "field" | "oneof" | "service" | "method"; readonly node: object }
);

/** Every symbol of the files of one compilation, and which file sees which. */
export class SymbolTable {
  readonly #symbols = new Map<string, ProtoSymbol>();
  /** The files of each package and of the packages around it. */
  readonly #packages = new Map<string, Set<string>>();
  readonly #files = new Map<string, FileDescriptorProto>();

  /**
   * Adds what a file defines.
   *
   * @param duplicate called for each name that is taken already, which is then left out
   */
  add(
    file: FileDescriptorProto,
    duplicate: (name: string, node: object, problem: string) => void,
  ): void {
    this.#files.set(file.name, file);
    for (let name = file.package; name !== ""; name = parentOf(name)) {
      const taken = this.#symbols.get(name);
      if (taken !== undefined) {
        duplicate(
          name,
          file,
          `names package \`${name}\`, which is a ${taken.kind} in ${taken.file}`,
        );
      }
      const files = this.#packages.get(name) ?? new Set();
      files.add(file.name);
      this.#packages.set(name, files);
    }
    const put = (symbol: ProtoSymbol): void => {
      const taken = this.#symbols.get(symbol.name);
      if (taken !== undefined) {
        const where = taken.file === file.name ? "" : ` in ${taken.file}`;
        const problem = `defines \`${symbol.name}\`, which is a ${taken.kind}${where} already`;
        duplicate(symbol.name, symbol.node, problem);
      } else if (this.#packages.has(symbol.name)) {
        duplicate(symbol.name, symbol.node, `defines \`${symbol.name}\`, which is a package`);
      } else {
        this.#symbols.set(symbol.name, symbol);
      }
    };
    for (const symbol of symbolsOf(file)) put(symbol);
  }

  file(name: string): FileDescriptorProto | undefined {
    return this.#files.get(name);
  }

  /** A symbol by its full name, without a leading dot, whoever may see it. */
  get(name: string): ProtoSymbol | undefined {
    return this.#symbols.get(name);
  }

  /** The files whose symbols `file` may use: itself, its imports, and what those import publicly. */
  visibleTo(file: FileDescriptorProto): Set<string> {
    const visible = new Set([file.name]);
    const open = [...file.dependency, ...file.optionDependency];
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      if (visible.has(name)) continue;
      visible.add(name);
      const imported = this.#files.get(name);
      for (const index of imported?.publicDependency ?? []) {
        const dependency = imported?.dependency[index];
        if (dependency !== undefined) open.push(dependency);
      }
    }
    return visible;
  }

  /**
   * Finds what `name` means in `scope`, by the rules of Protobuf: the innermost scope that has the
   * first part of the name decides.
   *
   * @param accepts the kinds that are looked for; a simple name of another kind is passed over
   * @returns the symbol, or the text of the problem
   */
  resolve(
    name: string,
    scope: string,
    visible: ReadonlySet<string>,
    accepts: (kind: ProtoSymbol["kind"]) => boolean,
  ): ProtoSymbol | string {
    if (name.startsWith(".")) {
      const symbol = this.#symbols.get(name.slice(1));
      return symbol !== undefined && visible.has(symbol.file) && accepts(symbol.kind)
        ? symbol
        : this.#missing(name.slice(1), visible, accepts);
    }
    const dot = name.indexOf(".");
    const first = dot === -1 ? name : name.slice(0, dot);
    for (let outer = scope; ; outer = parentOf(outer)) {
      const candidate = inScope(outer, first);
      if (dot === -1) {
        const symbol = this.#symbols.get(candidate);
        if (symbol !== undefined && visible.has(symbol.file) && accepts(symbol.kind)) return symbol;
      } else if (this.#holdsOthers(candidate, visible)) {
        const full = inScope(outer, name);
        const symbol = this.#symbols.get(full);
        if (symbol !== undefined && visible.has(symbol.file) && accepts(symbol.kind)) return symbol;
        const elsewhere = this.#missing(name, visible, accepts);
        if (outer === "" || this.#symbols.get(name) === undefined) return elsewhere;
        return `${elsewhere}; \`${first}\` means \`${candidate}\` here, so write \`.${name}\``;
      }
      if (outer === "") return this.#missing(name, visible, accepts);
    }
  }

  #holdsOthers(name: string, visible: ReadonlySet<string>): boolean {
    const symbol = this.#symbols.get(name);
    if (symbol !== undefined && visible.has(symbol.file)) {
      return symbol.kind === "message" || symbol.kind === "enum" || symbol.kind === "service";
    }
    for (const file of this.#packages.get(name) ?? []) {
      if (visible.has(file)) return true;
    }
    return false;
  }

  #missing(
    name: string,
    visible: ReadonlySet<string>,
    accepts: (kind: ProtoSymbol["kind"]) => boolean,
  ): string {
    const candidates: string[] = [];
    for (const symbol of this.#symbols.values()) {
      if (!accepts(symbol.kind)) continue;
      const matches = symbol.name === name || symbol.name.endsWith(`.${name}`);
      if (matches && !visible.has(symbol.file)) {
        return `cannot find \`${name}\`: \`${symbol.name}\` is in ${symbol.file}, which is not imported`;
      }
      if (visible.has(symbol.file)) candidates.push(symbol.name);
    }
    const extra = accepts("message") && accepts("enum") ? scalarNames : [];
    return `cannot find \`${name}\`${didYouMean(name, [...extra, ...candidates])}`;
  }
}

const scalarNames = [
  ..."double float int32 int64 uint32 uint64 sint32 sint64".split(" "),
  ..."fixed32 fixed64 sfixed32 sfixed64 bool string bytes".split(" "),
];

/** The name of what is around `a.b.c`: `a.b`; nothing is around `a`. */
export function parentOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf(".")));
}

function* symbolsOf(file: FileDescriptorProto): Iterable<ProtoSymbol> {
  const at = { file: file.name };
  for (const message of file.messageType) yield* symbolsOfMessage(file.name, file.package, message);
  for (const node of file.enumType) yield* symbolsOfEnum(file.name, file.package, node);
  for (const node of file.extension) {
    yield { kind: "extension", name: inScope(file.package, node.name), node, ...at };
  }
  for (const service of file.service) {
    const name = inScope(file.package, service.name);
    yield { kind: "service", name, node: service, ...at };
    for (const node of service.method) {
      yield { kind: "method", name: inScope(name, node.name), node, ...at };
    }
  }
}

function* symbolsOfMessage(
  file: string,
  scope: string,
  message: DescriptorProto,
): Iterable<ProtoSymbol> {
  const name = inScope(scope, message.name);
  yield { kind: "message", name, node: message, file };
  for (const node of message.nestedType) yield* symbolsOfMessage(file, name, node);
  for (const node of message.enumType) yield* symbolsOfEnum(file, name, node);
  for (const node of message.field) {
    yield { kind: "field", name: inScope(name, node.name), node, file };
  }
  for (const node of message.extension) {
    yield { kind: "extension", name: inScope(name, node.name), node, file };
  }
  for (const node of message.oneofDecl) {
    yield { kind: "oneof", name: inScope(name, node.name), node, file };
  }
}

/** The values of an enum are its siblings, not its children. */
function* symbolsOfEnum(
  file: string,
  scope: string,
  node: EnumDescriptorProto,
): Iterable<ProtoSymbol> {
  yield { kind: "enum", name: inScope(scope, node.name), node, file };
  for (const value of node.value) {
    yield { kind: "enum value", name: inScope(scope, value.name), node: value, file };
  }
}
