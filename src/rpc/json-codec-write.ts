import {
  create,
  type DescField,
  type DescMessage,
  fromBinary,
  type JsonObject,
  type JsonValue,
  type Message,
  type Registry,
  toJson,
} from "@bufbuild/protobuf";
import { base64Encode } from "@bufbuild/protobuf/wire";
import { type Any, AnySchema } from "@bufbuild/protobuf/wkt";

type Fields = Record<string, unknown>;
type JsonKey = string | number;

interface FoundAny {
  readonly any: Any;
  readonly path: readonly JsonKey[];
}

/**
 * The JSON form of a message. An Any whose type is not in `types`, or whose bytes have no JSON form,
 * is shown as `{"@type": …, "value": base64}`, so an answer never fails for what it carries.
 */
export function writeJson(desc: DescMessage, message: Message, types: Registry): JsonValue {
  if (desc.typeName === AnySchema.typeName) return anyToJson(message as Any, types);
  if (!mayHoldAny(desc)) return toJson(desc, message, { registry: types });
  const found: FoundAny[] = [];
  const json = toJson(desc, withoutAnys(desc, message, [], found), { registry: types });
  for (const { any, path } of found) place(json, path, anyToJson(any, types));
  return json;
}

function anyToJson(any: Any, types: Registry): JsonObject {
  if (any.typeUrl === "") return {};
  const desc = types.getMessage(any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1));
  if (desc !== undefined) {
    try {
      const json = writeJson(desc, fromBinary(desc, any.value), types);
      const isFields =
        typeof json === "object" && json !== null && !Array.isArray(json) && !hasOwnForm(desc);
      return isFields ? { "@type": any.typeUrl, ...json } : { "@type": any.typeUrl, value: json };
    } catch {
      // The bytes do not parse, or hold what JSON cannot say, such as a Timestamp out of range.
    }
  }
  return { "@type": any.typeUrl, value: base64Encode(any.value) };
}

/** Types of this package whose JSON form may be an object, but not of their fields. */
function hasOwnForm(desc: DescMessage): boolean {
  const name = desc.typeName;
  return (
    name === AnySchema.typeName ||
    name === "google.protobuf.Struct" ||
    name === "google.protobuf.Value"
  );
}

/** A copy, as shallow as can be, in which every Any is empty; `found` says where they were. */
function withoutAnys(
  desc: DescMessage,
  message: Message,
  path: readonly JsonKey[],
  found: FoundAny[],
): Message {
  if (desc.typeName === AnySchema.typeName) {
    found.push({ any: message as Any, path });
    return create(AnySchema);
  }
  const copy = Object.assign(Object.create(Object.getPrototypeOf(message)), message) as Fields;
  for (const field of desc.fields) {
    const child = field.message;
    if (child === undefined || !mayHoldAny(child)) continue;
    const at = [...path, field.jsonName];
    const strip = (item: Message, ...key: JsonKey[]): Message =>
      withoutAnys(child, item, [...at, ...key], found);
    replaceValues(copy, field, strip);
  }
  return copy as unknown as Message;
}

function replaceValues(
  copy: Fields,
  field: DescField,
  strip: (item: Message, ...key: JsonKey[]) => Message,
): void {
  if (field.fieldKind === "list") {
    const items = copy[field.localName] as readonly Message[];
    copy[field.localName] = items.map((item, index) => strip(item, index));
  } else if (field.fieldKind === "map") {
    const entries = Object.entries(copy[field.localName] as Record<string, Message>);
    copy[field.localName] = Object.fromEntries(
      entries.map(([key, item]) => [key, strip(item, key)]),
    );
  } else if (field.oneof !== undefined) {
    const oneof = copy[field.oneof.localName] as { case?: string; value?: Message };
    if (oneof.case === field.localName && oneof.value !== undefined) {
      copy[field.oneof.localName] = { case: oneof.case, value: strip(oneof.value) };
    }
  } else if (Object.hasOwn(copy, field.localName) && copy[field.localName] !== undefined) {
    copy[field.localName] = strip(copy[field.localName] as Message);
  }
}

function place(root: JsonValue, path: readonly JsonKey[], value: JsonValue): void {
  let holder = root as Fields;
  for (const key of path.slice(0, -1)) holder = holder[key] as Fields;
  // Defined, not assigned: the key `__proto__` of a map would set the prototype.
  Object.defineProperty(holder, path.at(-1) ?? "", {
    value,
    writable: true,
    enumerable: true,
    configurable: true,
  });
}

const anyHolders = new WeakMap<DescMessage, boolean>();

/** Whether an Any can be anywhere in a message of this type. */
function mayHoldAny(desc: DescMessage): boolean {
  const known = anyHolders.get(desc);
  if (known !== undefined) return known;
  const seen = new Set<DescMessage>([desc]);
  let holds = false;
  for (const type of seen) {
    if (type.typeName === AnySchema.typeName) holds = true;
    for (const field of type.fields) if (field.message !== undefined) seen.add(field.message);
  }
  anyHolders.set(desc, holds);
  return holds;
}
