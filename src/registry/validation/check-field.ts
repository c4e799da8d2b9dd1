import { isFieldSet } from "@bufbuild/protobuf";
import {
  FeatureSet_FieldPresence,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  FieldOptions_JSType,
  FieldOptionsSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { quote } from "../names.ts";
import { type Features, mergeFeatures } from "../schema/features.ts";
import { checkOptions, type FileContext } from "./context.ts";
import { checkFieldNumber, checkFullName, checkIdentifier } from "./identifiers.ts";

const schema = FieldDescriptorProtoSchema.field;

const notPackable: ReadonlySet<Type> = new Set([Type.STRING, Type.BYTES, Type.MESSAGE, Type.GROUP]);

const wideIntegers: ReadonlySet<Type> = new Set([
  Type.INT64,
  Type.UINT64,
  Type.SINT64,
  Type.FIXED64,
  Type.SFIXED64,
]);

/** Checks what a field or an extension says of itself; references to types come later. */
export function checkField(
  field: FieldDescriptorProto,
  fullName: string,
  inherited: Features,
  context: FileContext,
): void {
  const { report, syntax } = context;
  const isExtension = isFieldSet(field, schema.extendee);
  const element = `${isExtension ? "extension" : "field"} ${fullName}`;
  checkIdentifier(field.name, element, report);
  checkFullName(fullName, element, report);
  checkFieldNumber(field.number, element, report);
  checkOptions(field.options, element, context);

  const typed = isFieldSet(field, schema.type);
  const named = isFieldSet(field, schema.typeName);
  if (!typed && !named) report(element, "has no type that is known");
  if (typed && named && isScalar(field.type)) report(element, "is a scalar but has a type_name");
  if (typed && !named && !isScalar(field.type)) report(element, "has no type_name");
  if (field.type === Type.GROUP && syntax !== "proto2") {
    report(element, "is a group, which only proto2 has");
  }
  if (field.label === Label.REQUIRED && (syntax !== "proto2" || isExtension)) {
    report(element, "is required, which only proto2 fields of messages can be");
  }
  checkDefault(field, element, inherited, context);
  checkFieldOptions(field, element, context);
  if (!isExtension) checkJsonName(field, element, context);
}

function isScalar(type: Type): boolean {
  return type !== Type.MESSAGE && type !== Type.GROUP && type !== Type.ENUM;
}

function checkDefault(
  field: FieldDescriptorProto,
  element: string,
  inherited: Features,
  context: FileContext,
): void {
  if (!isFieldSet(field, schema.defaultValue)) return;
  const { fieldPresence } = mergeFeatures(inherited, field.options);
  const hasPresence =
    fieldPresence !== FeatureSet_FieldPresence.IMPLICIT || isFieldSet(field, schema.oneofIndex);
  const isMessage = field.type === Type.MESSAGE || field.type === Type.GROUP;
  if (context.syntax === "proto3" || !hasPresence || field.label === Label.REPEATED || isMessage) {
    context.report(element, "has a default value, which a field of its kind cannot have");
  }
}

function checkFieldOptions(
  field: FieldDescriptorProto,
  element: string,
  { report }: FileContext,
): void {
  const options = field.options;
  if (options === undefined) return;
  if (options.packed && (field.label !== Label.REPEATED || notPackable.has(field.type))) {
    report(element, "is packed, which only repeated numbers, bools and enums can be");
  }
  if (
    isFieldSet(options, FieldOptionsSchema.field.jstype) &&
    options.jstype !== FieldOptions_JSType.JS_NORMAL &&
    !wideIntegers.has(field.type)
  ) {
    report(element, "sets jstype, which only 64-bit integers can");
  }
}

function checkJsonName(
  { jsonName }: FieldDescriptorProto,
  element: string,
  { report }: FileContext,
): void {
  if (jsonName === "__proto__") {
    report(element, "cannot have the JSON name __proto__");
    // oxlint-disable-next-line no-control-regex -- control characters are what this refuses
  } else if (/^\[.*\]$|[\u0000-\u001f\u007f]/.test(jsonName)) {
    report(element, `JSON name ${quote(jsonName)} is in brackets or has control characters`);
  }
}
