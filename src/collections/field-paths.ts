import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { isWrapperDesc } from "@bufbuild/protobuf/wkt";
import { invalidField } from "../errors.ts";
import { didYouMean } from "../lib/suggest.ts";
import { quote } from "../registry/names.ts";

/** One step of a path: into a field, and, of a map, to the value of a key. */
export interface PathStep {
  readonly field: DescField;
  /** Undefined if the path does not go into the map, or the field is none. */
  readonly key: string | undefined;
}

/** Longest path that is looked at, in characters. */
export const pathCharsMax = 1024;

/**
 * The fields that a dotted path goes through, by proto or JSON names. After a map comes a key, in
 * backticks if it holds a dot; after a Struct, a key of it.
 *
 * @param argument the request's field that holds the path.
 * @throws {CollectorError} FIELD_UNKNOWN naming the path and the nearest fields.
 */
export function resolvePath(desc: DescMessage, path: string, argument: string): PathStep[] {
  if (path.length > pathCharsMax) {
    throw invalidField(
      "FIELD_UNKNOWN",
      argument,
      `a path has ${path.length} characters, the limit is ${pathCharsMax}`,
    );
  }
  const segments = splitPath(path, argument);
  const steps: PathStep[] = [];
  let current: DescMessage | undefined = desc;
  for (let index = 0; index < segments.length; index += 1) {
    const segment = segments[index] ?? "";
    if (current === undefined) {
      throw unknown(path, argument, `${quote(segments[index - 1] ?? "")} has no fields inside`);
    }
    const inStruct = structSteps(current, segment);
    if (inStruct !== undefined) {
      steps.push(...inStruct);
      current = inStruct.at(-1)?.field.message;
      continue;
    }
    const field = findField(current, segment, path, argument);
    const key = field.fieldKind === "map" ? segments[index + 1] : undefined;
    if (field.fieldKind === "list" && index + 1 < segments.length) {
      throw unknown(path, argument, `${quote(segment)} is repeated and can be named only whole`);
    }
    if (key !== undefined) index += 1;
    steps.push({ field, key });
    current = field.message;
  }
  return steps;
}

/** A key of a Struct is a step or two: through a Value to its Struct, and to the key in that. */
function structSteps(desc: DescMessage, key: string): PathStep[] | undefined {
  if (desc.typeName === "google.protobuf.Struct") {
    const field = desc.field["fields"];
    return field === undefined ? undefined : [{ field, key }];
  }
  if (desc.typeName !== "google.protobuf.Value") return undefined;
  const struct = desc.fields.find((field) => field.name === "struct_value");
  const fields = struct?.message?.field["fields"];
  if (struct === undefined || fields === undefined) return undefined;
  return [
    { field: struct, key: undefined },
    { field: fields, key },
  ];
}

function findField(desc: DescMessage, name: string, path: string, argument: string): DescField {
  const found =
    desc.fields.find((field) => field.name === name) ??
    desc.fields.find((field) => field.jsonName === name);
  if (found !== undefined) return found;
  const names = desc.fields.map((field) => field.name);
  throw unknown(
    path,
    argument,
    `${desc.typeName} has no field ${quote(name)}${didYouMean(name, names)}`,
  );
}

function splitPath(path: string, argument: string): string[] {
  const segments: string[] = [];
  let rest = path;
  for (;;) {
    const match = /^(?:`((?:[^`]|``)+)`|([^.`]+))(?:\.|$)/.exec(rest);
    if (match === null) throw unknown(path, argument, "it is no dotted path of field names");
    segments.push(match[1]?.replaceAll("``", "`") ?? match[2] ?? "");
    rest = rest.slice(match[0].length);
    if (rest === "") {
      if (match[0].endsWith(".")) throw unknown(path, argument, "it ends in a dot");
      return segments;
    }
  }
}

function unknown(path: string, argument: string, why: string): Error {
  return invalidField("FIELD_UNKNOWN", argument, `unknown path ${quote(path)}: ${why}`);
}

/** Messages that a document holds as one value. */
const scalarMessages: ReadonlySet<string> = new Set([
  "google.protobuf.Timestamp",
  "google.protobuf.Duration",
  "google.protobuf.Value",
]);

