import { fromBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  EnumOptionsSchema,
  EnumValueOptionsSchema,
  ExtensionRangeOptionsSchema,
  FeatureSet_MessageEncoding,
  type FieldDescriptorProto,
  FieldOptionsSchema,
  FileOptionsSchema,
  MessageOptionsSchema,
  MethodOptionsSchema,
  OneofOptionsSchema,
  ServiceOptionsSchema,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { didYouMean } from "../../lib/suggest.ts";
import { inScope } from "./names.ts";
import type { OptionNamePart, OptionValue, ValueField } from "./option-parser.ts";
import {
  encodeScalar,
  findField,
  isMessageField,
  isRepeated,
  MessageValue,
  wireTypeOf,
} from "./option-values.ts";
import type { Element, OptionStatement, ParsedFile } from "./parsed-file.ts";
import type { Position, Problem } from "./problem.ts";
import { parentOf, type SymbolTable } from "./symbols.ts";

/** Raised while one setting is interpreted; the others go on. */
class OptionProblem extends Error {
  readonly position: Position;

  constructor(position: Position, message: string) {
    super(message);
    this.position = position;
  }
}

/** A field, and the full name under which its features are looked up. */
interface FoundField {
  readonly field: FieldDescriptorProto;
  readonly fullName: string;
  readonly file: string;
}

/**
 * Gives the options of a file their types: each is encoded by the descriptors of its fields, and the
 * bytes are parsed as the element's options. So a custom option, whose extension this program was not
 * built with, ends up where it does with any compiler: in the unknown fields.
 */
export class OptionInterpreter {
  readonly #symbols: SymbolTable;
  readonly #parsed: ParsedFile;
  readonly #problems: Problem[];
  readonly #visible: ReadonlySet<string>;
  readonly #values = new Map<Element, MessageValue>();

  constructor(symbols: SymbolTable, parsed: ParsedFile, problems: Problem[]) {
    this.#symbols = symbols;
    this.#parsed = parsed;
    this.#problems = problems;
    this.#visible = symbols.visibleTo(parsed.proto);
  }

  run(): void {
    // Features first: they decide how the values of other options are encoded.
    const isFeature = ({ setting }: OptionStatement): boolean =>
      setting.name[0]?.name === "features";
    for (const statement of this.#parsed.options.filter(isFeature)) this.#interpret(statement);
    this.#assign();
    for (const statement of this.#parsed.options) {
      if (!isFeature(statement)) this.#interpret(statement);
    }
    this.#assign();
  }

  #interpret(statement: OptionStatement): void {
    const { element, scope, setting } = statement;
    const value = this.#values.get(element) ?? new MessageValue();
    this.#values.set(element, value);
    try {
      this.#set(value, optionsTypeOf(element), setting.name, setting.value, scope);
    } catch (error) {
      if (!(error instanceof OptionProblem)) throw error;
      const { name } = this.#parsed.proto;
      this.#problems.push({ file: name, position: error.position, message: error.message });
    }
  }

  /** Follows the parts of the name into nested messages, then sets the last one. */
  #set(
    message: MessageValue,
    type: string,
    name: readonly OptionNamePart[],
    value: OptionValue,
    scope: string,
  ): void {
    const [part, ...rest] = name;
    if (part === undefined) return;
    const found = part.extension
      ? this.#findExtension(type, part.name, part.position, scope)
      : this.#findPlain(type, part.name, part.position);
    if (rest.length === 0) {
      this.#add(message, found, value, scope, part.position, false);
      return;
    }
    const { field } = found;
    if (!isMessageField(field) || isRepeated(field)) {
      const kind = isRepeated(field) ? "is repeated" : "is no message";
      throw new OptionProblem(
        part.position,
        `option \`${part.name}\` ${kind}, so nothing in it can be set`,
      );
    }
    let inner = message.values(field.number)[0];
    if (!(inner instanceof MessageValue)) {
      inner = new MessageValue();
      message.add(this.#encodedField(found), inner);
    }
    this.#set(inner, field.typeName.slice(1), rest, value, scope);
  }

  #add(
    message: MessageValue,
    found: FoundField,
    value: OptionValue,
    scope: string,
    position: Position,
    inner: boolean,
  ): void {
    const { field } = found;
    if (value.kind === "list") {
      if (!isRepeated(field))
        throw new OptionProblem(value.position, `\`${field.name}\` takes one value`);
      for (const item of value.values) this.#add(message, found, item, scope, position, inner);
      return;
    }
    if (!isRepeated(field) && message.values(field.number).length > 0) {
      throw new OptionProblem(position, `sets \`${field.name}\` twice`);
    }
    message.add(this.#encodedField(found), this.#encode(field, value, scope, inner));
  }

  #encode(
    field: FieldDescriptorProto,
    value: OptionValue,
    scope: string,
    inner: boolean,
  ): Uint8Array | MessageValue {
    if (!isMessageField(field)) {
      const result = encodeScalar(field, value, this.#symbols, inner);
      if (typeof result !== "string") return result;
      throw new OptionProblem(value.position, `\`${field.name}\` ${result}`);
    }
    const type = field.typeName.slice(1);
    if (value.kind !== "message") {
      throw new OptionProblem(
        value.position,
        `\`${field.name}\` expects \`{ … }\` with the fields of \`${type}\``,
      );
    }
    return this.#message(type, value.fields, scope);
  }

  #message(type: string, fields: readonly ValueField[], scope: string): MessageValue {
    const message = new MessageValue();
    for (const { name, form, anyPrefix, position, value } of fields) {
      if (form === "any") {
        this.#packAny(message, type, `${anyPrefix}/${name}`, name, value, position, scope);
        continue;
      }
      const found =
        form === "extension"
          ? this.#findExtension(type, name, position, scope)
          : this.#findPlain(type, name, position);
      this.#add(message, found, value, scope, position, true);
    }
    return message;
  }

  #packAny(
    message: MessageValue,
    type: string,
    url: string,
    name: string,
    value: OptionValue,
    position: Position,
    scope: string,
  ): void {
    const symbol = this.#symbols.get(name);
    if (type !== "google.protobuf.Any" || symbol?.kind !== "message" || value.kind !== "message") {
      throw new OptionProblem(position, `cannot pack \`${name}\` into \`${type}\``);
    }
    const packed = this.#message(name, value.fields, scope).toBinary();
    const wireType = WireType.LengthDelimited;
    message.add({ number: 1, wireType }, lengthDelimited(Buffer.from(url)));
    message.add({ number: 2, wireType }, lengthDelimited(packed));
  }

  #findPlain(type: string, name: string, position: Position): FoundField {
    const symbol = this.#symbols.get(type);
    if (symbol?.kind !== "message") throw new OptionProblem(position, `cannot find \`${type}\``);
    const field = findField(symbol.node, name);
    if (field !== undefined && name !== "uninterpreted_option") {
      return { field, fullName: inScope(type, field.name), file: symbol.file };
    }
    const names = symbol.node.field.map((candidate) => candidate.name);
    const hint = didYouMean(name, names);
    const custom =
      hint === "" && type.startsWith("google.protobuf.") ? "; a custom option stands in ( )" : "";
    throw new OptionProblem(position, `\`${type}\` has no field \`${name}\`${hint}${custom}`);
  }

  #findExtension(type: string, name: string, position: Position, scope: string): FoundField {
    const isExtension = (kind: string): boolean => kind === "extension";
    const symbol = this.#symbols.resolve(name, scope, this.#visible, isExtension);
    if (typeof symbol === "string") throw new OptionProblem(position, symbol);
    if (symbol.kind !== "extension")
      throw new OptionProblem(position, `\`${name}\` is no extension`);
    if (symbol.node.extendee !== `.${type}`) {
      const extendee = symbol.node.extendee.slice(1);
      throw new OptionProblem(
        position,
        `\`${symbol.name}\` extends \`${extendee}\`, not \`${type}\``,
      );
    }
    return { field: symbol.node, fullName: symbol.name, file: symbol.file };
  }

  #encodedField(found: FoundField): { number: number; wireType: WireType } {
    const { number, type } = found.field;
    return {
      number,
      wireType: wireTypeOf(type, type === Type.MESSAGE && this.#isDelimited(found)),
    };
  }

  /** Whether editions' features have a message field written like a group. */
  #isDelimited({ field, fullName, file: fileName }: FoundField): boolean {
    const file = this.#symbols.file(fileName);
    if (file?.syntax !== "editions") return false;
    let encoding = field.options?.features?.messageEncoding;
    for (let name = parentOf(fullName); name !== "" && !encoding; name = parentOf(name)) {
      const symbol = this.#symbols.get(name);
      if (symbol?.kind === "message") encoding = symbol.node.options?.features?.messageEncoding;
    }
    encoding ||= file.options?.features?.messageEncoding;
    return encoding === FeatureSet_MessageEncoding.DELIMITED;
  }

  #assign(): void {
    for (const [element, value] of this.#values) assignOptions(element, value.toBinary());
  }
}

