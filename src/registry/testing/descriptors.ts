import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type FieldDescriptorProtoSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";

export type FileInit = MessageInitShape<typeof FileDescriptorProtoSchema>;
export type FieldInit = MessageInitShape<typeof FieldDescriptorProtoSchema>;

/** A file as no compiler would make it; `shop.proto` in proto3 unless it says otherwise. */
export function fileOf(init: FileInit): FileDescriptorProto {
  return create(FileDescriptorProtoSchema, {
    name: "shop.proto",
    package: "shop",
    syntax: "proto3",
    ...init,
  });
}

/** An optional int32 unless it says otherwise. */
export function fieldOf(name: string, number: number, init: FieldInit = {}): FieldInit {
  return { name, number, label: Label.OPTIONAL, type: Type.INT32, ...init };
}

/** A file with one message `Product` of these fields. */
export function productFile(
  fields: readonly FieldInit[],
  init: FileInit = {},
): FileDescriptorProto {
  return fileOf({ messageType: [{ name: "Product", field: [...fields] }], ...init });
}
