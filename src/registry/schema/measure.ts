import type { DescriptorProto, FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import { CollectorError } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";

/** The limits on descriptors. */
export type SchemaLimits = Pick<
  Limits,
  "descriptorBytesMax" | "typesPerNamespaceMax" | "fieldsPerNamespaceMax" | "descriptorNestingMax"
>;

/** What a file counts for in its namespace. */
export interface SchemaSize {
  /** Messages without map entries, enums and services. */
  readonly types: number;
  /** Fields of messages, and extensions. */
  readonly fields: number;
}

/** The smallest wire size of any element: a tag and a length. */
const elementBytesMin = 2;

/**
 * Measures the files of one call, and stops at the first limit that is passed. It touches each
 * element once and allocates next to nothing, so it may be called on anything that was decoded.
 *
 * @throws {CollectorError} SCHEMA_LIMIT_EXCEEDED; DESCRIPTOR_INVALID if messages are nested too deep
 */
export function measureFiles(
  files: readonly FileDescriptorProto[],
  limits: SchemaLimits,
): SchemaSize {
  let types = 0;
  let fields = 0;
  /** Enum values, methods, oneofs, ranges and the like, which no limit of a namespace counts. */
  let members = 0;
  let locations = 0;
  const checkCounts = (): void => {
    // A lower bound: real elements take more.
    const bytes = (types + fields + members + locations) * elementBytesMin;
    check("types in one call", types, limits.typesPerNamespaceMax);
    check("fields in one call", fields, limits.fieldsPerNamespaceMax);
    check("enum values, methods and other members", members, limits.fieldsPerNamespaceMax);
    check("bytes of descriptors in one call", bytes, limits.descriptorBytesMax);
  };
  for (const file of files) {
    types += file.messageType.length + file.enumType.length + file.service.length;
    fields += file.extension.length;
    members += file.dependency.length;
    locations += file.sourceCodeInfo?.location.length ?? 0;
    checkCounts();
    for (const service of file.service) members += service.method.length;
    for (const declared of file.enumType) members += enumMembers(declared);
    checkCounts();
    const pending: { message: DescriptorProto; depth: number }[] = [];
    for (const message of file.messageType) pending.push({ message, depth: 1 });
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const { message, depth } = next;
      if (depth > limits.descriptorNestingMax) throw nestedTooDeep(file, limits);
      fields += message.field.length + message.extension.length;
      members +=
        message.oneofDecl.length +
        message.reservedRange.length +
        message.reservedName.length +
        message.extensionRange.length;
      types += message.enumType.length;
      for (const declared of message.enumType) members += enumMembers(declared);
      for (const nested of message.nestedType) {
        if (nested.options?.mapEntry !== true) types += 1;
        pending.push({ message: nested, depth: depth + 1 });
      }
      checkCounts();
    }
  }
  return { types, fields };
}

/** @throws {CollectorError} SCHEMA_LIMIT_EXCEEDED */
export function checkNamespaceSize(
  namespace: string,
  size: SchemaSize,
  limits: SchemaLimits,
): void {
  check(`types in namespace ${namespace}`, size.types, limits.typesPerNamespaceMax);
  check(`fields in namespace ${namespace}`, size.fields, limits.fieldsPerNamespaceMax);
}

/** @throws {CollectorError} SCHEMA_LIMIT_EXCEEDED */
export function checkDescriptorBytes(bytes: number, limits: SchemaLimits): void {
  check("bytes of descriptors in one call", bytes, limits.descriptorBytesMax);
}

function check(what: string, seen: number, max: number): void {
  if (seen <= max) return;
  throw new CollectorError("SCHEMA_LIMIT_EXCEEDED", `${seen} ${what}, the limit is ${max}`, {
    subject: { limit: String(max), seen: String(seen) },
  });
}

function enumMembers(declared: {
  readonly value: readonly unknown[];
  readonly reservedRange: readonly unknown[];
  readonly reservedName: readonly unknown[];
}): number {
  return declared.value.length + declared.reservedRange.length + declared.reservedName.length;
}

function nestedTooDeep(file: FileDescriptorProto, limits: SchemaLimits): CollectorError {
  const max = limits.descriptorNestingMax;
  return new CollectorError(
    "DESCRIPTOR_INVALID",
    `messages of ${JSON.stringify(file.name.slice(0, 200))} are nested deeper than the limit of ${max} levels`,
    { subject: { limit: String(max) } },
  );
}
