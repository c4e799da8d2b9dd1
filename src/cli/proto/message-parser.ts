import { create } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  DescriptorProto_ExtensionRangeSchema,
  DescriptorProto_ReservedRangeSchema,
  DescriptorProtoSchema,
  type FieldDescriptorProto,
  OneofDescriptorProtoSchema,
  type SymbolVisibility,
} from "@bufbuild/protobuf/wkt";
import { FieldParser } from "./field-parser.ts";
import { inScope } from "./names.ts";
import { parseOptionSetting } from "./option-parser.ts";
import { type ParseContext, parseReservedName, takeVisibility } from "./parse-context.ts";

/** One past the highest field number, which `max` stands for. */
const fieldNumberEnd = 536870912;

/** Parses messages and what stands in them. */
export class MessageParser {
  readonly #context: ParseContext;
  readonly #fields: FieldParser;

  constructor(context: ParseContext) {
    this.#context = context;
    this.#fields = new FieldParser(context, (group, scope) => this.#parseBody(group, scope));
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
      this.#fields.parse({ scope, fields, messages, place: "extend" });
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
      this.#fields.parse({
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
      this.#fields.parse({
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
