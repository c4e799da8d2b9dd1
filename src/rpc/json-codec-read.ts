import {
  create,
  type DescField,
  type DescMessage,
  type JsonValue,
  type Message,
  mergeFromJson,
  type Registry,
  toBinary,
} from "@bufbuild/protobuf";
import { isFieldError } from "@bufbuild/protobuf/reflect";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { type Any, AnySchema } from "@bufbuild/protobuf/wkt";
import { type CollectorError, invalidField } from "../errors.ts";
import { didYouMean } from "../lib/suggest.ts";
import { unsetRequiredField } from "../lib/unset-field.ts";
import { hasOwnJsonForm, join, namesOf, plain, unknownField } from "./json-codec-fields.ts";
import { isJsonObject, type JsonObject, type JsonTree } from "./json-codec-text.ts";

/** The types that an Any in JSON may have. */
export interface JsonTypes {
  readonly namespace: string;
  readonly types: Registry;
}

type Fields = Record<string, unknown>;

/** A message whose fields are still to be read, and where it stands in the document. */
interface Child {
  readonly desc: DescMessage;
  readonly message: Message;
  readonly json: JsonTree;
  readonly path: string;
}

/**
 * Reads a message from its JSON form. Field names are accepted in lowerCamelCase and as in the proto
 * file; an unknown one is refused by its path, and so is a value that does not fit its field.
 *
 * An Any of a type that the namespace does not know may be given as
 * `{"@type": …, "value": base64}`.
 *
 * @throws {CollectorError} FIELD_UNKNOWN, JSON_INVALID, TYPE_NOT_REGISTERED
 */
export function readJson(desc: DescMessage, json: JsonTree, types: JsonTypes): Message {
  const message = create(desc);
  fill({ desc, message, json, path: "" }, types);
  return message;
}

/**
 * Each message is read in two steps: protobuf-es reads it with its nested messages emptied, so every
 * rule of the JSON mapping is the library's; then those are filled one by one, which is where the
 * path of an error and the types of an Any are known.
 */
function fill({ desc, message, json, path }: Child, types: JsonTypes): void {
  if (desc.typeName === AnySchema.typeName) {
    fillAny(message as Any, json, path, types);
    return;
  }
  if (hasOwnJsonForm(desc)) {
    merge(desc, message, plain(json, desc.fields[0]), path, types);
    return;
  }
  if (!isJsonObject(json)) {
    throw invalidField("JSON_INVALID", path, `must be an object: a ${desc.typeName} in JSON`);
  }
  const names = namesOf(desc);
  const outline: Record<string, JsonValue> = Object.create(null);
  const nested: [field: DescField, key: string][] = [];
  for (const key of Object.keys(json)) {
    const value = json[key] ?? null;
    const field = names.get(key);
    if (field === undefined) {
      if (!isExtensionKey(key, types)) throw unknownField(desc, key, path);
      outline[key] = plain(value, undefined);
    } else if (field.message === undefined || hasOwnJsonForm(field.message)) {
      outline[key] = plain(value, field);
    } else {
      outline[key] = emptied(value, field);
      nested.push([field, key]);
    }
  }
  merge(desc, message, outline, path, types);
  for (const [field, key] of nested) {
    for (const child of childrenOf(desc, message, field, key, json[key] ?? null, path)) {
      fill(child, types);
    }
  }
}

function fillAny(any: Any, json: JsonTree, path: string, types: JsonTypes): void {
  if (!isJsonObject(json)) {
    throw invalidField("JSON_INVALID", path, 'must be an object with "@type"');
  }
  if (Object.keys(json).length === 0) return;
  const url = Object.hasOwn(json, "@type") ? json["@type"] : undefined;
  const name = typeof url === "string" ? url.slice(url.lastIndexOf("/") + 1) : "";
  if (name === "") {
    throw invalidField(
      "JSON_INVALID",
      join(path, "@type"),
      'must name the message\'s type, as in "type.googleapis.com/shop.v1.Product"',
    );
  }
  const desc = types.types.getMessage(name);
  any.typeUrl = `type.googleapis.com/${name}`;
  if (desc === undefined) {
    any.value = opaqueValue(json, name, path, types);
    return;
  }
  const message = create(desc);
  if (hasOwnJsonForm(desc) || desc.typeName === AnySchema.typeName) {
    const extra = Object.keys(json).find((key) => key !== "@type" && key !== "value");
    if (extra !== undefined) {
      throw invalidField("FIELD_UNKNOWN", join(path, extra), `put the ${name} in "value"`);
    }
    fill({ desc, message, json: json["value"] ?? null, path: join(path, "value") }, types);
  } else {
    const { "@type": _type, ...fields } = json;
    fill({ desc, message, json: fields, path }, types);
  }
  any.value = encoded(desc, message, path);
}

/** @throws {CollectorError} JSON_INVALID if a field that proto2 requires is not there */
function encoded(desc: DescMessage, message: Message, path: string): Uint8Array {
  try {
    return toBinary(desc, message);
  } catch (error) {
    const unset = unsetRequiredField(desc, message);
    if (unset === undefined) throw error;
    throw invalidField("JSON_INVALID", join(path, unset), `is required by ${desc.typeName}`);
  }
}

