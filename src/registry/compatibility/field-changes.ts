import { isFieldSet } from "@bufbuild/protobuf";
import {
  FeatureSet_FieldPresence,
  FeatureSet_MessageEncoding,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { type Features, mergeFeatures } from "../schema/features.ts";
import type { MessageEntry, TypeEntry } from "../schema/file-index.ts";
import { defaultOf, sameDefault } from "./default-value.ts";
import type { ReportChange, TypesAround } from "./rules.ts";

/** A field, with what its place says about it. */
export interface FieldPlace {
  readonly field: FieldDescriptorProto;
  /** Features of what holds the field. */
  readonly features: Features;
  /** The message that holds it; undefined for an extension. */
  readonly message: MessageEntry | undefined;
}

const { oneofIndex } = FieldDescriptorProtoSchema.field;

/** Compares two versions of a field, or of an extension, that have the same number. */
export function fieldChanges(
  element: string,
  old: FieldPlace,
  now: FieldPlace,
  around: TypesAround,
  report: ReportChange,
): void {
  if (old.message !== undefined) {
    compareNames(element, old.field, now.field, report);
    compareOneofs(element, old, now, report);
  }
  const before = describe(old, around.before);
  const after = describe(now, around.after);
  const bothEntries = old.message?.isMapEntry === true && now.message?.isMapEntry === true;
  if (!bothEntries && cardinalityGroup(before) !== cardinalityGroup(after)) {
    report(
      "FIELD_WIRE_JSON_COMPATIBLE_CARDINALITY",
      `${element} changed from ${before.cardinality} to ${after.cardinality}`,
    );
  }
  compareTypes(element, before, after, report);
  compareDefaults(element, before, after, report);
}

type Cardinality = "optional" | "implicit" | "required" | "repeated" | "map";

interface Described extends FieldPlace {
  readonly cardinality: Cardinality;
  /** As in `int32`; a message with delimited encoding is a `group`, whatever it was declared as. */
  readonly kind: Lowercase<keyof typeof Type>;
  readonly target: TypeEntry | undefined;
}

function describe(place: FieldPlace, find: TypesAround["before"]): Described {
  const { field } = place;
  const target = field.typeName === "" ? undefined : find(field.typeName.slice(1));
  const isMap = target?.kind === "message" && target.isMapEntry;
  const encoding = mergeFeatures(place.features, field.options).messageEncoding;
  const inEntry = place.message?.isMapEntry === true;
  const isDelimited =
    field.type === Type.MESSAGE &&
    encoding === FeatureSet_MessageEncoding.DELIMITED &&
    !isMap &&
    !inEntry;
  const kind = isDelimited ? Type.GROUP : field.type;
  return {
    ...place,
    cardinality: cardinalityOf(place, isMap),
    kind: Type[kind].toLowerCase() as Described["kind"],
    target,
  };
}

function cardinalityOf(place: FieldPlace, isMap: boolean): Cardinality {
  if (isMap) return "map";
  if (place.field.label === Label.REPEATED) return "repeated";
  if (isRequired(place)) return "required";
  const { fieldPresence } = mergeFeatures(place.features, place.field.options);
  return fieldPresence === FeatureSet_FieldPresence.IMPLICIT ? "implicit" : "optional";
}

export function isRequired({ field, features }: FieldPlace): boolean {
  if (field.label === Label.REQUIRED) return true;
  const { fieldPresence } = mergeFeatures(features, field.options);
  return (
    field.label === Label.OPTIONAL && fieldPresence === FeatureSet_FieldPresence.LEGACY_REQUIRED
  );
}

/** With and without presence, a field reads the same. */
function cardinalityGroup({ cardinality }: Described): Cardinality {
  return cardinality === "implicit" ? "optional" : cardinality;
}

/** Kinds that read alike in binary and in JSON; any other kind reads like itself alone. */
const kindGroups: Readonly<Partial<Record<Described["kind"], string>>> = {
  int32: "int32",
  uint32: "int32",
  int64: "int64",
  uint64: "int64",
  fixed32: "fixed32",
  sfixed32: "fixed32",
  fixed64: "fixed64",
  sfixed64: "fixed64",
};

function compareTypes(
  element: string,
  before: Described,
  after: Described,
  report: ReportChange,
): void {
  const changed = (was: string, is: string) =>
    report("FIELD_WIRE_JSON_COMPATIBLE_TYPE", `${element} changed its type from ${was} to ${is}`);
  const group = ({ kind }: Described) => kindGroups[kind] ?? kind;
  if (group(before) !== group(after)) {
    changed(typeName(before), typeName(after));
  } else if (before.field.typeName !== after.field.typeName) {
    if (!isSameEnum(before.target, after.target)) changed(typeName(before), typeName(after));
  }
}

function typeName({ kind, field }: Described): string {
  return field.typeName === "" ? kind : `${kind} ${field.typeName.slice(1)}`;
}

/** Another enum will do if it is called the same and has every value of the first. */
function isSameEnum(before: TypeEntry | undefined, after: TypeEntry | undefined): boolean {
  if (before?.kind !== "enum" || after?.kind !== "enum") return false;
  if (before.proto.name !== after.proto.name) return false;
  const values = new Set(after.proto.value.map(({ name, number }) => `${number} ${name}`));
  return before.proto.value.every(({ name, number }) => values.has(`${number} ${name}`));
}

function compareNames(
  element: string,
  old: FieldDescriptorProto,
  now: FieldDescriptorProto,
  report: ReportChange,
): void {
  if (old.name !== now.name) {
    report("FIELD_SAME_NAME", `${element}, number ${old.number}, changed its name to ${now.name}`);
  }
  if (old.jsonName !== now.jsonName) {
    report(
      "FIELD_SAME_JSON_NAME",
      `${element} changed its JSON name from ${old.jsonName} to ${now.jsonName}`,
    );
  }
}

function compareOneofs(
  element: string,
  old: FieldPlace,
  now: FieldPlace,
  report: ReportChange,
): void {
  const before = oneofName(old);
  const after = oneofName(now);
  if (before === after) return;
  const say = (name: string | undefined) => (name === undefined ? "no oneof" : `oneof ${name}`);
  report("FIELD_SAME_ONEOF", `${element} moved from ${say(before)} to ${say(after)}`);
}

/** The oneof of a field; the one that only stands for its presence does not count. */
function oneofName({ field, message }: FieldPlace): string | undefined {
  if (field.proto3Optional || !isFieldSet(field, oneofIndex)) return undefined;
  return message?.proto.oneofDecl[field.oneofIndex]?.name;
}

function compareDefaults(
  element: string,
  before: Described,
  after: Described,
  report: ReportChange,
): void {
  const was = defaultOf(before);
  const is = defaultOf(after);
  if (was === undefined || is === undefined || sameDefault(was, is)) return;
  report(
    "FIELD_SAME_DEFAULT",
    `${element} changed its default from ${was.text || '""'} to ${is.text || '""'}`,
  );
}
