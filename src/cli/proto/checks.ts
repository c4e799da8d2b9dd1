import {
  type DescriptorProto,
  type EnumDescriptorProto,
  FeatureSet_EnumType,
  type FieldDescriptorProto,
  type FileDescriptorProto,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { jsonNameOf } from "./names.ts";
import type { Report } from "./parsed-file.ts";

const fieldNumberMax = 536870911;
const implementationRange = [19000, 19999] as const;

/**
 * Checks the rules that name a place in the text best: numbers, names within one message, zero values
 * of enums. The server checks every rule again, on the descriptors.
 */
export function checkFile(file: FileDescriptorProto, report: Report): void {
  for (const message of file.messageType) checkMessage(file, message, report);
  for (const node of file.enumType) checkEnum(file, node, report);
  for (const field of file.extension) checkNumber(field, report);
}

function checkMessage(file: FileDescriptorProto, message: DescriptorProto, report: Report): void {
  const byNumber = new Map<number, FieldDescriptorProto>();
  const byJsonName = new Map<string, FieldDescriptorProto>();
  for (const field of message.field) {
    checkNumber(field, report);
    const other = byNumber.get(field.number);
    if (other !== undefined) {
      const free = freeNumber(message);
      report(
        field,
        "number",
        `number ${field.number} of \`${field.name}\` is that of \`${other.name}\` already; ${free} is free`,
      );
    }
    byNumber.set(field.number, field);
    checkReserved(message, field, report);
    checkJsonName(file, byJsonName, field, report);
    if (file.syntax === "proto3" && field.type === Type.GROUP) {
      report(field, "type", "groups are for proto2 only");
    }
  }
  for (const field of message.extension) checkNumber(field, report);
  for (const nested of message.nestedType) checkMessage(file, nested, report);
  for (const node of message.enumType) checkEnum(file, node, report);
}

function checkNumber(field: FieldDescriptorProto, report: Report): void {
  const { name, number } = field;
  const [low, high] = implementationRange;
  if (field.extendee === "" && (number < 1 || number > fieldNumberMax)) {
    report(field, "number", `number ${number} of \`${name}\` is not from 1 to ${fieldNumberMax}`);
  } else if (number >= low && number <= high) {
    report(
      field,
      "number",
      `number ${number} of \`${name}\` is in ${low}–${high}, which Protobuf keeps for itself`,
    );
  }
}

function checkReserved(
  message: DescriptorProto,
  field: FieldDescriptorProto,
  report: Report,
): void {
  const { number, name } = field;
  const holds = ({ start, end }: { start: number; end: number }): boolean =>
    number >= start && number < end;
  if (message.reservedRange.some(holds)) {
    report(
      field,
      "number",
      `number ${number} of \`${name}\` is reserved; ${freeNumber(message)} is free`,
    );
  }
  if (message.extensionRange.some(holds)) {
    report(field, "number", `number ${number} of \`${name}\` is in a range for extensions`);
  }
  if (message.reservedName.includes(name))
    report(field, "name", `the name \`${name}\` is reserved`);
}

function checkJsonName(
  file: FileDescriptorProto,
  byJsonName: Map<string, FieldDescriptorProto>,
  field: FieldDescriptorProto,
  report: Report,
): void {
  const jsonName = field.jsonName === "" ? jsonNameOf(field.name) : field.jsonName;
  const other = byJsonName.get(jsonName);
  if (other !== undefined && file.syntax !== "") {
    report(
      field,
      "name",
      `\`${field.name}\` and \`${other.name}\` have the same JSON name \`${jsonName}\``,
    );
  }
  byJsonName.set(jsonName, field);
}

function checkEnum(file: FileDescriptorProto, node: EnumDescriptorProto, report: Report): void {
  const first = node.value[0];
  if (first === undefined) {
    report(node, "name", `enum \`${node.name}\` has no values`);
    return;
  }
  const enumType = node.options?.features?.enumType || file.options?.features?.enumType;
  const open =
    file.syntax === "proto3" ||
    (file.syntax === "editions" && enumType !== FeatureSet_EnumType.CLOSED);
  if (open && first.number !== 0) {
    report(first, "number", `the first value of enum \`${node.name}\` has to be 0`);
  }
  if (node.options?.allowAlias === true) return;
  const byNumber = new Map<number, string>();
  for (const value of node.value) {
    const other = byNumber.get(value.number);
    if (other !== undefined) {
      report(
        value,
        "number",
        `\`${value.name}\` has the number of \`${other}\`; \`option allow_alias = true;\` allows it`,
      );
    }
    byNumber.set(value.number, value.name);
  }
}

/** The lowest number behind all that are in use or reserved below the extensions. */
function freeNumber(message: DescriptorProto): number {
  const taken = (candidate: number): boolean =>
    message.field.some((field) => field.number === candidate) ||
    [...message.reservedRange, ...message.extensionRange].some(
      ({ start, end }) => candidate >= start && candidate < end,
    );
  let number = 1;
  while (number < fieldNumberMax && taken(number)) number += 1;
  return number;
}
