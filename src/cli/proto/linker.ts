import type {
  DescriptorProto,
  FieldDescriptorProto,
  FileDescriptorProto,
} from "@bufbuild/protobuf/wkt";
import { FieldDescriptorProto_Type as Type } from "@bufbuild/protobuf/wkt";
import { checkFile } from "./checks.ts";
import { formatDefault } from "./defaults.ts";
import { inScope } from "./names.ts";
import { OptionInterpreter } from "./options.ts";
import type { ParsedFile, Part, Report } from "./parsed-file.ts";
import { type Problem, ProtoCompileError } from "./problem.ts";
import { type ProtoSymbol, SymbolTable } from "./symbols.ts";

/** Turns parsed files into descriptors: resolves names, understands options, checks the rules. */
export class Linker {
  readonly symbols: SymbolTable = new SymbolTable();

  /** Adds a file that is a complete descriptor already. @throws {ProtoCompileError} for symbols defined twice */
  add(file: FileDescriptorProto): void {
    const problems: Problem[] = [];
    this.symbols.add(file, (_name, _node, message) => {
      problems.push({ file: file.name, position: undefined, message });
    });
    if (problems.length > 0) throw new ProtoCompileError(problems);
  }

  /**
   * Completes `parsed.proto`, whose imports are added or linked already.
   *
   * @throws {ProtoCompileError} with every problem found
   */
  link(parsed: ParsedFile): FileDescriptorProto {
    const { proto, marks } = parsed;
    const problems: Problem[] = [];
    const report: Report = (element, part, message) => {
      problems.push({ file: proto.name, position: marks.get(element, part), message });
    };
    this.symbols.add(proto, (_name, node, message) => report(node, "name", message));
    new NameResolver(this.symbols, proto, report).run();
    if (problems.length > 0) throw new ProtoCompileError(problems);
    for (const { field, value } of parsed.defaults) {
      const result = formatDefault(field, value, this.symbols);
      if (result.problem === undefined) field.defaultValue = result.text;
      else report(field, "name", result.problem);
    }
    new OptionInterpreter(this.symbols, parsed, problems).run();
    checkFile(proto, report);
    if (problems.length > 0) throw new ProtoCompileError(problems);
    return proto;
  }
}

class NameResolver {
  readonly #symbols: SymbolTable;
  readonly #file: FileDescriptorProto;
  readonly #visible: ReadonlySet<string>;
  readonly #report: Report;

  constructor(symbols: SymbolTable, file: FileDescriptorProto, report: Report) {
    this.#symbols = symbols;
    this.#file = file;
    this.#visible = symbols.visibleTo(file);
    this.#report = report;
  }

  run(): void {
    const file = this.#file;
    for (const message of file.messageType) this.#message(message, file.package);
    for (const field of file.extension) this.#field(field, file.package);
    for (const service of file.service) {
      const scope = inScope(file.package, service.name);
      for (const method of service.method) {
        method.inputType = this.#find(method.inputType, scope, method, "input", isMessage);
        method.outputType = this.#find(method.outputType, scope, method, "output", isMessage);
      }
    }
  }

  #message(message: DescriptorProto, outer: string): void {
    const scope = inScope(outer, message.name);
    for (const nested of message.nestedType) this.#message(nested, scope);
    for (const field of message.field) this.#field(field, scope);
    for (const field of message.extension) this.#field(field, scope);
  }

  #field(field: FieldDescriptorProto, scope: string): void {
    if (field.extendee !== "") {
      field.extendee = this.#find(field.extendee, scope, field, "extendee", isMessage);
    }
    if (field.typeName === "") return;
    field.typeName = this.#find(field.typeName, scope, field, "type", isType);
    if (field.type === Type.GROUP) return;
    const symbol = this.#symbols.get(field.typeName.slice(1));
    field.type = symbol?.kind === "enum" ? Type.ENUM : Type.MESSAGE;
  }

  #find(
    name: string,
    scope: string,
    element: object,
    part: Part,
    accepts: (kind: ProtoSymbol["kind"]) => boolean,
  ): string {
    const found = this.#symbols.resolve(name, scope, this.#visible, accepts);
    if (typeof found !== "string") return `.${found.name}`;
    this.#report(element, part, found);
    return name;
  }
}

function isMessage(kind: ProtoSymbol["kind"]): boolean {
  return kind === "message";
}

function isType(kind: ProtoSymbol["kind"]): boolean {
  return kind === "message" || kind === "enum";
}
