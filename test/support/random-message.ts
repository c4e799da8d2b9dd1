import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { Random } from "./random.ts";

const depthMax = 6;

/** What a caller might put where a name, an id, a path or a token belongs. */
const strings = [
  "",
  "notes",
  "fuzz",
  "default",
  "notes.v1.Note",
  "type.googleapis.com/notes.v1.Note",
  "title",
  "price_cents",
  "author.name",
  "notes/v1/note.proto",
  "r1",
  "../../etc/passwd",
  "a\0b",
  "__proto__",
  "constructor",
  "'; DROP TABLE record; --",
  "(((((",
  '"',
  "*",
  "\u{1f680}".repeat(70),
  "x".repeat(5_000),
  "eyJxIjoieCJ9",
  "AAAA",
];

/**
 * The bytes of a message that could be one of this type: each field is there or not, with a value
 * that fits its type, often at the edge of what it can hold.
 */
export function randomMessage(desc: DescMessage, random: Random, depth = 0): Uint8Array {
  const writer = new BinaryWriter();
  for (const field of desc.fields) {
    if (random.next() < 0.4) continue;
    const repeats = field.fieldKind === "list" || field.fieldKind === "map" ? random.below(4) : 1;
    for (let index = 0; index < repeats; index += 1) writeField(writer, field, random, depth);
  }
  return writer.finish();
}

/** A copy with some bytes changed, cut off or added. */
export function mutated(bytes: Uint8Array, random: Random): Uint8Array {
  const copy = [...bytes];
  for (let change = random.between(1, 4); change > 0; change -= 1) {
    const at = random.below(copy.length + 1);
    const roll = random.next();
    if (roll < 0.5) copy[at] = random.below(256);
    else if (roll < 0.7) copy.splice(at, random.between(1, 8));
    else copy.splice(at, 0, random.below(256), random.below(256));
  }
  return Uint8Array.from(copy);
}

export function randomBytes(random: Random, lengthMax: number): Uint8Array {
  return Uint8Array.from({ length: random.below(lengthMax + 1) }, () => random.below(256));
}

function writeField(writer: BinaryWriter, field: DescField, random: Random, depth: number): void {
  if (field.fieldKind === "map") {
    writer.tag(field.number, WireType.LengthDelimited).fork();
    writeScalar(writer, 1, field.mapKey, random);
    if (field.mapKind === "message") writeMessage(writer, 2, field.message, random, depth);
    else writeScalar(writer, 2, field.scalar ?? ScalarType.INT32, random);
    writer.join();
  } else if (field.message !== undefined) {
    writeMessage(writer, field.number, field.message, random, depth);
  } else writeScalar(writer, field.number, field.scalar ?? ScalarType.INT32, random);
}

function writeMessage(
  writer: BinaryWriter,
  number: number,
  desc: DescMessage,
  random: Random,
  depth: number,
): void {
  const bytes = depth < depthMax ? randomMessage(desc, random, depth + 1) : new Uint8Array();
  writer.tag(number, WireType.LengthDelimited).bytes(bytes);
}

function writeScalar(
  writer: BinaryWriter,
  number: number,
  scalar: ScalarType,
  random: Random,
): void {
  switch (scalar) {
    case ScalarType.STRING:
      writer.tag(number, WireType.LengthDelimited).string(random.pick(strings));
      break;
    case ScalarType.BYTES:
      writer.tag(number, WireType.LengthDelimited).bytes(randomBytes(random, 64));
      break;
    case ScalarType.DOUBLE:
      writer.tag(number, WireType.Bit64).double(random.pick([0, -1, Number.NaN, 1e308, 0.5]));
      break;
    case ScalarType.FLOAT:
      writer.tag(number, WireType.Bit32).float(random.pick([0, -1, Number.NaN, 1e38, 0.5]));
      break;
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      writer.tag(number, WireType.Bit64).sfixed64(random.pick([0n, -1n, 2n ** 63n - 1n]));
      break;
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      writer.tag(number, WireType.Bit32).sfixed32(random.pick([0, -1, 2 ** 31 - 1]));
      break;
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.INT32:
    case ScalarType.UINT32:
    case ScalarType.SINT32:
    case ScalarType.BOOL:
      writer
        .tag(number, WireType.Varint)
        .int64(random.pick([0n, 1n, 2n, 3n, -1n, 100n, 2n ** 31n, 2n ** 63n - 1n, -(2n ** 63n)]));
  }
}