function optionsTypeOf(element: Element): string {
  return `google.protobuf.${optionTypes[element.$typeName]}`;
}

const optionTypes: Readonly<Record<Element["$typeName"], string>> = {
  "google.protobuf.FileDescriptorProto": "FileOptions",
  "google.protobuf.DescriptorProto": "MessageOptions",
  "google.protobuf.DescriptorProto.ExtensionRange": "ExtensionRangeOptions",
  "google.protobuf.EnumDescriptorProto": "EnumOptions",
  "google.protobuf.EnumValueDescriptorProto": "EnumValueOptions",
  "google.protobuf.FieldDescriptorProto": "FieldOptions",
  "google.protobuf.OneofDescriptorProto": "OneofOptions",
  "google.protobuf.ServiceDescriptorProto": "ServiceOptions",
  "google.protobuf.MethodDescriptorProto": "MethodOptions",
};

function assignOptions(element: Element, bytes: Uint8Array): void {
  switch (element.$typeName) {
    case "google.protobuf.FileDescriptorProto":
      element.options = fromBinary(FileOptionsSchema, bytes);
      break;
    case "google.protobuf.DescriptorProto":
      element.options = fromBinary(MessageOptionsSchema, bytes);
      break;
    case "google.protobuf.DescriptorProto.ExtensionRange":
      element.options = fromBinary(ExtensionRangeOptionsSchema, bytes);
      break;
    case "google.protobuf.EnumDescriptorProto":
      element.options = fromBinary(EnumOptionsSchema, bytes);
      break;
    case "google.protobuf.EnumValueDescriptorProto":
      element.options = fromBinary(EnumValueOptionsSchema, bytes);
      break;
    case "google.protobuf.FieldDescriptorProto":
      element.options = fromBinary(FieldOptionsSchema, bytes);
      break;
    case "google.protobuf.OneofDescriptorProto":
      element.options = fromBinary(OneofOptionsSchema, bytes);
      break;
    case "google.protobuf.ServiceDescriptorProto":
      element.options = fromBinary(ServiceOptionsSchema, bytes);
      break;
    case "google.protobuf.MethodDescriptorProto":
      element.options = fromBinary(MethodOptionsSchema, bytes);
      break;
  }
}

function lengthDelimited(bytes: Uint8Array): Uint8Array {
  return new BinaryWriter().bytes(bytes).finish();
}
