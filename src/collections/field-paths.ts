import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { invalidField } from "../errors.ts";
import { didYouMean } from "../lib/suggest.ts";
import { quote } from "../registry/names.ts";
import { resolveSegments } from "./filters/filter-path.ts";
import { fieldByName, splitPath } from "./path-names.ts";

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
 * @param options `throughLists`: the path may go on after a repeated field, into each of its items.
 * @throws {CollectorError} FIELD_UNKNOWN naming the path and the nearest fields.
 */
export function resolvePath(
  desc: DescMessage,
  path: string,
  argument: string,
  { throughLists = false }: { readonly throughLists?: boolean } = {},
): PathStep[] {
  if (path.length > pathCharsMax) {
    throw invalidField(
      "FIELD_UNKNOWN",
      argument,
      `a path has ${path.length} characters, the limit is ${pathCharsMax}`,
    );
  }
  const segments = splitPath(path);
  if (typeof segments === "string") throw unknown(path, argument, segments);
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
    if (field.fieldKind === "list" && !throughLists && index + 1 < segments.length) {
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
  const found = fieldByName(desc, name);
  if (found !== undefined) return found;
  const names = desc.fields.map((field) => field.name);
  throw unknown(
    path,
    argument,
    `${desc.typeName} has no field ${quote(name)}${didYouMean(name, names)}`,
  );
}

function unknown(path: string, argument: string, why: string): Error {
  return invalidField("FIELD_UNKNOWN", argument, `unknown path ${quote(path)}: ${why}`);
}

/**
 * The path in the document of a field that can be indexed: proto names, whatever names came in. An
 * index over a repeated field, or through one, holds each item.
 *
 * @throws {CollectorError} FIELD_UNKNOWN; ARGUMENT_INVALID for a field that has no values to index.
 */
export function indexPath(desc: DescMessage, path: string, argument: string): string {
  const segments = path.length > pathCharsMax ? "it is too long" : splitPath(path);
  if (typeof segments === "string") throw unknown(path, argument, segments);
  const { index, type, shape, names } = resolveSegments(desc, segments, (reason, description) =>
    invalidField(reason, argument, description),
  );
  if (shape === "map") {
    throw notIndexable(path, argument, "it is a map; name a key");
  }
  if (type.kind === "message" || type.kind === "object") {
    const name = type.kind === "message" ? type.desc.typeName : "google.protobuf.Struct";
    throw notIndexable(path, argument, `it is a ${name}; name a field in it`);
  }
  if (index === undefined) {
    const odd = names.find((name) => !/^[A-Za-z0-9_-]+$/.test(name)) ?? "";
    throw notIndexable(path, argument, `the key ${quote(odd)} is not of A-Z a-z 0-9 _ -`);
  }
  return index;
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