/**
 * The path in the document of a field that can be indexed: proto names, whatever names came in.
 *
 * @throws {CollectorError} FIELD_UNKNOWN; ARGUMENT_INVALID for a field that has no order.
 */
export function indexPath(desc: DescMessage, path: string, argument: string): string {
  const steps = resolvePath(desc, path, argument);
  const names: string[] = [];
  for (const [index, { field, key }] of steps.entries()) {
    const isLast = index === steps.length - 1;
    const holder = field.parent.typeName;
    if (holder === "google.protobuf.Struct" || holder === "google.protobuf.Value") {
      if (key !== undefined) names.push(key);
      continue;
    }
    names.push(field.name, ...(key === undefined ? [] : [key]));
    const isValue = field.message !== undefined && isOneValue(field.message);
    if (!isLast && isValue && field.message?.typeName !== "google.protobuf.Value") {
      throw notIndexable(path, argument, `index ${quote(names.join("."))} itself`);
    }
    if (!isLast) continue;
    if (field.fieldKind === "list" || (field.fieldKind === "map" && key === undefined)) {
      throw notIndexable(path, argument, "it holds many values");
    }
    if (field.message !== undefined && !isValue) {
      throw notIndexable(path, argument, `it is a ${field.message.typeName}; name a field in it`);
    }
  }
  const odd = names.find((name) => !/^[A-Za-z0-9_-]+$/.test(name));
  if (odd !== undefined) {
    throw notIndexable(path, argument, `the key ${quote(odd)} is not of A-Z a-z 0-9 _ -`);
  }
  return names.join(".");
}

function isOneValue(desc: DescMessage): boolean {
  return scalarMessages.has(desc.typeName) || isWrapperDesc(desc);
}

function notIndexable(path: string, argument: string, why: string): Error {
  return invalidField("ARGUMENT_INVALID", argument, `${quote(path)} cannot be indexed: ${why}`);
}

/** Fields of a type are described down to this many messages. */
const describedDepthMax = 4;
/** And no more than this many. */
const describedFieldsMax = 1000;

/** A field of a type, as Describe answers it. */
export interface FieldDescription {
  readonly path: string;
  readonly jsonPath: string;
  readonly number: number;
  readonly type: string;
  readonly repeated: boolean;
  readonly map: boolean;
  /** Its text is found by full-text search. */
  readonly fullText: boolean;
}

/** The fields of a type, nested ones after the field that holds them; bounded in depth and number. */
export function describeFields(desc: DescMessage): FieldDescription[] {
  const found: FieldDescription[] = [];
  collectFields(desc, "", "", 1, found);
  return found;
}

function collectFields(
  desc: DescMessage,
  prefix: string,
  jsonPrefix: string,
  depth: number,
  found: FieldDescription[],
): void {
  for (const field of desc.fields) {
    if (found.length >= describedFieldsMax) return;
    const path = prefix + field.name;
    const jsonPath = jsonPrefix + field.jsonName;
    found.push({
      path,
      jsonPath,
      number: field.number,
      type: typeOf(field),
      repeated: field.fieldKind === "list",
      map: field.fieldKind === "map",
      fullText: field.scalar === ScalarType.STRING || isTextMessage(field.message),
    });
    if (
      field.fieldKind === "message" &&
      depth < describedDepthMax &&
      !field.message.typeName.startsWith("google.protobuf.")
    ) {
      collectFields(field.message, `${path}.`, `${jsonPath}.`, depth + 1, found);
    }
  }
}

const textMessages: ReadonlySet<string> = new Set([
  "google.protobuf.StringValue",
  "google.protobuf.Struct",
  "google.protobuf.Value",
  "google.protobuf.ListValue",
  "google.protobuf.Any",
]);

function isTextMessage(desc: DescMessage | undefined): boolean {
  return desc !== undefined && textMessages.has(desc.typeName);
}

function typeOf(field: DescField): string {
  if (field.message !== undefined) return field.message.typeName;
  if (field.enum !== undefined) return field.enum.typeName;
  return ScalarType[field.scalar].toLowerCase();
}