/** The bytes of an Any whose type is not known here. */
function opaqueValue(json: JsonObject, name: string, path: string, types: JsonTypes): Uint8Array {
  const value = Object.hasOwn(json, "value") ? json["value"] : undefined;
  if (Object.keys(json).length === 2 && typeof value === "string") {
    try {
      return base64Decode(value);
    } catch (error) {
      throw invalidField(
        "JSON_INVALID",
        join(path, "value"),
        `must be base64, because ${name} is not registered in namespace \`${types.namespace}\`: ${reasonOf(error)}`,
      );
    }
  }
  const near = didYouMean(name, messageNames(types.types));
  throw invalidField(
    "TYPE_NOT_REGISTERED",
    join(path, "@type"),
    `${name} is not registered in namespace \`${types.namespace}\`${near === "" ? '; register it, or give its bytes as {"@type": …, "value": base64}' : near}`,
  );
}

function* messageNames(types: Registry): Iterable<string> {
  for (const type of types) if (type.kind === "message") yield type.typeName;
}

/** Lets protobuf-es read `json` into `message`; a failure names the field it is about. */
function merge(
  desc: DescMessage,
  message: Message,
  json: JsonValue,
  path: string,
  types: JsonTypes,
): void {
  const options = { registry: types.types, ignoreUnknownFields: false };
  try {
    mergeFromJson(desc, message, json, options);
  } catch (error) {
    throw atField(desc, json, path, error, (key, value) =>
      mergeFromJson(desc, create(desc), { [key]: value }, options),
    );
  }
}

/** Finds the field that `error` is about: it may say so; else by reading one at a time. */
function atField(
  desc: DescMessage,
  json: JsonValue,
  path: string,
  error: unknown,
  read: (key: string, value: JsonValue) => unknown,
): CollectorError {
  const named =
    error instanceof Error && isFieldError(error.cause) ? error.cause.field() : undefined;
  if (named !== undefined && named.parent === desc) {
    return invalidField("JSON_INVALID", join(path, named.name), readable(error));
  }
  if (typeof json === "object" && json !== null && !Array.isArray(json) && !hasOwnJsonForm(desc)) {
    for (const key of Object.keys(json)) {
      try {
        read(key, json[key] ?? null);
      } catch (cause) {
        const field = namesOf(desc).get(key)?.name ?? key;
        return invalidField("JSON_INVALID", join(path, field), readable(cause));
      }
    }
  }
  return invalidField("JSON_INVALID", path, readable(error));
}

/** What protobuf-es says, less what our path says already. */
function readable(error: unknown): string {
  return reasonOf(error)
    .replace(/^cannot decode (?:field |message |oneof )?\S+ from JSON:? ?/, "")
    .trim();
}

/** The value with every message in it replaced by an empty one of the same presence. */
function emptied(value: JsonTree, field: DescField): JsonValue {
  const outline = (item: JsonTree): JsonValue => (isJsonObject(item) ? {} : plain(item, undefined));
  if (field.fieldKind === "list" && Array.isArray(value)) return value.map(outline);
  if (field.fieldKind === "map" && isJsonObject(value)) {
    return Object.fromEntries(Object.keys(value).map((key) => [key, outline(value[key] ?? null)]));
  }
  return outline(value);
}

/** The messages that `merge` made from the outline of one field. */
function* childrenOf(
  desc: DescMessage,
  message: Message,
  field: DescField,
  key: string,
  json: JsonTree,
  path: string,
): Iterable<Child> {
  const child = field.message;
  if (child === undefined || json === null) return;
  const here = join(path, field.name);
  if (field.fieldKind === "list" && Array.isArray(json)) {
    const items = (message as unknown as Fields)[field.localName] as Message[];
    for (const [index, item] of items.entries()) {
      yield { desc: child, message: item, json: json[index] ?? null, path: `${here}[${index}]` };
    }
  } else if (field.fieldKind === "map" && isJsonObject(json)) {
    const entries = (message as unknown as Fields)[field.localName] as Record<string, Message>;
    for (const mapKey of Object.keys(json)) {
      const own = Object.hasOwn(entries, mapKey) ? mapKey : canonicalKey(desc, field, key, mapKey);
      const item = entries[own];
      const place = `${here}[${JSON.stringify(mapKey)}]`;
      if (item !== undefined) {
        yield { desc: child, message: item, json: json[mapKey] ?? null, path: place };
      }
    }
  } else {
    const holder = message as unknown as Fields;
    const value =
      field.oneof === undefined
        ? holder[field.localName]
        : (holder[field.oneof.localName] as { readonly value: unknown }).value;
    yield { desc: child, message: value as Message, json, path: here };
  }
}

/** The spelling under which a map keeps the JSON key `mapKey`, as `1` for `1e0`. */
function canonicalKey(desc: DescMessage, field: DescField, key: string, mapKey: string): string {
  const single = mergeFromJson(desc, create(desc), { [key]: { [mapKey]: {} } });
  return Object.keys((single as unknown as Fields)[field.localName] as object)[0] ?? mapKey;
}

function isExtensionKey(key: string, { types }: JsonTypes): boolean {
  return (
    key.startsWith("[") && key.endsWith("]") && types.getExtension(key.slice(1, -1)) !== undefined
  );
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
