import { type DescField, type DescMessage, type JsonValue, ScalarType } from "@bufbuild/protobuf";
import { type CollectorError, invalidField } from "../errors.ts";
import { didYouMean } from "../lib/suggest.ts";
import { isJsonObject, type JsonTree, LongNumber } from "./json-codec-text.ts";

const integers64: ReadonlySet<ScalarType> = new Set([
  ScalarType.INT64,
  ScalarType.UINT64,
  ScalarType.SINT64,
  ScalarType.FIXED64,
  ScalarType.SFIXED64,
]);

/** The value as protobuf-es takes it: long integers as digits where the field has 64 bits. */
export function plain(value: JsonTree, field: DescField | undefined): JsonValue {
  if (value instanceof LongNumber) {
    return isInteger64(field) ? value.text : Number(value.text);
  }
  if (Array.isArray(value)) return value.map((item: JsonTree) => plain(item, field));
  if (!isJsonObject(value)) return value as JsonValue;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item, field)]));
}

function isInteger64(field: DescField | undefined): boolean {
  // A wrapper, such as Int64Value, has the form of its only field.
  const scalar = field?.scalar ?? (field?.message && field.message.fields[0]?.scalar);
  return scalar !== undefined && integers64.has(scalar);
}

const ownForms: ReadonlySet<string> = new Set(
  `Timestamp Duration FieldMask Struct Value ListValue DoubleValue FloatValue Int64Value UInt64Value
  Int32Value UInt32Value BoolValue StringValue BytesValue`
    .split(/\s+/)
    .map((name) => `google.protobuf.${name}`),
);

/** Whether the type's JSON form is not an object of its fields; Any is left out, for we read it. */
export function hasOwnJsonForm(desc: DescMessage): boolean {
  return ownForms.has(desc.typeName);
}

const namesByMessage = new WeakMap<DescMessage, Map<string, DescField>>();

/** The fields of a message by the names that they have in JSON: the proto one and the camelCase one. */
export function namesOf(desc: DescMessage): Map<string, DescField> {
  let names = namesByMessage.get(desc);
  if (names === undefined) {
    names = new Map();
    for (const field of desc.fields) names.set(field.name, field).set(field.jsonName, field);
    namesByMessage.set(desc, names);
  }
  return names;
}

/** How many fields of a type are named when none is near to the one given. */
const listedFieldsMax = 12;

/** A key that is no field; the error says which there are. */
export function unknownField(desc: DescMessage, key: string, path: string): CollectorError {
  const known = desc.fields.map((field) => field.jsonName);
  const listed = known.slice(0, listedFieldsMax).join(", ");
  const all =
    known.length === 0
      ? "; it has none"
      : `; it has ${listed}${known.length > listedFieldsMax ? ", …" : ""}`;
  const hint = didYouMean(key, known) || all;
  return invalidField(
    "FIELD_UNKNOWN",
    join(path, key),
    `${desc.typeName} has no such field${hint}`,
  );
}

/** The path of a field of the message at `path`; the empty path is the request's. */
export function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}
