import { type DescEnum, ScalarType } from "@bufbuild/protobuf";
import { bytesForm, int64Form, numberForm, uint64Form } from "./forms.ts";
import { EscapedText, type ItemPlan, type Slot, textOf } from "./slots.ts";
import { type WireReader, wireTypes } from "./wire-reader.ts";

const { varint, bit32, bit64, lengthDelimited } = wireTypes;

const uint64Zero = uint64Form(0, 0);
const noBytes = new Uint8Array(0);

const bytesItem: ItemPlan = {
  wireType: lengthDelimited,
  read: (reader) => reader.bytes(),
  write: (value) => `"${bytesForm(value as Uint8Array)}"`,
  zero: () => noBytes,
};

const scalarItems: Readonly<Record<ScalarType, (strict: boolean) => ItemPlan>> = {
  [ScalarType.INT32]: () => jsonItem(varint, (reader) => String(reader.uint32() | 0)),
  [ScalarType.UINT32]: () => jsonItem(varint, (reader) => String(reader.uint32())),
  [ScalarType.SINT32]: () => jsonItem(varint, (reader) => String(unzigzag32(reader.uint32()))),
  [ScalarType.FIXED32]: () => jsonItem(bit32, (reader) => String(reader.bit32() >>> 0)),
  [ScalarType.SFIXED32]: () => jsonItem(bit32, (reader) => String(reader.bit32())),
  [ScalarType.INT64]: () => jsonItem(varint, (reader) => int64Form(reader.int64Low(), reader.hi)),
  [ScalarType.UINT64]: () =>
    jsonItem(varint, (reader) => uint64Form(reader.int64Low(), reader.hi), uint64Zero),
  [ScalarType.SINT64]: () => jsonItem(varint, (reader) => int64Form(unzigzag(reader), reader.hi)),
  [ScalarType.FIXED64]: () =>
    jsonItem(bit64, (reader) => uint64Form(reader.bit64(), reader.hi), uint64Zero),
  [ScalarType.SFIXED64]: () => jsonItem(bit64, (reader) => int64Form(reader.bit64(), reader.hi)),
  [ScalarType.BOOL]: () =>
    jsonItem(varint, (reader) => (reader.bool() ? "true" : "false"), "false"),
  [ScalarType.FLOAT]: () => jsonItem(bit32, (reader) => numberForm(reader.float())),
  [ScalarType.DOUBLE]: () => jsonItem(bit64, (reader) => numberForm(reader.double())),
  [ScalarType.STRING]: (strict) => stringItem(strict),
  [ScalarType.BYTES]: () => bytesItem,
};

/** The plan of a scalar type. @param strict refuses strings that are not UTF-8. */
export function scalarItem(type: ScalarType, strict: boolean): ItemPlan {
  return scalarItems[type](strict);
}

/** A value that is kept as its JSON. */
function jsonItem(
  wireType: number,
  read: (reader: WireReader) => string,
  zeroJson = "0",
): ItemPlan {
  return { wireType, read, write: (value) => value as string, zero: () => zeroJson };
}

/** @param closed numbers that the enum does not name count as unknown. */
export function enumItem(desc: DescEnum, closed: boolean): ItemPlan {
  const zero = String(desc.values[0]?.number ?? 0);
  if (!closed) return jsonItem(varint, (reader) => String(reader.uint32() | 0), zero);
  const numbers = new Set(desc.values.map((value) => value.number));
  return {
    wireType: varint,
    read: (reader) => {
      const value = reader.uint32() | 0;
      return numbers.has(value) ? String(value) : undefined;
    },
    write: (value) => value as string,
    zero: () => zero,
  };
}

function stringItem(strict: boolean): ItemPlan {
  return {
    wireType: lengthDelimited,
    read: (reader) => readText(reader, strict),
    write: (value, sink) => {
      if (typeof value === "string") {
        sink.addText(value);
        return `"${value}"`;
      }
      const text = textOf(value);
      sink.addText(text);
      return JSON.stringify(text);
    },
    zero: () => "",
  };
}

function readText(reader: WireReader, strict: boolean): Slot {
  const text = reader.string(strict);
  return reader.needsEscape ? new EscapedText(text) : text;
}

/** How to read the keys of a map, as the keys of an object. */
export interface KeyPlan {
  readonly wireType: number;
  readonly zero: string;
  readonly read: (reader: WireReader) => string;
}

/** Keys are what JSON has for them; unlike in values, a uint64 is the number it is. */
export function mapKey(type: ScalarType, strict: boolean): KeyPlan {
  if (type === ScalarType.STRING) {
    return { wireType: lengthDelimited, zero: "", read: (reader) => reader.string(strict) };
  }
  const { wireType, read } = scalarItem(type, strict);
  if (type === ScalarType.BOOL) {
    return { wireType, zero: "false", read: (reader) => read(reader, undefined) as string };
  }
  const unsigned = type === ScalarType.UINT64 || type === ScalarType.FIXED64;
  return {
    wireType,
    zero: "0",
    read: (reader) => {
      const key = read(reader, undefined) as string;
      return unsigned ? String(BigInt(key) + (1n << 63n)) : key;
    },
  };
}

function unzigzag32(value: number): number {
  return (value >>> 1) ^ -(value & 1);
}

/** Reads a zigzag varint: answers its low half and leaves the high half in `reader.hi`. */
function unzigzag(reader: WireReader): number {
  const low = reader.int64Low();
  const high = reader.hi;
  const sign = -(low & 1);
  reader.hi = (high >>> 1) ^ sign;
  return ((low >>> 1) | ((high & 1) << 31)) ^ sign;
}
