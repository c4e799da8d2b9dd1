import {
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { anyPack, DurationSchema, FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";

/** Below this depth of messages in messages, fields that hold messages are left out. */
const depthMax = 2;

/**
 * Messages of one type in which, taken together, every field is set: one message, or as many as the
 * biggest oneof has members.
 */
export function populated(desc: DescMessage): Message[] {
  const variants = Math.max(1, ...desc.oneofs.map((oneof) => oneof.fields.length));
  return Array.from({ length: variants }, (_, variant) => populate(desc, variant, 0));
}

function populate(desc: DescMessage, variant: number, depth: number): Message {
  const special = specialValue(desc, variant);
  if (special !== undefined) return special;
  const message = reflect(desc);
  for (const field of desc.fields) {
    if (field.oneof !== undefined) {
      const { fields } = field.oneof;
      if (fields[variant % fields.length] !== field) continue;
    }
    if (depth < depthMax || field.message === undefined || isRequired(field)) {
      setField(message, field, variant, depth);
    }
  }
  return message.message;
}

function isRequired(field: DescField): boolean {
  return field.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED;
}

function setField(message: ReflectMessage, field: DescField, variant: number, depth: number): void {
  switch (field.fieldKind) {
    case "list": {
      const list = message.get(field);
      for (let index = 0; index < 2; index += 1) {
        list.add(valueOf(field, index, variant, depth));
      }
      break;
    }
    case "map": {
      const map = message.get(field);
      for (let index = 0; index < 2; index += 1) {
        map.set(keyOf(field.mapKey, index), valueOf(field, index, variant, depth));
      }
      break;
    }
    case "message":
    case "enum":
    case "scalar":
      message.set(field, valueOf(field, 0, variant, depth));
  }
}

function valueOf(field: DescField, index: number, variant: number, depth: number): unknown {
  if (field.message !== undefined) {
    return reflect(field.message, populate(field.message, variant, depth + 1));
  }
  if (field.enum !== undefined) return enumValue(field.enum);
  return scalarValue(field.scalar ?? ScalarType.STRING, index);
}

/** The last value that is not zero, so that it is not left out. */
function enumValue(desc: DescEnum): number {
  return desc.values.findLast(({ number }) => number !== 0)?.number ?? 0;
}

function keyOf(type: ScalarType, index: number): string | number | bigint | boolean {
  const value = scalarValue(type, index);
  if (typeof value === "object") throw new Error("a map has no such key");
  return typeof value === "string" ? `${value}${index}` : value;
}

/** Values at the edges of what a type holds, which JSON and JavaScript numbers are bad at. */
function scalarValue(
  type: ScalarType,
  index: number,
): string | number | bigint | boolean | Uint8Array {
  const first = index === 0;
  switch (type) {
    case ScalarType.STRING:
      return first ? 'ä "€" 😀\n' : "__proto__";
    case ScalarType.BYTES:
      return Uint8Array.of(0, 255, 128, 62 + index);
    case ScalarType.BOOL:
      return first;
    case ScalarType.DOUBLE:
      return first ? 1e100 : -0.1;
    case ScalarType.FLOAT:
      return first ? 3.5 : -16_777_216;
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return first ? -(2 ** 31) : 2 ** 31 - 1;
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return first ? 2 ** 32 - 1 : 1;
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return first ? -(2n ** 63n) : 2n ** 63n - 1n;
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      break;
  }
  return first ? 2n ** 64n - 1n : 9_007_199_254_740_993n;
}

/** Types whose values have to make sense together, for their JSON form. */
function specialValue(desc: DescMessage, variant: number): Message | undefined {
  switch (desc.typeName) {
    case "google.protobuf.Timestamp":
      return create(desc, { seconds: 1_700_000_000n, nanos: 123_000_000 });
    case "google.protobuf.Duration":
      return create(desc, { seconds: -3n, nanos: -1 });
    case "google.protobuf.FieldMask":
      return create(desc, { paths: ["title", "unit_price.currency_code"] });
    case "google.protobuf.Any":
      return anyPack(DurationSchema, create(DurationSchema, { seconds: 1n }));
    case "google.protobuf.Value":
      return create(desc, { kind: { case: "numberValue", value: variant + 0.5 } });
    default:
      return undefined;
  }
}
