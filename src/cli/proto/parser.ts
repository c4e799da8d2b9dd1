import { create } from "@bufbuild/protobuf";
import {
  Edition,
  type EnumDescriptorProto,
  EnumDescriptorProto_EnumReservedRangeSchema,
  EnumDescriptorProtoSchema,
  EnumValueDescriptorProtoSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  MethodDescriptorProtoSchema,
  MethodOptionsSchema,
  type ServiceDescriptorProto,
  ServiceDescriptorProtoSchema,
  type SymbolVisibility,
} from "@bufbuild/protobuf/wkt";
import { tokenize } from "./lexer.ts";
import { MessageParser } from "./message-parser.ts";
import { inScope } from "./names.ts";
import { type OptionSetting, parseOptionSetting } from "./option-parser.ts";
import {
  hasVisibility,
  type ParseContext,
  parseReservedName,
  takeVisibility,
} from "./parse-context.ts";
import {
  type DefaultStatement,
  type Element,
  Marks,
  type OptionStatement,
  type ParsedFile,
} from "./parsed-file.ts";
import type { Position } from "./problem.ts";
import { TokenReader } from "./token-reader.ts";

const editions: ReadonlyMap<string, Edition> = new Map([
  ["2023", Edition.EDITION_2023],
  ["2024", Edition.EDITION_2024],
]);
const topStatements = [
  "syntax",
  "import",
  "package",
  "option",
  "message",
  "enum",
  "service",
  "extend",
];
/** The highest enum number, which `max` stands for in a reserved range. */
const enumNumberMax = 2147483647;

/**
 * Parses the text of one file. Names of types stay as written, for the linker to resolve.
 *
 * @param name the path by which other files import it
 * @throws {ProtoCompileError} at the first place that is no Protobuf
 */
export function parseProto(name: string, text: string): ParsedFile {
  return new FileParser(name, text).run();
}

class FileParser implements ParseContext {
  readonly reader: TokenReader;
  readonly marks = new Marks();
  readonly file: FileDescriptorProto;
  readonly defaults: DefaultStatement[] = [];
  readonly #options: OptionStatement[] = [];
  readonly #importPositions = new Map<string, Position>();
  readonly #messages: MessageParser;

  constructor(name: string, text: string) {
    this.reader = new TokenReader(name, tokenize(name, text));
    this.file = create(FileDescriptorProtoSchema, { name });
    this.#messages = new MessageParser(this);
  }

  run(): ParsedFile {
    this.#parseSyntax();
    while (this.reader.peek().kind !== "end") this.#parseStatement();
    return {
      proto: this.file,
      marks: this.marks,
      importPositions: this.#importPositions,
      options: this.#options,
      defaults: this.defaults,
    };
  }

  syntax(): "proto2" | "proto3" | "editions" {
    const { syntax } = this.file;
    return syntax === "proto3" || syntax === "editions" ? syntax : "proto2";
  }

  addOption(element: Element, scope: string): void {
    this.addParsedOption(element, scope, parseOptionSetting(this.reader));
  }

  addParsedOption(element: Element, scope: string, setting: OptionSetting): void {
    this.#options.push({ element, scope, setting });
  }

  parseEnum(scope: string, visibility: SymbolVisibility | undefined): EnumDescriptorProto {
    const { reader, marks } = this;
    const name = reader.word("the name of an enum");
    const result = create(EnumDescriptorProtoSchema, { name: name.text });
    if (visibility !== undefined) result.visibility = visibility;
    marks.set(result, "name", name);
    const full = inScope(scope, name.text);
    reader.expect("{", `enum ${name.text}`);
    while (!reader.takes("}")) {
      if (reader.takes(";")) continue;
      if (reader.sees("option") && !isAssignment(reader)) {
        reader.next();
        this.addOption(result, full);
        reader.expectSemicolon();
      } else if (reader.sees("reserved") && !isAssignment(reader)) {
        reader.next();
        this.#parseEnumReserved(result);
      } else {
        this.#parseEnumValue(result, scope);
      }
    }
    return result;
  }

