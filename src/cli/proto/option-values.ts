import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  type DescriptorProto,
  type FieldDescriptorProto,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { didYouMean } from "../../lib/suggest.ts";
import { integerRanges, toInteger, toNumber } from "./defaults.ts";
import type { OptionValue } from "./option-parser.ts";
import type { SymbolTable } from "./symbols.ts";

/** A message under construction, kept by field number until its bytes are asked for. */
export class MessageValue {
  readonly #fields = new Map<
    number,
    { field: EncodedField; values: (Uint8Array | MessageValue)[] }
  >();

  /** The values that a field has. */
  values(number: number): readonly (Uint8Array | MessageValue)[] {
    return this.#fields.get(number)?.values ?? [];
  }

  add(field: EncodedField, value: Uint8Array | MessageValue): void {
    const entry = this.#fields.get(field.number) ?? { field, values: [] };
    entry.values.push(value);
    this.#fields.set(field.number, entry);
  }

  /** Fields in the order of their numbers, as protoc has them; buf puts those of oneofs last. */
  toBinary(): Uint8Array<ArrayBuffer> {
    const writer = new BinaryWriter();
    const entries = [...this.#fields.entries()].sort(([a], [b]) => a - b);
    for (const [number, { field, values }] of entries) {
      for (const value of values) {
        if (value instanceof Uint8Array) {
          writer.tag(number, field.wireType).raw(value);
        } else if (field.wireType === WireType.StartGroup) {
          writer.tag(number, WireType.StartGroup).raw(value.toBinary());
          writer.tag(number, WireType.EndGroup);
        } else {
          writer.tag(number, WireType.LengthDelimited).bytes(value.toBinary());
        }
      }
    }
    return writer.finish();
  }
}

export interface EncodedField {
  readonly number: number;
  readonly wireType: WireType;
}

/** The bytes of one scalar or enum value, or the text of what is wrong with it. */
export function encodeScalar(
  field: FieldDescriptorProto,
  value: OptionValue,
  symbols: SymbolTable,
  inner: boolean,
): Uint8Array | string {
  const writer = new BinaryWriter();
  const { type } = field;
  if (type === Type.BOOL) {
    const flag = toBoolean(value, inner);
    return flag === undefined ? "expects true or false" : writer.bool(flag).finish();
  }
  if (type === Type.STRING || type === Type.BYTES) {
    if (value.kind !== "string") return "expects a string in quotes";
    return writer.bytes(value.value).finish();
  }
  if (type === Type.ENUM) return encodeEnum(field, value, symbols, inner);
  if (type === Type.FLOAT || type === Type.DOUBLE) {
    const number = toNumber(value);
    if (number === undefined) return "expects a number";
    if (type === Type.DOUBLE) return writer.double(number).finish();
    return writer.raw(new Uint8Array(Float32Array.of(number).buffer)).finish();
  }
  return encodeInteger(type, value);
}

const fixedWireTypes: ReadonlyMap<Type, WireType> = new Map([
  [Type.DOUBLE, WireType.Bit64],
  [Type.FIXED64, WireType.Bit64],
  [Type.SFIXED64, WireType.Bit64],
  [Type.FLOAT, WireType.Bit32],
  [Type.FIXED32, WireType.Bit32],
  [Type.SFIXED32, WireType.Bit32],
  [Type.GROUP, WireType.StartGroup],
  [Type.STRING, WireType.LengthDelimited],
  [Type.BYTES, WireType.LengthDelimited],
]);

/** How a field is laid out on the wire; `delimited` is for messages that are written as groups. */
export function wireTypeOf(type: Type, delimited: boolean): WireType {
  if (type !== Type.MESSAGE) return fixedWireTypes.get(type) ?? WireType.Varint;
  return delimited ? WireType.StartGroup : WireType.LengthDelimited;
}

export function isMessageField(field: FieldDescriptorProto): boolean {
  return field.type === Type.MESSAGE || field.type === Type.GROUP;
}

export function isRepeated(field: FieldDescriptorProto): boolean {
  return field.label === Label.REPEATED;
}

/** A field by its name; text format writes a group by the name of its message. */
export function findField(
  message: DescriptorProto,
  name: string,
): FieldDescriptorProto | undefined {
  return message.field.find(
    (field) =>
      field.name === name ||
      (field.type === Type.GROUP &&
        field.typeName.slice(field.typeName.lastIndexOf(".") + 1) === name),
  );
}

function toBoolean(value: OptionValue, inner: boolean): boolean | undefined {
  if (value.kind === "word") {
    if (value.text === "true" || (inner && (value.text === "True" || value.text === "t")))
      return true;
    if (value.text === "false" || (inner && (value.text === "False" || value.text === "f")))
      return false;
  }
  if (inner && value.kind === "integer") {
    if (value.value === 0n || value.value === 1n) return value.value === 1n;
  }
  return undefined;
}

function encodeEnum(
  field: FieldDescriptorProto,
  value: OptionValue,
  symbols: SymbolTable,
  inner: boolean,
): Uint8Array | string {
  const symbol = symbols.get(field.typeName.slice(1));
  const values = symbol?.kind === "enum" ? symbol.node.value : [];
  if (value.kind === "word") {
    const found = values.find(({ name }) => name === value.text);
    if (found !== undefined) return new BinaryWriter().int32(found.number).finish();
    const names = values.map(({ name }) => name);
    return `\`${symbol?.name}\` has no value \`${value.text}\`${didYouMean(value.text, names)}`;
  }
  if (inner && value.kind === "integer" && value.value >= -(2n ** 31n) && value.value < 2n ** 31n) {
    return new BinaryWriter().int32(Number(value.value)).finish();
  }
  return `expects the name of a value of \`${symbol?.name}\``;
}

const integerWriters: ReadonlyMap<Type, (writer: BinaryWriter, value: bigint) => BinaryWriter> =
  new Map([
    [Type.INT32, (writer, value) => writer.int32(Number(value))],
    [Type.UINT32, (writer, value) => writer.uint32(Number(value))],
    [Type.SINT32, (writer, value) => writer.sint32(Number(value))],
    [Type.FIXED32, (writer, value) => writer.fixed32(Number(value))],
    [Type.SFIXED32, (writer, value) => writer.sfixed32(Number(value))],
    [Type.INT64, (writer, value) => writer.int64(value)],
    [Type.UINT64, (writer, value) => writer.uint64(value)],
    [Type.SINT64, (writer, value) => writer.sint64(value)],
    [Type.FIXED64, (writer, value) => writer.fixed64(value)],
    [Type.SFIXED64, (writer, value) => writer.sfixed64(value)],
  ]);

function encodeInteger(type: Type, value: OptionValue): Uint8Array | string {
  const integer = toInteger(value);
  const range = integerRanges.get(type);
  const write = integerWriters.get(type);
  if (integer === undefined || range === undefined || write === undefined) {
    return "expects an integer";
  }
  if (integer < range[0] || integer > range[1]) {
    return `expects an integer from ${range[0]} to ${range[1]}`;
  }
  return write(new BinaryWriter(), integer).finish();
}
