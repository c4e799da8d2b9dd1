import { create } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  DescriptorProto_ExtensionRangeSchema,
  DescriptorProto_ReservedRangeSchema,
  DescriptorProtoSchema,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  MessageOptionsSchema,
  OneofDescriptorProtoSchema,
  type SymbolVisibility,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { didYouMean } from "../../lib/suggest.ts";
import type { Token } from "./lexer.ts";
import { inScope, jsonNameOf, mapEntryNameOf } from "./names.ts";
import { type OptionValue, parseOptionSetting } from "./option-parser.ts";
import { type ParseContext, parseReservedName, takeVisibility } from "./parse-context.ts";

/** The scalar types by their names in `.proto` files. */
export const scalarTypes: Readonly<Record<string, Type>> = {
  double: Type.DOUBLE,
  float: Type.FLOAT,
  int64: Type.INT64,
  uint64: Type.UINT64,
  int32: Type.INT32,
  fixed64: Type.FIXED64,
  fixed32: Type.FIXED32,
  bool: Type.BOOL,
  string: Type.STRING,
  bytes: Type.BYTES,
  uint32: Type.UINT32,
  sfixed32: Type.SFIXED32,
  sfixed64: Type.SFIXED64,
  sint32: Type.SINT32,
  sint64: Type.SINT64,
};

const labels: Readonly<Record<string, Label>> = {
  optional: Label.OPTIONAL,
  required: Label.REQUIRED,
  repeated: Label.REPEATED,
};

const keyTypes: ReadonlySet<Type> = new Set(
  Object.values(scalarTypes).filter(
    (type) => type !== Type.DOUBLE && type !== Type.FLOAT && type !== Type.BYTES,
  ),
);

/** One past the highest field number, which `max` stands for. */
const fieldNumberEnd = 536870912;

/** Where a parsed field goes. */
interface FieldTarget {
  /** Full name of the scope the field is in. */
  readonly scope: string;
  readonly fields: FieldDescriptorProto[];
  /** Takes the messages that groups and maps define on the side. */
  readonly messages: DescriptorProto[];
  readonly place: "message" | "oneof" | "extend";
  readonly oneofIndex?: number;
}

/** Parses messages and what stands in them. */
export class MessageParser {
  readonly #context: ParseContext;

  constructor(context: ParseContext) {
    this.#context = context;
  }

  /** Parses a message of which the word `message` is read already. */
  parse(scope: string, visibility: SymbolVisibility | undefined): DescriptorProto {
    const { reader, marks } = this.#context;
    const name = reader.word("the name of a message");
    const message = create(DescriptorProtoSchema, { name: name.text });
    if (visibility !== undefined) message.visibility = visibility;
    marks.set(message, "name", name);
    reader.expect("{", `message ${name.text}`);
    this.#parseBody(message, inScope(scope, name.text));
    return message;
  }

  /** Parses `extend` of which the word itself is read already. */
  parseExtend(scope: string, fields: FieldDescriptorProto[], messages: DescriptorProto[]): void {
    const { reader, marks } = this.#context;
    const position = reader.peek();
    const extendee = reader.dottedName("the name of the message to extend", true);
    reader.expect("{", `extend ${extendee}`);
    while (!reader.takes("}")) {
      if (reader.takes(";")) continue;
      const before = fields.length;
      this.#parseField({ scope, fields, messages, place: "extend" });
      for (const field of fields.slice(before)) {
        field.extendee = extendee;
        marks.set(field, "extendee", position);
      }
    }
  }

  #parseBody(message: DescriptorProto, scope: string): void {
    const { reader } = this.#context;
    reader.nested(() => {
      while (!reader.takes("}")) this.#parseStatement(message, scope);
    });
    if (this.#context.syntax() === "proto3") addSyntheticOneofs(message);
  }