  #parseSyntax(): void {
    const { reader } = this;
    if (reader.takes("syntax")) {
      reader.expect("=", "`syntax`");
      const position = reader.peek();
      const syntax = reader.text("a syntax");
      if (syntax !== "proto2" && syntax !== "proto3") {
        throw reader.error(
          `has the unknown syntax "${syntax}"; valid are "proto2" and "proto3"`,
          position,
        );
      }
      if (syntax === "proto3") this.file.syntax = syntax;
      reader.expectSemicolon();
    } else if (reader.takes("edition")) {
      reader.expect("=", "`edition`");
      const position = reader.peek();
      const text = reader.text("an edition");
      const edition = editions.get(text);
      if (edition === undefined) {
        const known = [...editions.keys()].join(", ");
        throw reader.error(
          `uses edition "${text}", this compiler knows ${known}; for others, pass a descriptor set that buf or protoc made`,
          position,
        );
      }
      this.file.syntax = "editions";
      this.file.edition = edition;
      reader.expectSemicolon();
    }
  }

  #parseStatement(): void {
    const { reader, file } = this;
    if (reader.takes(";")) return;
    const start = reader.peek();
    const visibility = takeVisibility(this);
    if (reader.takes("message")) {
      file.messageType.push(this.#messages.parse(file.package, visibility));
    } else if (reader.takes("enum")) {
      file.enumType.push(this.parseEnum(file.package, visibility));
    } else if (reader.takes("service")) {
      file.service.push(this.#parseService());
    } else if (reader.takes("extend")) {
      this.#messages.parseExtend(file.package, file.extension, file.messageType);
    } else if (reader.takes("option")) {
      this.addOption(file, file.package);
      reader.expectSemicolon();
    } else if (reader.takes("import")) {
      this.#parseImport();
    } else if (reader.takes("package")) {
      if (file.package !== "") throw reader.error("names a second package", start);
      file.package = reader.dottedName("the name of the package");
      this.marks.set(file, "name", start);
      reader.expectSemicolon();
    } else if (reader.sees("syntax") || reader.sees("edition")) {
      throw reader.error(`has \`${start.text}\` too late: it has to come first`, start);
    } else {
      throw reader.expected("a message, enum, service or other definition", topStatements);
    }
  }

  #parseImport(): void {
    const { reader, file } = this;
    const index = file.dependency.length;
    const forOptions = reader.takes("option");
    if (forOptions && !hasVisibility(file)) {
      throw reader.error("`import option` is for edition 2024 and later", reader.peek());
    }
    if (reader.takes("public")) file.publicDependency.push(index);
    else if (reader.takes("weak")) file.weakDependency.push(index);
    const { line, column } = reader.peek();
    const path = reader.text("the path of a file, in quotes");
    if (file.dependency.includes(path) || file.optionDependency.includes(path)) {
      throw reader.error(`imports "${path}" twice`, { line, column });
    }
    (forOptions ? file.optionDependency : file.dependency).push(path);
    this.#importPositions.set(path, { line, column });
    reader.expectSemicolon();
  }

  #parseEnumValue(owner: EnumDescriptorProto, scope: string): void {
    const { reader } = this;
    const name = reader.word("the name of an enum value");
    reader.expect("=", `\`${name.text}\``);
    const value = create(EnumValueDescriptorProtoSchema, { name: name.text });
    this.marks.set(value, "name", name);
    this.marks.set(value, "number", reader.peek());
    value.number = reader.int32("the number of an enum value");
    owner.value.push(value);
    if (reader.takes("[")) {
      // Enum values are siblings of their enum.
      do this.addOption(value, scope);
      while (reader.takes(","));
      reader.expect("]");
    }
    reader.expectSemicolon();
  }

  #parseEnumReserved(owner: EnumDescriptorProto): void {
    const { reader } = this;
    do {
      if (reader.peek().kind === "string" || reader.peek().kind === "word") {
        owner.reservedName.push(parseReservedName(reader));
        continue;
      }
      const start = reader.int32("a reserved number");
      const end = !reader.takes("to")
        ? start
        : reader.takes("max")
          ? enumNumberMax
          : reader.int32("the end of a reserved range");
      owner.reservedRange.push(create(EnumDescriptorProto_EnumReservedRangeSchema, { start, end }));
    } while (reader.takes(","));
    reader.expectSemicolon();
  }

  #parseService(): ServiceDescriptorProto {
    const { reader, marks, file } = this;
    const name = reader.word("the name of a service");
    const service = create(ServiceDescriptorProtoSchema, { name: name.text });
    marks.set(service, "name", name);
    const full = inScope(file.package, name.text);
    reader.expect("{", `service ${name.text}`);
    while (!reader.takes("}")) {
      if (reader.takes(";")) continue;
      if (reader.takes("option")) {
        this.addOption(service, full);
        reader.expectSemicolon();
      } else if (reader.takes("rpc")) {
        this.#parseMethod(service, full);
      } else {
        throw reader.expected("`rpc`, `option` or `}`", ["rpc", "option"]);
      }
    }
    return service;
  }

  #parseMethod(service: ServiceDescriptorProto, scope: string): void {
    const { reader, marks } = this;
    const name = reader.word("the name of a method");
    const method = create(MethodDescriptorProtoSchema, { name: name.text });
    marks.set(method, "name", name);
    const parseType = (part: "input" | "output"): { type: string; stream: boolean } => {
      reader.expect("(");
      const stream = reader.takes("stream");
      marks.set(method, part, reader.peek());
      const type = reader.dottedName("the name of a message", true);
      reader.expect(")");
      return { type, stream };
    };
    const input = parseType("input");
    method.inputType = input.type;
    if (input.stream) method.clientStreaming = true;
    reader.expect("returns", `the request of ${name.text}`);
    const output = parseType("output");
    method.outputType = output.type;
    if (output.stream) method.serverStreaming = true;
    service.method.push(method);
    if (!reader.takes("{")) {
      reader.expectSemicolon();
      return;
    }
    // A body without options sets empty ones, with every compiler.
    method.options = create(MethodOptionsSchema);
    while (!reader.takes("}")) {
      if (reader.takes(";")) continue;
      reader.expect("option", `the body of method ${name.text}`);
      this.addOption(method, inScope(scope, name.text));
      reader.expectSemicolon();
    }
  }
}

/** Names of enum values may be keywords, so `option = 1` is a value. */
function isAssignment(reader: TokenReader): boolean {
  return reader.peek(1).text === "=" && reader.peek(1).kind === "sign";
}
