import { create } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  DescriptorProtoSchema,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  MessageOptionsSchema,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { didYouMean } from "../../lib/suggest.ts";
import type { Token } from "./lexer.ts";
import { inScope, jsonNameOf, mapEntryNameOf } from "./names.ts";
import { type OptionValue, parseOptionSetting } from "./option-parser.ts";
import type { ParseContext } from "./parse-context.ts";

/** The scalar types by their names in `.proto` files. */
const scalarTypes: ReadonlyMap<string, Type> = new Map([
  ["double", Type.DOUBLE],
  ["float", Type.FLOAT],
  ["int64", Type.INT64],
  ["uint64", Type.UINT64],
  ["int32", Type.INT32],
  ["fixed64", Type.FIXED64],
  ["fixed32", Type.FIXED32],
  ["bool", Type.BOOL],
  ["string", Type.STRING],
  ["bytes", Type.BYTES],
  ["uint32", Type.UINT32],
  ["sfixed32", Type.SFIXED32],
  ["sfixed64", Type.SFIXED64],
  ["sint32", Type.SINT32],
  ["sint64", Type.SINT64],
]);

const labels: ReadonlyMap<string, Label> = new Map([
  ["optional", Label.OPTIONAL],
  ["required", Label.REQUIRED],
  ["repeated", Label.REPEATED],
]);

/** What no key of a map may be, of the scalars. */
const noKeyTypes: ReadonlySet<Type> = new Set([Type.DOUBLE, Type.FLOAT, Type.BYTES]);

/** Where a parsed field goes. */
export interface FieldTarget {
  /** Full name of the scope the field is in. */
  readonly scope: string;
  readonly fields: FieldDescriptorProto[];
  /** Takes the messages that groups and maps define on the side. */
  readonly messages: DescriptorProto[];
  readonly place: "message" | "oneof" | "extend";
  readonly oneofIndex?: number;
}

/** Parses fields of all kinds: plain ones, maps and groups. */
export class FieldParser {
  readonly #context: ParseContext;
  readonly #parseBody: (group: DescriptorProto, scope: string) => void;

  /** @param parseBody reads what stands in the braces of a group */
  constructor(context: ParseContext, parseBody: (group: DescriptorProto, scope: string) => void) {
    this.#context = context;
    this.#parseBody = parseBody;
  }

  /** Parses one field and adds it to the target. */
  parse(target: FieldTarget): void {
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
    const scalar = scalarTypes.get(typeName);
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
    const label = token.kind === "word" ? labels.get(token.text) : undefined;
    const syntax = this.#context.syntax();
    if (label === undefined) {
      if (syntax === "proto2" && target.place !== "oneof" && token.text !== "map") {
        const hint = didYouMean(token.text, labels.keys());
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
    const keyType = scalarTypes.get(keyToken.text);
    if (keyType === undefined || noKeyTypes.has(keyType)) {
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
    const scalar = scalarTypes.get(valueName);
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
}
