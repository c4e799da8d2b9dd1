import { type DescExtension, type DescField, type DescFile, ScalarType } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { quote } from "../names.ts";
import type { Report } from "./problems.ts";

/**
 * Checks default values. They are texts in a descriptor, and those of enums can be read only once
 * the file is linked.
 */
export function checkDefaults(file: DescFile, report: Report): void {
  for (const desc of nestedTypes(file)) {
    if (desc.kind === "extension") {
      check(desc, `extension ${desc.typeName}`, report);
    } else if (desc.kind === "message") {
      for (const field of desc.fields) {
        check(field, `field ${desc.typeName}.${field.name}`, report);
      }
    }
  }
}

function check(field: DescField | DescExtension, element: string, report: Report): void {
  const text = field.proto.defaultValue;
  // Only texts and bytes may be empty, and for them that is no different from having none.
  if (text === "" || (field.fieldKind !== "scalar" && field.fieldKind !== "enum")) return;
  const isValue = field.fieldKind === "enum" || isNumberOrText(text, field.scalar);
  if (!isValue || !isReadable(field.getDefaultValue)) {
    report(element, `has the default ${quote(text)}, which is not a value of its type`);
  }
}

function isNumberOrText(text: string, type: ScalarType): boolean {
  switch (type) {
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return isInteger(text, -(2n ** 31n), 2n ** 31n - 1n);
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return isInteger(text, 0n, 2n ** 32n - 1n);
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return isInteger(text, -(2n ** 63n), 2n ** 63n - 1n);
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return isInteger(text, 0n, 2n ** 64n - 1n);
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return /^(-?(inf|\d+(\.\d*)?([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?)|nan)$/.test(text);
    case ScalarType.BOOL:
      return text === "true" || text === "false";
    case ScalarType.STRING:
    case ScalarType.BYTES:
      break;
  }
  return true;
}

function isInteger(text: string, min: bigint, max: bigint): boolean {
  if (!/^-?\d{1,20}$/.test(text)) return false;
  const value = BigInt(text);
  return value >= min && value <= max;
}

function isReadable(read: () => unknown): boolean {
  try {
    return read() !== undefined;
  } catch {
    return false;
  }
}