  #parseStatement(message: DescriptorProto, scope: string): void {
    const { reader, marks } = this.#context;
    if (reader.takes(";")) return;
    const visibility = takeVisibility(this.#context);
    const follower = reader.peek(1);
    const named = follower.kind === "word";
    if (reader.sees("message") && named && reader.peek(2).text === "{") {
      reader.next();
      message.nestedType.push(this.parse(scope, visibility));
    } else if (reader.sees("enum") && named && reader.peek(2).text === "{") {
      reader.next();
      message.enumType.push(this.#context.parseEnum(scope, visibility));
    } else if (reader.sees("oneof") && named && reader.peek(2).text === "{") {
      reader.next();
      this.#parseOneof(message, scope);
    } else if (reader.sees("extend") && !this.#seesField()) {
      reader.next();
      this.parseExtend(scope, message.extension, message.nestedType);
    } else if (reader.sees("option")) {
      reader.next();
      this.#context.addOption(message, scope);
      reader.expectSemicolon();
    } else if (reader.sees("extensions") && follower.kind === "integer") {
      reader.next();
      this.#parseExtensions(message, scope);
    } else if (reader.sees("reserved") && !this.#seesField()) {
      reader.next();
      marks.set(message.reservedRange, "number", reader.peek());
      this.#parseReserved(message);
    } else {
      this.#parseField({
        scope,
        fields: message.field,
        messages: message.nestedType,
        place: "message",
      });
    }
  }

  /** Whether `type name =` is next: names of types may be keywords. */
  #seesField(): boolean {
    const { reader } = this.#context;
    let ahead = 1;
    while (reader.peek(ahead).text === "." && reader.peek(ahead + 1).kind === "word") ahead += 2;
    return (
      reader.peek(ahead).kind === "word" &&
      reader.peek(ahead + 1).kind === "sign" &&
      reader.peek(ahead + 1).text === "=" &&
      reader.peek(ahead + 2).kind === "integer"
    );
  }

  #parseOneof(message: DescriptorProto, scope: string): void {
    const { reader, marks } = this.#context;
    const name = reader.word("the name of a oneof");
    const oneof = create(OneofDescriptorProtoSchema, { name: name.text });
    marks.set(oneof, "name", name);
    const oneofIndex = message.oneofDecl.length;
    message.oneofDecl.push(oneof);
    reader.expect("{");
    const before = message.field.length;
    while (!reader.takes("}")) {
      if (reader.takes(";")) continue;
      if (reader.sees("option")) {
        reader.next();
        this.#context.addOption(oneof, scope);
        reader.expectSemicolon();
        continue;
      }
      this.#parseField({
        scope,
        fields: message.field,
        messages: message.nestedType,
        place: "oneof",
        oneofIndex,
      });
    }
    if (message.field.length === before) {
      throw reader.error(`oneof \`${name.text}\` has no fields`, name);
    }
  }

  #parseField(target: FieldTarget): void {
    const { reader, marks } = this.#context;
    const field = create(FieldDescriptorProtoSchema, { label: Label.OPTIONAL });
    const hasLabel = this.#parseLabel(field, target);
    const type = reader.peek();
    if (type.text === "map" && reader.peek(1).text === "<") {
      if (hasLabel) throw reader.error("a map has no label", type);
      this.#parseMap(field, target);
      return;
    }
    if (type.text === "group" && reader.peek(1).kind === "word" && reader.peek(2).text === "=") {
      this.#parseGroup(field, target);
      return;
    }
    if (type.kind !== "word" && type.text !== ".") {
      throw reader.expected("a field or another definition");
    }
    const typeName = reader.dottedName("the type of a field", true);
    const scalar = scalarTypes[typeName];
    marks.set(field, "type", type);
    if (scalar !== undefined) field.type = scalar;
    else field.typeName = typeName;
    const name = reader.word(`the name of a field after \`${typeName}\``);
    this.#finishField(field, name, target);
    reader.expectSemicolon();
  }

  #parseLabel(field: FieldDescriptorProto, target: FieldTarget): boolean {
    const { reader } = this.#context;
    const token = reader.peek();
    const label = token.kind === "word" ? labels[token.text] : undefined;
    const syntax = this.#context.syntax();
    if (label === undefined) {
      if (syntax === "proto2" && target.place !== "oneof" && token.text !== "map") {
        const hint = didYouMean(token.text, Object.keys(labels));
        throw reader.expected(
          `\`optional\`, \`required\` or \`repeated\`, as every field of proto2 has${hint}`,
        );
      }
      return false;
    }
    reader.next();
    if (target.place === "oneof") throw reader.error("a field of a oneof has no label", token);
    if (label === Label.REQUIRED && syntax !== "proto2") {
      throw reader.error(`\`required\` is for proto2 only`, token);
    }
    if (label === Label.OPTIONAL && syntax === "editions") {
      throw reader.error("editions have no `optional`: fields have presence by default", token);
    }
    if (label === Label.OPTIONAL && syntax === "proto3") field.proto3Optional = true;
    field.label = label;
    return true;
  }

  #parseMap(field: FieldDescriptorProto, target: FieldTarget): void {
    const { reader, marks } = this.#context;
    const start = reader.next();
    if (target.place !== "message") throw reader.error("a map may stand in a message only", start);
    reader.expect("<");
    const keyToken = reader.word("the type of the keys");
    const keyType = scalarTypes[keyToken.text];
    if (keyType === undefined || !keyTypes.has(keyType)) {
      throw reader.error(
        `a key of a map is an integer, bool or string, not \`${keyToken.text}\``,
        keyToken,
      );
    }
    reader.expect(",");
    const valueToken = reader.peek();
    const valueName = reader.dottedName("the type of the values", true);
    reader.expect(">");
    const name = reader.word("the name of a field");
    const key = create(FieldDescriptorProtoSchema, {
      name: "key",
      number: 1,
      label: Label.OPTIONAL,
      type: keyType,
      jsonName: "key",
    });
    const value = create(FieldDescriptorProtoSchema, {
      name: "value",
      number: 2,
      label: Label.OPTIONAL,
      jsonName: "value",
    });
    const scalar = scalarTypes[valueName];
    if (scalar !== undefined) value.type = scalar;
    else value.typeName = valueName;
    marks.set(value, "type", valueToken);
    const entry = create(DescriptorProtoSchema, {
      name: mapEntryNameOf(name.text),
      field: [key, value],
      options: create(MessageOptionsSchema, { mapEntry: true }),
    });
    for (const element of [key, value, entry]) marks.set(element, "name", name);
    target.messages.push(entry);
    field.label = Label.REPEATED;
    field.typeName = entry.name;
    marks.set(field, "type", start);
    this.#finishField(field, name, target);
    reader.expectSemicolon();
  }

  #parseGroup(field: FieldDescriptorProto, target: FieldTarget): void {
    const { reader, marks } = this.#context;
    const start = reader.next();
    if (this.#context.syntax() !== "proto2") {
      throw reader.error("groups are for proto2 only", start);
    }
    const name = reader.next();
    if (!/^[A-Z]/.test(name.text)) {
      throw reader.error("the name of a group begins with a capital letter", name);
    }
    const group = create(DescriptorProtoSchema, { name: name.text });
    marks.set(group, "name", name);
    target.messages.push(group);
    field.type = Type.GROUP;
    field.typeName = name.text;
    marks.set(field, "type", name);
    this.#finishField(field, { ...name, text: name.text.toLowerCase() }, target);
    reader.expect("{", `group ${name.text}`);
    this.#parseBody(group, inScope(target.scope, name.text));
  }

  #finishField(field: FieldDescriptorProto, name: Token, target: FieldTarget): void {
    const { reader, marks } = this.#context;
    field.name = name.text;
    field.jsonName = jsonNameOf(name.text);
    marks.set(field, "name", name);
    reader.expect("=", `\`${name.text}\``);
    marks.set(field, "number", reader.peek());
    field.number = reader.int32("the number of a field");
    if (target.oneofIndex !== undefined) field.oneofIndex = target.oneofIndex;
    target.fields.push(field);
    if (!reader.takes("[")) return;
    do this.#parseFieldOption(field, target.scope);
    while (reader.takes(","));
    reader.expect("]");
  }

  #parseFieldOption(field: FieldDescriptorProto, scope: string): void {
    const { reader } = this.#context;
    const name = reader.peek();
    const plain = reader.peek(1).text === "=";
    if (plain && name.text === "default") {
      this.#context.defaults.push({ field, value: parseOptionSetting(reader).value });
    } else if (plain && name.text === "json_name") {
      field.jsonName = this.#textOf(parseOptionSetting(reader).value);
    } else {
      this.#context.addOption(field, scope);
    }
  }

  #textOf(value: OptionValue): string {
    if (value.kind !== "string") {
      throw this.#context.reader.error("`json_name` is a string", value.position);
    }
    return Buffer.from(value.value).toString();
  }

  #parseExtensions(message: DescriptorProto, scope: string): void {
    const { reader, marks } = this.#context;
    const before = message.extensionRange.length;
    do {
      const position = reader.peek();
      const { start, end } = this.#parseRange();
      const range = create(DescriptorProto_ExtensionRangeSchema, { start, end });
      marks.set(range, "name", position);
      message.extensionRange.push(range);
    } while (reader.takes(","));
    if (reader.takes("[")) {
      do {
        const setting = parseOptionSetting(reader);
        for (const range of message.extensionRange.slice(before)) {
          this.#context.addParsedOption(range, scope, setting);
        }
      } while (reader.takes(","));
      reader.expect("]");
    }
    reader.expectSemicolon();
  }

  #parseReserved(message: DescriptorProto): void {
    const { reader } = this.#context;
    do {
      if (reader.peek().kind === "integer" || reader.sees("-")) {
        const range = this.#parseRange();
        message.reservedRange.push(create(DescriptorProto_ReservedRangeSchema, range));
      } else {
        message.reservedName.push(parseReservedName(reader));
      }
    } while (reader.takes(","));
    reader.expectSemicolon();
  }

  /** `4`, `4 to 9` or `4 to max`; the end is exclusive. */
  #parseRange(): { start: number; end: number } {
    const { reader } = this.#context;
    const position = reader.peek();
    const start = reader.int32("the number of a field");
    if (!reader.takes("to")) return { start, end: start + 1 };
    if (reader.takes("max")) return { start, end: fieldNumberEnd };
    const end = reader.int32("the end of the range") + 1;
    if (end <= start) throw reader.error("the range ends before it begins", position);
    return { start, end };
  }
}

/** In proto3, each `optional` field is the only one of a oneof of its own, behind the others. */
function addSyntheticOneofs(message: DescriptorProto): void {
  const taken = new Set([
    ...message.field.map((field) => field.name),
    ...message.oneofDecl.map((oneof) => oneof.name),
  ]);
  for (const field of message.field) {
    if (!field.proto3Optional) continue;
    let name = field.name.startsWith("_") ? field.name : `_${field.name}`;
    while (taken.has(name)) name = `X${name}`;
    taken.add(name);
    field.oneofIndex = message.oneofDecl.length;
    message.oneofDecl.push(create(OneofDescriptorProtoSchema, { name }));
  }
}
