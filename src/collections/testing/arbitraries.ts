import {
  type DescField,
  type DescMessage,
  type FileRegistry,
  ScalarType,
} from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import * as fc from "fast-check";

/**
 * Wire bytes of random messages of a type, as any encoder might write them: fields in any order,
 * repeated, split, with unknown ones between.
 */
export function wireBytes(desc: DescMessage, types: FileRegistry): fc.Arbitrary<Uint8Array> {
  return message(desc, types, 3).map((write) => {
    const writer = new BinaryWriter();
    write(writer);
    return writer.finish();
  });
}

/** Those bytes, then damaged: bytes changed, cut off, put in or taken out. */
export function damagedBytes(desc: DescMessage, types: FileRegistry): fc.Arbitrary<Uint8Array> {
  const damage = fc.record({
    at: fc.nat(),
    kind: fc.constantFrom("change", "cut", "insert", "remove", "flip"),
    byte: fc.nat(255),
  });
  return fc
    .tuple(wireBytes(desc, types), fc.array(damage, { minLength: 1, maxLength: 3 }))
    .map(([bytes, damages]) => damages.reduce(applyDamage, bytes));
}

function applyDamage(
  bytes: Uint8Array,
  { at, kind, byte }: { at: number; kind: string; byte: number },
): Uint8Array {
  const index = bytes.length === 0 ? 0 : at % bytes.length;
  const changed = [...bytes];
  if (kind === "cut") changed.length = index;
  else if (kind === "insert") changed.splice(index, 0, byte);
  else if (kind === "remove") changed.splice(index, 1);
  else if (bytes.length > 0) {
    changed[index] = kind === "change" ? byte : (changed[index] ?? 0) ^ (1 << (byte % 8));
  }
  return Uint8Array.from(changed);
}

type Write = (writer: BinaryWriter) => void;

/** Below this depth there are no more messages, not even Google's small ones. */
const depthMin = -2;
const made = new WeakMap<DescMessage, Map<number, fc.Arbitrary<Write>>>();

function message(desc: DescMessage, types: FileRegistry, depth: number): fc.Arbitrary<Write> {
  const byDepth = made.get(desc) ?? new Map<number, fc.Arbitrary<Write>>();
  made.set(desc, byDepth);
  const known = byDepth.get(depth);
  if (known !== undefined) return known;
  const arbitrary = newMessage(desc, types, depth);
  byDepth.set(depth, arbitrary);
  return arbitrary;
}

function newMessage(desc: DescMessage, types: FileRegistry, depth: number): fc.Arbitrary<Write> {
  const usable = desc.fields.filter(
    ({ message }) =>
      message === undefined ||
      depth > 0 ||
      (depth > depthMin && message.typeName.startsWith("google.")),
  );
  const known = usable.map((field) => fieldRecord(field, types, depth - 1));
  const parts = fc.oneof(
    { weight: 12, arbitrary: known.length === 0 ? unknownRecord : fc.oneof(...known) },
    { weight: 1, arbitrary: unknownRecord },
  );
  return fc.array(parts, { maxLength: depth >= 3 ? 12 : 4 }).map((writes) => (writer) => {
    for (const write of writes) write(writer);
  });
}

const unknownRecord: fc.Arbitrary<Write> = fc
  .tuple(fc.integer({ min: 900, max: 1200 }), fc.constantFrom(0, 1, 2, 3, 5), fc.uint8Array())
  .map(([number, type, bytes]) => (writer: BinaryWriter) => {
    writer.tag(number, type);
    if (type === 0) writer.uint64(BigInt(bytes.length) << 40n);
    else if (type === 1) writer.double(bytes.length);
    else if (type === 2) writer.bytes(bytes);
    else if (type === 5) writer.float(bytes.length);
    else writer.tag(3, WireType.LengthDelimited).bytes(bytes).tag(number, WireType.EndGroup);
  });

function fieldRecord(field: DescField, types: FileRegistry, depth: number): fc.Arbitrary<Write> {
  if (field.fieldKind === "map") return mapEntry(field, types, depth);
  const isPacked =
    field.fieldKind === "list" &&
    field.listKind !== "message" &&
    isPackable(field.scalar ?? ScalarType.INT32);
  return isPacked
    ? fc.oneof(packed(field), single(field, types, depth))
    : single(field, types, depth);
}

function single(field: DescField, types: FileRegistry, depth: number): fc.Arbitrary<Write> {
  if (field.message !== undefined) {
    const isGroup = field.fieldKind !== "map" && field.delimitedEncoding;
    return content(field.message, types, depth).map((write) => (writer) => {
      if (isGroup) {
        writer.tag(field.number, WireType.StartGroup);
        write(writer);
        writer.tag(field.number, WireType.EndGroup);
      } else {
        writer.tag(field.number, WireType.LengthDelimited).fork();
        write(writer);
        writer.join();
      }
    });
  }
  const type = field.scalar ?? ScalarType.INT32;
  return scalar(type).map((write) => (writer) => {
    writer.tag(field.number, wireTypeOf(type));
    write(writer);
  });
}

function packed(field: DescField): fc.Arbitrary<Write> {
  return fc
    .array(scalar(field.scalar ?? ScalarType.INT32), { maxLength: 5 })
    .map((writes) => (writer) => {
      writer.tag(field.number, WireType.LengthDelimited).fork();
      for (const write of writes) write(writer);
      writer.join();
    });
}

