import type { DescriptorProto, FieldDescriptorProto } from "@bufbuild/protobuf/wkt";
import type { FileIndex, TypeEntry } from "../schema/file-index.ts";
import { messageRanges, NumberRanges } from "../schema/number-ranges.ts";

/**
 * Whether a file that a caller sends under the name of a built-in one says the same. It may say
 * less, as the file of an older release does, and its options and comments do not matter; what it
 * says must be true of the built-in file.
 *
 * @returns the first difference, or undefined if there is none
 */
export function differenceFromBuiltIn(sent: FileIndex, builtIn: FileIndex): string | undefined {
  if (sent.file.package !== builtIn.file.package) return `package ${sent.file.package}`;
  for (const entry of sent.types.values()) {
    const difference = typeDifference(entry, builtIn.types.get(entry.fullName));
    if (difference !== undefined) return difference;
  }
  return undefined;
}

function typeDifference(sent: TypeEntry, known: TypeEntry | undefined): string | undefined {
  if (known?.kind !== sent.kind) return `${sent.kind} ${sent.fullName}`;
  if (sent.kind === "message" && known.kind === "message") {
    return messageDifference(sent.fullName, sent.proto, known.proto);
  }
  if (sent.kind === "enum" && known.kind === "enum") {
    const values = new Map(known.proto.value.map((value) => [value.name, value.number]));
    const other = sent.proto.value.find((value) => values.get(value.name) !== value.number);
    return other && `enum value ${sent.fullName}.${other.name}`;
  }
  if (sent.kind === "service" && known.kind === "service") {
    const methods = new Map(known.proto.method.map((method) => [method.name, method]));
    const other = sent.proto.method.find((method) => {
      const same = methods.get(method.name);
      return (
        same === undefined ||
        same.clientStreaming !== method.clientStreaming ||
        same.serverStreaming !== method.serverStreaming ||
        !sameName(same.inputType, method.inputType) ||
        !sameName(same.outputType, method.outputType)
      );
    });
    return other && `method ${sent.fullName}.${other.name}`;
  }
  return undefined;
}

function messageDifference(
  fullName: string,
  sent: DescriptorProto,
  known: DescriptorProto,
): string | undefined {
  const fields = new Map(known.field.map((field) => [field.number, field]));
  // A field that a later release took out is reserved there.
  const retired = new NumberRanges(messageRanges(known.reservedRange));
  for (const field of sent.field) {
    const same = fields.get(field.number);
    const isSame = same === undefined ? retired.has(field.number) : sameField(field, same);
    if (!isSame) return `field ${fullName}.${field.name}`;
  }
  return undefined;
}

function sameField(a: FieldDescriptorProto, b: FieldDescriptorProto): boolean {
  return (
    a.name === b.name &&
    a.type === b.type &&
    a.label === b.label &&
    a.jsonName === b.jsonName &&
    sameName(a.typeName, b.typeName)
  );
}

function sameName(a: string, b: string): boolean {
  return a.replace(/^\./, "") === b.replace(/^\./, "");
}
