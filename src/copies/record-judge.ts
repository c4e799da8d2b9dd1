import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

/**
 * Checks records by the runtime of protobuf.
 *
 * @param descriptors a FileDescriptorSet that has the type and all it needs
 */
export function createJudge(
  typeName: string,
  descriptors: Uint8Array,
): (data: Uint8Array) => string | undefined {
  const files = fromBinary(FileDescriptorSetSchema, descriptors);
  const desc = createFileRegistry(files).getMessage(typeName);
  if (desc === undefined) throw new Error("the type to check is not in its descriptors");
  return (data) => {
    try {
      fromBinary(desc, data);
      return undefined;
    } catch {
      return `is not a ${typeName}`;
    }
  };
}