function mapEntry(
  field: DescField & { fieldKind: "map" },
  types: FileRegistry,
  depth: number,
): fc.Arbitrary<Write> {
  const key = scalar(field.mapKey).map((write) => (writer: BinaryWriter) => {
    writer.tag(1, wireTypeOf(field.mapKey));
    write(writer);
  });
  const value =
    field.message === undefined
      ? scalar(field.scalar ?? ScalarType.INT32).map((write) => (writer: BinaryWriter) => {
          writer.tag(2, wireTypeOf(field.scalar ?? ScalarType.INT32));
          write(writer);
        })
      : content(field.message, types, depth).map((write) => (writer: BinaryWriter) => {
          writer.tag(2, WireType.LengthDelimited).fork();
          write(writer);
          writer.join();
        });
  const parts = fc.oneof(
    { weight: 8, arbitrary: fc.tuple(key, value) },
    { weight: 1, arbitrary: fc.array(fc.oneof(key, value, unknownRecord), { maxLength: 3 }) },
  );
  return parts.map((writes) => (writer) => {
    writer.tag(field.number, WireType.LengthDelimited).fork();
    for (const write of writes) write(writer);
    writer.join();
  });
}

/** What a message field holds; an Any holds a message of a known type, or of none. */
function content(desc: DescMessage, types: FileRegistry, depth: number): fc.Arbitrary<Write> {
  if (desc.typeName !== "google.protobuf.Any" || depth <= 0) return message(desc, types, depth);
  const targets = ["kinds.v1.Kinds", "google.protobuf.Timestamp", "google.protobuf.Struct"]
    .map((name) => types.getMessage(name))
    .filter((target) => target !== undefined);
  const known = targets.map((target) =>
    message(target, types, depth - 1).map((write) => (writer: BinaryWriter) => {
      const inner = new BinaryWriter();
      write(inner);
      writer.tag(1, WireType.LengthDelimited).string(`type.googleapis.com/${target.typeName}`);
      writer.tag(2, WireType.LengthDelimited).bytes(inner.finish());
    }),
  );
  return fc.oneof(message(desc, types, depth), ...known);
}

const text = fc.oneof(fc.string({ unit: "grapheme" }), fc.string({ unit: "binary" }), fc.string());
const long = fc.oneof(
  fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
  fc.constantFrom(0n, 1n, -1n, (1n << 63n) - 1n, -(1n << 63n), 1n << 53n, -(1n << 53n) - 1n),
);
const integer = fc.oneof(fc.integer(), fc.nat(3), fc.constantFrom(-1, 2147483647, -2147483648));

const scalars: Readonly<Record<ScalarType, fc.Arbitrary<Write>>> = {
  [ScalarType.STRING]: text.map((value) => (writer) => void writer.string(value.toWellFormed())),
  [ScalarType.BYTES]: fc
    .uint8Array({ maxLength: 300 })
    .map((value) => (writer) => void writer.bytes(value)),
  [ScalarType.BOOL]: fc.boolean().map((value) => (writer) => void writer.bool(value)),
  [ScalarType.DOUBLE]: fc.double().map((value) => (writer) => void writer.double(value)),
  [ScalarType.FLOAT]: fc.float().map((value) => (writer) => void writer.float(value)),
  [ScalarType.INT32]: integer.map((value) => (writer) => void writer.int32(value)),
  [ScalarType.SINT32]: integer.map((value) => (writer) => void writer.sint32(value)),
  [ScalarType.UINT32]: integer.map((value) => (writer) => void writer.uint32(value >>> 0)),
  [ScalarType.FIXED32]: integer.map((value) => (writer) => void writer.fixed32(value >>> 0)),
  [ScalarType.SFIXED32]: integer.map((value) => (writer) => void writer.sfixed32(value)),
  [ScalarType.INT64]: long.map((value) => (writer) => void writer.int64(value)),
  [ScalarType.SINT64]: long.map((value) => (writer) => void writer.sint64(value)),
  [ScalarType.SFIXED64]: long.map((value) => (writer) => void writer.sfixed64(value)),
  [ScalarType.UINT64]: long.map(
    (value) => (writer) => void writer.uint64(BigInt.asUintN(64, value)),
  ),
  [ScalarType.FIXED64]: long.map(
    (value) => (writer) => void writer.fixed64(BigInt.asUintN(64, value)),
  ),
};

function scalar(type: ScalarType): fc.Arbitrary<Write> {
  return scalars[type];
}

function isPackable(type: ScalarType): boolean {
  return type !== ScalarType.STRING && type !== ScalarType.BYTES;
}

const wireTypes: ReadonlyMap<ScalarType, WireType> = new Map([
  [ScalarType.STRING, WireType.LengthDelimited],
  [ScalarType.BYTES, WireType.LengthDelimited],
  [ScalarType.DOUBLE, WireType.Bit64],
  [ScalarType.FIXED64, WireType.Bit64],
  [ScalarType.SFIXED64, WireType.Bit64],
  [ScalarType.FLOAT, WireType.Bit32],
  [ScalarType.FIXED32, WireType.Bit32],
  [ScalarType.SFIXED32, WireType.Bit32],
]);

function wireTypeOf(type: ScalarType): WireType {
  return wireTypes.get(type) ?? WireType.Varint;
}
