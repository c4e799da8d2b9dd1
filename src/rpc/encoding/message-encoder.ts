import {
  type DescField,
  type DescMessage,
  type Message,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { Edition, FeatureSet_FieldPresence as Presence } from "@bufbuild/protobuf/wkt";
import { wireTypeOf } from "../../lib/wire-type.ts";
import { BackwardWriter } from "./backward-writer.ts";

type Fields = Readonly<Record<string, unknown>>;
type WriteMessage = (writer: BackwardWriter, message: Fields) => void;
type WriteValue = (writer: BackwardWriter, value: unknown) => void;

/** One for all: encoding is never interrupted. */
const shared = new BackwardWriter();
const compiled = new WeakMap<DescMessage, WriteMessage>();

/**
 * Encodes a message as `toBinary` does, to the byte, in about a fifth of its time: for the answers of
 * calls, whose types the server knows. What it does not write itself (messages of proto2 and editions,
 * groups, and fields that the runtime keeps in another form) it leaves to `toBinary`.
 *
 * Values have to be of the types that the generated code gives them: they are not checked.
 *
 * @param headroom bytes to leave free before the message
 */
export function encodeMessage(desc: DescMessage, message: Message, headroom: number): Buffer {
  try {
    writerOf(desc)(shared, message);
    return shared.finish(headroom);
  } catch (error) {
    shared.reset();
    throw error;
  }
}

function writerOf(desc: DescMessage): WriteMessage {
  const known = compiled.get(desc);
  if (known !== undefined) return known;
  if (!isPlain(desc)) {
    const general: WriteMessage = (writer, message) =>
      writer.bytes(toBinary(desc, message as Message & Fields));
    compiled.set(desc, general);
    return general;
  }
  const writers: WriteMessage[] = [];
  const write: WriteMessage = (writer, message) => {
    const unknown = message["$unknown"] as Message["$unknown"];
    if (unknown !== undefined) writeUnknown(writer, unknown);
    for (const writeField of writers) writeField(writer, message);
  };
  // Known before its fields are: messages may contain themselves.
  compiled.set(desc, write);
  for (const field of [...desc.fields].sort((a, b) => b.number - a.number)) {
    writers.push(fieldWriter(field));
  }
  return write;
}

/** Whether every field is kept as this file expects it. */
export function isPlain(desc: DescMessage): boolean {
  return desc.file.edition === Edition.EDITION_PROTO3 && desc.fields.every(isPlainField);
}

function isPlainField(field: DescField): boolean {
  if (field.fieldKind === "map") {
    return field.mapKey === ScalarType.STRING && !isMapped(field.message);
  }
  if ("longAsString" in field && field.longAsString) return false;
  return !("delimitedEncoding" in field && field.delimitedEncoding) && !isMapped(field.message);
}

/** The runtime keeps fields of these types as JSON objects or bare values. */
const mapped: ReadonlySet<string> = new Set([
  "google.protobuf.Struct",
  "google.protobuf.BoolValue",
  "google.protobuf.BytesValue",
  "google.protobuf.DoubleValue",
  "google.protobuf.FloatValue",
  "google.protobuf.Int32Value",
  "google.protobuf.Int64Value",
  "google.protobuf.StringValue",
  "google.protobuf.UInt32Value",
  "google.protobuf.UInt64Value",
]);

function isMapped(message: DescMessage | undefined): boolean {
  return message !== undefined && mapped.has(message.typeName);
}

function writeUnknown(writer: BackwardWriter, unknown: NonNullable<Message["$unknown"]>): void {
  for (const { no, wireType, data } of unknown.toReversed()) {
    writer.bytes(data);
    writer.varint(no * 8 + wireType);
  }
}

function fieldWriter(field: DescField): WriteMessage {
  switch (field.fieldKind) {
    case "list":
      return listWriter(field);
    case "map":
      return mapWriter(field);
    default:
      return singularWriter(field);
  }
}

function singularWriter(
  field: DescField & { fieldKind: "scalar" | "enum" | "message" },
): WriteMessage {
  const { localName, oneof } = field;
  const write = taggedWriter(field, field.number);
  if (oneof !== undefined) {
    const oneofName = oneof.localName;
    return (writer, message) => {
      const chosen = message[oneofName] as { case?: string; value?: unknown };
      if (chosen.case === localName) write(writer, chosen.value);
    };
  }
  if (field.presence !== Presence.IMPLICIT) {
    return (writer, message) => {
      const value = message[localName];
      if (value !== undefined) write(writer, value);
    };
  }
  const isZero = zeroTest(field.fieldKind === "scalar" ? field.scalar : ScalarType.INT32);
  return (writer, message) => {
    const value = message[localName];
    if (!isZero(value)) write(writer, value);
  };
}

function zeroTest(type: ScalarType): (value: unknown) => boolean {
  switch (type) {
    case ScalarType.BYTES:
      return (value) => (value as Uint8Array).byteLength === 0;
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return (value) => Object.is(value, 0);
    case ScalarType.STRING:
      return (value) => value === "";
    case ScalarType.BOOL:
      return (value) => value === false;
    default:
      return (value) => value === 0 || value === 0n;
  }
}

function listWriter(field: DescField & { fieldKind: "list" }): WriteMessage {
  const { localName, number } = field;
  if (field.packed) {
    const write = valueWriter(field.listKind === "enum" ? ScalarType.INT32 : scalarOf(field));
    return (writer, message) => {
      const items = message[localName] as unknown[];
      if (items.length === 0) return;
      const before = writer.size;
      for (let index = items.length - 1; index >= 0; index -= 1) write(writer, items[index]);
      writer.varint(writer.size - before);
      writer.varint(number * 8 + WireType.LengthDelimited);
    };
  }
  const write = taggedWriter(field, number);
  return (writer, message) => {
    const items = message[localName] as unknown[];
    for (let index = items.length - 1; index >= 0; index -= 1) write(writer, items[index]);
  };
}

function mapWriter(field: DescField & { fieldKind: "map" }): WriteMessage {
  const { localName, number } = field;
  const writeValue = taggedWriter(field, 2);
  const keyTag = 8 + WireType.LengthDelimited;
  return (writer, message) => {
    const map = message[localName] as Record<string, unknown>;
    const keys = Object.keys(map);
    for (let index = keys.length - 1; index >= 0; index -= 1) {
      const key = keys[index] ?? "";
      const before = writer.size;
      writeValue(writer, map[key]);
      const behindKey = writer.size;
      writer.string(key);
      writer.varint(writer.size - behindKey);
      writer.varint(keyTag);
      writer.varint(writer.size - before);
      writer.varint(number * 8 + WireType.LengthDelimited);
    }
  };
}

/** Writes one value of the field with its tag in front. */
function taggedWriter(field: DescField, number: number): WriteValue {
  if (field.message !== undefined) {
    const desc = field.message;
    const tag = number * 8 + WireType.LengthDelimited;
    let write: WriteMessage | undefined;
    return (writer, value) => {
      write ??= writerOf(desc);
      const before = writer.size;
      write(writer, value as Fields);
      writer.varint(writer.size - before);
      writer.varint(tag);
    };
  }
  const type = field.enum === undefined ? scalarOf(field) : ScalarType.INT32;
  const write = valueWriter(type);
  const tag = number * 8 + wireTypeOf(type);
  return (writer, value) => {
    write(writer, value);
    writer.varint(tag);
  };
}

function scalarOf(field: DescField): ScalarType {
  if (field.scalar === undefined) throw new Error(`${field.toString()} has no scalar type`);
  return field.scalar;
}

/** Writes a value without a tag. Values are of the type that the generated code says. */
function valueWriter(type: ScalarType): WriteValue {
  switch (type) {
    case ScalarType.STRING:
      return (writer, value) => {
        const before = writer.size;
        writer.string(value as string);
        writer.varint(writer.size - before);
      };
    case ScalarType.BYTES:
      return (writer, value) => {
        const bytes = value as Uint8Array;
        writer.bytes(bytes);
        writer.varint(bytes.byteLength);
      };
    case ScalarType.BOOL:
      return (writer, value) => writer.varint(value === true ? 1 : 0);
    case ScalarType.DOUBLE:
      return (writer, value) => writer.double(value as number);
    case ScalarType.FLOAT:
      return (writer, value) => writer.float(value as number);
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return (writer, value) => writer.fixed32(value as number);
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return (writer, value) => writer.fixed64(value as bigint);
    case ScalarType.UINT32:
      return (writer, value) => writer.varint(value as number);
    case ScalarType.INT32:
      return (writer, value) => {
        const number = value as number;
        if (number >= 0) writer.varint(number);
        else writer.varint64(BigInt(number));
      };
    case ScalarType.SINT32:
      return (writer, value) => {
        const number = value as number;
        writer.varint(((number << 1) ^ (number >> 31)) >>> 0);
      };
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return (writer, value) => writer.varint64(value as bigint);
    case ScalarType.SINT64:
      return (writer, value) => {
        const number = value as bigint;
        writer.varint64(BigInt.asUintN(64, (number << 1n) ^ (number >> 63n)));
      };
  }
}
