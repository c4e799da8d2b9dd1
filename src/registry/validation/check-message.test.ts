import {
  FeatureSet_FieldPresence,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { fieldOf, fileOf, productFile } from "../testing/descriptors.ts";
import { describeRefusals } from "../testing/refusals.ts";

const bytesOf = (name: string) => ({ type: Type.MESSAGE, typeName: name });

describeRefusals("registerFile refuses a message with", [
  { name: "field number 0", file: productFile([fieldOf("a", 0)]), says: "number 0" },
  { name: "field number -1", file: productFile([fieldOf("a", -1)]), says: "number -1" },
  { name: "field number 19000", file: productFile([fieldOf("a", 19_000)]), says: "reserves" },
  { name: "field number 2^29", file: productFile([fieldOf("a", 2 ** 29)]), says: "536870912" },
  {
    name: "one number twice",
    file: productFile([fieldOf("a", 1), fieldOf("b", 1)]),
    says: "also that of a",
  },
  {
    name: "one field name twice",
    file: productFile([fieldOf("a", 1), fieldOf("a", 2)]),
    says: "declared twice",
    reason: "SYMBOL_EXISTS",
  },
  {
    name: "two fields that are one in memory",
    file: productFile([fieldOf("a_b", 1), fieldOf("aB", 2)]),
    says: "same name",
  },
  {
    name: "one JSON name twice",
    file: productFile([fieldOf("a", 1, { jsonName: "x" }), fieldOf("b", 2, { jsonName: "x" })]),
    says: "same JSON name",
  },
  {
    name: "the JSON name __proto__",
    file: productFile([fieldOf("a", 1, { jsonName: "__proto__" })]),
    says: "__proto__",
  },
  {
    name: "a JSON name in brackets",
    file: productFile([fieldOf("a", 1, { jsonName: "[a]" })]),
    says: "brackets",
  },
  {
    name: "a field name that is no identifier",
    file: productFile([fieldOf("a-b", 1)]),
    says: "identifier",
  },
  {
    name: "a field name that starts with a digit",
    file: productFile([fieldOf("1a", 1)]),
    says: "identifier",
  },
  {
    name: "a type that is not there",
    file: productFile([fieldOf("a", 1, bytesOf(".shop.Nope"))]),
    says: "is not found",
  },
  {
    name: "a misspelt type",
    file: productFile([fieldOf("a", 1, bytesOf(".shop.Prodct"))]),
    says: "did you mean shop.Product",
  },
  {
    name: "a type whose file is not imported",
    file: productFile([fieldOf("a", 1, bytesOf(".google.protobuf.Any"))]),
    says: 'import "google/protobuf/any.proto"',
  },
  {
    name: "an enum where a message belongs",
    file: productFile([fieldOf("a", 1, bytesOf(".shop.E"))], {
      enumType: [{ name: "E", value: [{ name: "Z", number: 0 }] }],
    }),
    says: "which is a enum and not a message",
  },
  {
    name: "a scalar with a type name",
    file: productFile([fieldOf("a", 1, { typeName: ".shop.Product" })]),
    says: "scalar",
  },
  {
    name: "a group in proto3",
    file: productFile([fieldOf("a", 1, { type: Type.GROUP, typeName: ".shop.Product" })]),
    says: "group",
  },
  {
    name: "required in proto3",
    file: productFile([fieldOf("a", 1, { label: Label.REQUIRED })]),
    says: "required",
  },
  {
    name: "a default in proto3",
    file: productFile([fieldOf("a", 1, { defaultValue: "1" })]),
    says: "default",
  },
  {
    name: "a default that is no number",
    file: productFile([fieldOf("a", 1, { defaultValue: "one" })], { syntax: "proto2" }),
    says: 'the default "one"',
  },
  {
    name: "a packed string",
    file: productFile([
      fieldOf("a", 1, { type: Type.STRING, label: Label.REPEATED, options: { packed: true } }),
    ]),
    says: "packed",
  },
  {
    name: "a packed single value",
    file: productFile([fieldOf("a", 1, { options: { packed: true } })]),
    says: "packed",
  },
  {
    name: "a field in a oneof that is not there",
    file: productFile([fieldOf("a", 1, { oneofIndex: 3 })]),
    says: "no oneof with index 3",
  },
  {
    name: "a field in a oneof of negative index",
    file: productFile([fieldOf("a", 1, { oneofIndex: -1 })]),
    says: "no oneof with index -1",
  },
  {
    name: "an empty oneof",
    file: fileOf({ messageType: [{ name: "A", oneofDecl: [{ name: "o" }] }] }),
    says: "no fields",
  },
  {
    name: "a repeated field in a oneof",
    file: fileOf({
      messageType: [
        {
          name: "A",
          oneofDecl: [{ name: "o" }],
          field: [fieldOf("a", 1, { oneofIndex: 0, label: Label.REPEATED })],
        },
      ],
    }),
    says: "repeated",
  },
  {
    name: "proto3_optional without a oneof",
    file: productFile([fieldOf("a", 1, { proto3Optional: true })]),
    says: "but no oneof",
  },
  {
    name: "proto3_optional in a shared oneof",
    file: fileOf({
      messageType: [
        {
          name: "A",
          oneofDecl: [{ name: "o" }],
          field: [
            fieldOf("a", 1, { oneofIndex: 0, proto3Optional: true }),
            fieldOf("b", 2, { oneofIndex: 0 }),
          ],
        },
      ],
    }),
    says: "shares its oneof",
  },
  {
    name: "a oneof that is a field in memory",
    file: fileOf({
      messageType: [
        {
          name: "A",
          oneofDecl: [{ name: "a_b" }],
          field: [fieldOf("aB", 1), fieldOf("c", 2, { oneofIndex: 0 })],
        },
      ],
    }),
    says: "same name",
  },
  {
    name: "a reserved number",
    file: fileOf({
      messageType: [{ name: "A", reservedRange: [{ start: 1, end: 3 }], field: [fieldOf("a", 2)] }],
    }),
    says: "number 2 is reserved",
  },
  {
    name: "a reserved name",
    file: fileOf({ messageType: [{ name: "A", reservedName: ["a"], field: [fieldOf("a", 2)] }] }),
    says: "name is reserved",
  },
  {
    name: "a reserved range that ends first",
    file: fileOf({ messageType: [{ name: "A", reservedRange: [{ start: 5, end: 5 }] }] }),
    says: "start first",
  },
  {
    name: "reserved ranges that overlap",
    file: fileOf({
      messageType: [
        {
          name: "A",
          reservedRange: [
            { start: 1, end: 5 },
            { start: 4, end: 6 },
          ],
        },
      ],
    }),
    says: "overlap at 4",
  },
  {
    name: "extension ranges in proto3",
    file: fileOf({ messageType: [{ name: "A", extensionRange: [{ start: 1, end: 5 }] }] }),
    says: "extension ranges",
  },
  {
    name: "a field in an extension range",
    file: fileOf({
      syntax: "proto2",
      messageType: [
        { name: "A", extensionRange: [{ start: 1, end: 5 }], field: [fieldOf("a", 2)] },
      ],
    }),
    says: "extension range",
  },
  {
    name: "an extension out of range",
    file: fileOf({
      syntax: "proto2",
      messageType: [{ name: "A" }],
      extension: [fieldOf("x", 9, { extendee: ".shop.A" })],
    }),
    says: "no extension range",
  },
  {
    name: "an extension of nothing",
    file: fileOf({ syntax: "proto2", extension: [fieldOf("x", 9)] }),
    says: "no extendee",
  },
  {
    name: "an extendee on a field",
    file: productFile([fieldOf("a", 1, { extendee: ".shop.Product" })]),
    says: "among the extensions",
  },
  {
    name: "message_set_wire_format",
    file: fileOf({
      syntax: "proto2",
      messageType: [{ name: "A", options: { messageSetWireFormat: true } }],
    }),
    says: "message_set",
  },
  {
    name: "features in proto3",
    file: productFile([
      fieldOf("a", 1, {
        options: { features: { fieldPresence: FeatureSet_FieldPresence.EXPLICIT } },
      }),
    ]),
    says: "features",
  },
  {
    name: "an enum's reserved number",
    file: fileOf({
      enumType: [
        {
          name: "E",
          reservedRange: [{ start: 1, end: 1 }],
          value: [
            { name: "A", number: 0 },
            { name: "B", number: 1 },
          ],
        },
      ],
    }),
    says: "number 1 is reserved",
  },
  {
    name: "a closed enum without presence",
    file: productFile(
      [
        fieldOf("a", 1, {
          type: Type.ENUM,
          typeName: ".google.protobuf.FieldDescriptorProto.Type",
        }),
      ],
      { dependency: ["google/protobuf/descriptor.proto"] },
    ),
    says: "closed enum",
  },
  {
    name: "a map entry on its own",
    file: fileOf({
      messageType: [
        { name: "E", options: { mapEntry: true }, field: [fieldOf("key", 1), fieldOf("value", 2)] },
      ],
    }),
    says: "outside of a message",
  },
  {
    name: "a map entry that no field uses",
    file: fileOf({
      messageType: [
        {
          name: "A",
          nestedType: [
            {
              name: "E",
              options: { mapEntry: true },
              field: [fieldOf("key", 1), fieldOf("value", 2)],
            },
          ],
        },
      ],
    }),
    says: "no field uses",
  },
  {
    name: "a map with bytes for keys",
    file: fileOf({
      messageType: [
        {
          name: "A",
          nestedType: [
            {
              name: "E",
              options: { mapEntry: true },
              field: [fieldOf("key", 1, { type: Type.BYTES }), fieldOf("value", 2)],
            },
          ],
          field: [fieldOf("m", 1, { label: Label.REPEATED, ...bytesOf(".shop.A.E") })],
        },
      ],
    }),
    says: "map entry",
  },
  {
    name: "a single map entry",
    file: fileOf({
      messageType: [
        {
          name: "A",
          nestedType: [
            {
              name: "E",
              options: { mapEntry: true },
              field: [fieldOf("key", 1), fieldOf("value", 2)],
            },
          ],
          field: [fieldOf("m", 1, bytesOf(".shop.A.E"))],
        },
      ],
    }),
    says: "entry of another map",
  },
]);
