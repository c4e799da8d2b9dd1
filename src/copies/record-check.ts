import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { checkWire } from "../lib/wire-check.ts";

const lengthBytes = 4;

/** What {@link createRecordCheck} needs, as bytes: the length of the name, the name, the descriptors. */
export function recordCheckInput(typeName: string, descriptors: Uint8Array): Uint8Array {
  const name = Buffer.from(typeName);
  const length = Buffer.alloc(lengthBytes);
  length.writeUInt32BE(name.length);
  return Buffer.concat([length, name, descriptors]);
}

/** Checks that each record is of the type that it should have. Loaded by name, in a process of its own. */
export function createRecordCheck(input: Uint8Array): (data: Uint8Array) => string | undefined {
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.byteLength);
  const end = lengthBytes + bytes.readUInt32BE(0);
  const typeName = bytes.toString("utf8", lengthBytes, end);
  const files = fromBinary(FileDescriptorSetSchema, bytes.subarray(end));
  const desc = createFileRegistry(files).getMessage(typeName);
  if (desc === undefined) throw new Error("the type to check is not in its descriptors");
  return (data) => {
    try {
      checkWire(desc, data);
      return undefined;
    } catch {
      return `is not a ${typeName}`;
    }
  };
}
