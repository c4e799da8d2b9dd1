import { isFieldSet } from "@bufbuild/protobuf";
import { protoCamelCase } from "@bufbuild/protobuf/reflect";
import {
  type DescriptorProto,
  FieldDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { type Features, mergeFeatures } from "../schema/features.ts";
import { qualify } from "../schema/file-index.ts";
import { messageRanges, NumberRanges } from "../schema/number-ranges.ts";
import { checkEnum } from "./check-enum.ts";
import { checkField } from "./check-field.ts";
import { checkOptions, type FileContext, ScopeNames } from "./context.ts";
import { checkFullName, checkIdentifier, fieldNumberMax } from "./identifiers.ts";

const { oneofIndex } = FieldDescriptorProtoSchema.field;

/** Checks a message and all it holds. Nesting is bounded before by the limit on it. */
export function checkMessage(
  proto: DescriptorProto,
  scope: string,
  names: ScopeNames,
  inherited: Features,
  context: FileContext,
): void {
  const { report } = context;
  const fullName = qualify(scope, proto.name);
  const element = `message ${fullName}`;
  checkIdentifier(proto.name, element, report);
  checkFullName(fullName, element, report);
  names.declare(proto.name, element);
  checkOptions(proto.options, element, context);
  if (proto.options?.messageSetWireFormat === true) {
    report(element, "has message_set_wire_format, which is not supported");
  }
  if (proto.options?.mapEntry === true) checkMapEntry(proto, element, context);

  const features = mergeFeatures(inherited, proto.options);
  const inner = new ScopeNames(context.reportDuplicate);
  checkFields(proto, fullName, inner, features, context);
  checkOneofs(proto, fullName, inner, context);
  for (const extension of proto.extension) {
    const name = qualify(fullName, extension.name);
    inner.declare(extension.name, `extension ${name}`);
    checkField(extension, name, features, context);
  }
  for (const nested of proto.enumType) checkEnum(nested, fullName, inner, features, context);
  for (const nested of proto.nestedType) checkMessage(nested, fullName, inner, features, context);
}

function checkFields(
  proto: DescriptorProto,
  fullName: string,
  names: ScopeNames,
  features: Features,
  context: FileContext,
): void {
  const { report } = context;
  const element = `message ${fullName}`;
  const reserved = checkRanges(proto.reservedRange, "reserved", element, context);
  const extensions = checkRanges(proto.extensionRange, "extension", element, context);
  const both = reserved.intersection(extensions);
  if (both !== undefined) report(element, `a reserved range and an extension range overlap`);
  if (proto.extensionRange.length > 0 && context.syntax === "proto3") {
    report(element, "has extension ranges, which proto3 messages cannot have");
  }
  for (const range of proto.extensionRange) checkOptions(range.options, element, context);
  const reservedNames = new Set(proto.reservedName);
  if (reservedNames.size < proto.reservedName.length) report(element, "reserves a name twice");

  const byNumber = new Map<number, string>();
  const memory = new Map<string, string>();
  const json = new Map<string, string>();
  for (const field of proto.field) {
    const name = qualify(fullName, field.name);
    const fieldElement = `field ${name}`;
    if (isFieldSet(field, FieldDescriptorProtoSchema.field.extendee)) {
      report(fieldElement, "has an extendee, so it belongs among the extensions");
      continue;
    }
    names.declare(field.name, fieldElement);
    checkField(field, name, features, context);
    const other = byNumber.get(field.number);
    if (other === undefined) byNumber.set(field.number, field.name);
    else report(fieldElement, `number ${field.number} is also that of ${other}`);
    if (reserved.has(field.number)) report(fieldElement, `number ${field.number} is reserved`);
    if (extensions.has(field.number)) {
      report(fieldElement, `number ${field.number} is in an extension range`);
    }
    if (reservedNames.has(field.name)) report(fieldElement, "the name is reserved");
    // Two such fields would be one property in memory, and one key in JSON.
    checkUnique(memory, protoCamelCase(field.name), field.name, fieldElement, "", context);
    checkUnique(json, field.jsonName, field.name, fieldElement, "JSON ", context);
  }
  const synthetic = syntheticOneofs(proto);
  for (const [index, oneof] of proto.oneofDecl.entries()) {
    if (synthetic.has(index)) continue;
    const oneofElement = `oneof ${qualify(fullName, oneof.name)}`;
    checkUnique(memory, protoCamelCase(oneof.name), oneof.name, oneofElement, "", context);
  }
}

function checkUnique(
  seen: Map<string, string>,
  key: string,
  name: string,
  element: string,
  kind: "" | "JSON ",
  { report }: FileContext,
): void {
  const other = seen.get(key);
  if (other === undefined) seen.set(key, name);
  // A repeated name is reported as such.
  else if (other !== name) report(element, `has the same ${kind}name as ${other}: ${key}`);
}

function checkRanges(
  ranges: DescriptorProto["reservedRange"] | DescriptorProto["extensionRange"],
  kind: string,
  element: string,
  { report }: FileContext,
): NumberRanges {
  for (const { start, end } of ranges) {
    if (start < 1 || end <= start || end > fieldNumberMax + 1) {
      report(
        element,
        `${kind} range ${start} to ${end - 1} is not within 1 to ${fieldNumberMax}, start first`,
      );
    }
  }
  const result = new NumberRanges(messageRanges(ranges));
  if (result.overlap !== undefined) {
    const [a, b] = result.overlap;
    report(element, `${kind} ranges overlap at ${Math.max(a.first, b.first)}`);
  }
  return result;
}

/** Indexes of the oneofs that only stand for the presence of one `optional` field of proto3. */
function syntheticOneofs(proto: DescriptorProto): ReadonlySet<number> {
  const indexes = new Set<number>();
  for (const field of proto.field) {
    if (field.proto3Optional && isFieldSet(field, oneofIndex)) indexes.add(field.oneofIndex);
  }
  return indexes;
}

function checkOneofs(
  proto: DescriptorProto,
  fullName: string,
  names: ScopeNames,
  context: FileContext,
): void {
  const { report, syntax } = context;
  const sizes = proto.oneofDecl.map(() => 0);
  for (const field of proto.field) {
    const element = `field ${qualify(fullName, field.name)}`;
    if (isFieldSet(field, oneofIndex)) {
      const size = sizes[field.oneofIndex];
      if (size === undefined) report(element, `there is no oneof with index ${field.oneofIndex}`);
      else sizes[field.oneofIndex] = size + 1;
      if (field.label !== Label.OPTIONAL) report(element, "is in a oneof and repeated or required");
    }
    if (!field.proto3Optional) continue;
    if (syntax !== "proto3") report(element, "has proto3_optional in a file that is not proto3");
    if (!isFieldSet(field, oneofIndex)) report(element, "has proto3_optional but no oneof");
  }
  for (const [index, oneof] of proto.oneofDecl.entries()) {
    const element = `oneof ${qualify(fullName, oneof.name)}`;
    checkIdentifier(oneof.name, element, report);
    checkOptions(oneof.options, element, context);
    names.declare(oneof.name, element);
    if (sizes[index] === 0) report(element, "has no fields; it needs at least one");
  }
  for (const field of proto.field) {
    if (field.proto3Optional && (sizes[field.oneofIndex] ?? 0) > 1) {
      report(
        `field ${qualify(fullName, field.name)}`,
        "has proto3_optional but shares its oneof with another field",
      );
    }
  }
}

const mapKeys: ReadonlySet<Type> = new Set([
  Type.INT32,
  Type.INT64,
  Type.UINT32,
  Type.UINT64,
  Type.SINT32,
  Type.SINT64,
  Type.FIXED32,
  Type.FIXED64,
  Type.SFIXED32,
  Type.SFIXED64,
  Type.BOOL,
  Type.STRING,
]);

function checkMapEntry(proto: DescriptorProto, element: string, { report }: FileContext): void {
  const [key, value] = proto.field;
  const isEntry =
    proto.field.length === 2 &&
    key?.name === "key" &&
    key.number === 1 &&
    key.label === Label.OPTIONAL &&
    mapKeys.has(key.type) &&
    value?.name === "value" &&
    value.number === 2 &&
    value.label === Label.OPTIONAL &&
    value.type !== Type.GROUP &&
    proto.nestedType.length === 0 &&
    proto.enumType.length === 0 &&
    proto.extension.length === 0 &&
    proto.extensionRange.length === 0 &&
    proto.oneofDecl.length === 0;
  if (!isEntry) {
    report(
      element,
      "is a map entry but not of the form `key = 1; value = 2` with a key that is an integer, bool or string",
    );
  }
}
