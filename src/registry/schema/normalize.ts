import { clearField, fromBinary, isFieldSet, toBinary } from "@bufbuild/protobuf";
import { protoCamelCase } from "@bufbuild/protobuf/reflect";
import {
  type DescriptorProto,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";

const { jsonName } = FieldDescriptorProtoSchema.field;

/** A file as it came in, and its canonical form. */
export interface NormalizedFile {
  /** The bytes of the file as it came in, custom options and comments included. */
  readonly source: Uint8Array;
  /**
   * A copy with what compilers fill in, and without comments. Its type names may still be relative;
   * the check of its references makes them absolute.
   */
  readonly file: FileDescriptorProto;
}

/** Makes the canonical form of a file, a copy of its own. */
export function normalizeFile(input: FileDescriptorProto): NormalizedFile {
  const source = toBinary(FileDescriptorProtoSchema, input);
  return { source, file: canonicalCopy(source) };
}

/** The canonical form of a file that was stored. */
export function canonicalCopy(source: Uint8Array): FileDescriptorProto {
  const file = fromBinary(FileDescriptorProtoSchema, source);
  delete file.sourceCodeInfo;
  for (const message of file.messageType) fillMessage(message);
  for (const extension of file.extension) clearJsonName(extension);
  return file;
}

/** The bytes by which two versions of a file are compared. */
export function canonicalBytes(file: FileDescriptorProto): Uint8Array {
  return toBinary(FileDescriptorProtoSchema, file);
}

function fillMessage(message: DescriptorProto): void {
  for (const field of message.field) {
    if (!isFieldSet(field, jsonName)) {
      field.jsonName = protoCamelCase(field.name);
    }
  }
  for (const extension of message.extension) clearJsonName(extension);
  for (const nested of message.nestedType) fillMessage(nested);
}

/** Some compilers give extensions a JSON name, which means nothing. */
function clearJsonName(extension: FieldDescriptorProto): void {
  clearField(extension, jsonName);
}
