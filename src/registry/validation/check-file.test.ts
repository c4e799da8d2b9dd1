import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Edition, type FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import { fieldOf, fileOf, productFile } from "../testing/descriptors.ts";
import { openRegistry } from "../testing/open-registry.ts";
import { describeRefusals } from "../testing/refusals.ts";

describeRefusals("registerFile refuses a file with", [
  { name: "no name", file: fileOf({ name: "" }), says: "send a relative path" },
  {
    name: "a name that leaves the folder",
    file: fileOf({ name: "../shop.proto" }),
    says: "relative path",
  },
  { name: "an absolute name", file: fileOf({ name: "/shop.proto" }), says: "relative path" },
  { name: "a name with NUL", file: fileOf({ name: "a\u0000.proto" }), says: "relative path" },
  {
    name: "an unknown syntax",
    file: fileOf({ syntax: "proto4" }),
    says: "proto2, proto3, editions",
  },
  {
    name: "an unknown edition",
    file: fileOf({ syntax: "editions", edition: Edition.EDITION_UNSTABLE }),
    says: "EDITION_2023",
  },
  { name: "a package that is no name", file: fileOf({ package: "a..b" }), says: "package" },
  {
    name: "the package of the collector",
    file: fileOf({ package: "collector" }),
    says: "reserved",
  },
  {
    name: "an option that lacks what its own type requires",
    file: fileOf({
      messageType: [{ name: "A", options: { uninterpretedOption: [{ name: [{}, {}] }] } }],
    }),
    says: "shop.proto: message_type[0].options.uninterpreted_option[0].name[0].name_part is required",
  },
  {
    name: "an option whose last part is incomplete",
    file: fileOf({
      options: { uninterpretedOption: [{ name: [{ namePart: "a" }] }] },
    }),
    says: "options.uninterpreted_option[0].name[0].is_extension is required",
  },
  { name: "a message without a name", file: fileOf({ messageType: [{}] }), says: "has no name" },
  {
    name: "two messages of one name",
    file: fileOf({ messageType: [{ name: "A" }, { name: "A" }] }),
    says: "declared twice",
    reason: "SYMBOL_EXISTS",
  },
  {
    name: "a message and an enum of one name",
    file: fileOf({
      messageType: [{ name: "A" }],
      enumType: [{ name: "A", value: [{ name: "Z", number: 0 }] }],
    }),
    says: "declared twice",
    reason: "SYMBOL_EXISTS",
  },
  {
    name: "an enum value with the name of a message",
    file: fileOf({
      messageType: [{ name: "Z" }],
      enumType: [{ name: "E", value: [{ name: "Z", number: 0 }] }],
    }),
    says: "declared twice",
    reason: "SYMBOL_EXISTS",
  },
  {
    name: "a field without type",
    file: fileOf({ messageType: [{ name: "A", field: [{ name: "a", number: 1 }] }] }),
    says: "no type",
  },
  {
    name: "an enum without values",
    file: fileOf({ enumType: [{ name: "E" }] }),
    says: "no values",
  },
  {
    name: "an enum that starts at 1",
    file: fileOf({ enumType: [{ name: "E", value: [{ name: "A", number: 1 }] }] }),
    says: "must be 0",
  },
  {
    name: "an enum number twice",
    file: fileOf({
      enumType: [
        {
          name: "E",
          value: [
            { name: "A", number: 0 },
            { name: "B", number: 0 },
          ],
        },
      ],
    }),
    says: "allow_alias",
  },
  {
    name: "a method without types",
    file: fileOf({ service: [{ name: "S", method: [{ name: "M" }] }] }),
    says: "has no input type",
  },
  {
    name: "a method of an enum",
    file: fileOf({
      enumType: [{ name: "E", value: [{ name: "Z", number: 0 }] }],
      service: [
        { name: "S", method: [{ name: "M", inputType: ".shop.E", outputType: ".shop.E" }] },
      ],
    }),
    says: "is not a message",
  },
  {
    name: "two methods of one name",
    file: fileOf({
      messageType: [{ name: "A" }],
      service: [
        {
          name: "S",
          method: [
            { name: "M", inputType: ".shop.A", outputType: ".shop.A" },
            { name: "M", inputType: ".shop.A", outputType: ".shop.A" },
          ],
        },
      ],
    }),
    says: "declared twice",
    reason: "SYMBOL_EXISTS",
  },
  {
    name: "a method called __proto__",
    file: fileOf({
      messageType: [{ name: "A" }],
      service: [
        { name: "S", method: [{ name: "__proto__", inputType: ".shop.A", outputType: ".shop.A" }] },
      ],
    }),
    says: "__proto__",
  },
  {
    name: "a missing import",
    file: fileOf({ dependency: ["common.proto"] }),
    says: "send it in dependencies or register it first",
  },
  {
    name: "an import of itself",
    file: fileOf({ dependency: ["shop.proto"] }),
    says: "the file itself",
  },
  {
    name: "an import twice",
    file: fileOf({ dependency: ["google/protobuf/any.proto", "google/protobuf/any.proto"] }),
    says: "there twice",
  },
  {
    name: "a public import that is not there",
    file: fileOf({ publicDependency: [4] }),
    says: "no import with index 4",
  },
  {
    name: "options that were not interpreted",
    file: fileOf({ options: { uninterpretedOption: [{ identifierValue: "x" }] } }),
    says: "not interpreted",
  },
  {
    name: "struct.proto redefined",
    file: fileOf({
      name: "google/protobuf/struct.proto",
      package: "google.protobuf",
      messageType: [{ name: "Struct", field: [fieldOf("x", 1)] }],
    }),
    says: "cannot be redefined",
  },
  {
    name: "a well-known type in another file",
    file: fileOf({ package: "google.protobuf", messageType: [{ name: "Struct" }] }),
    says: "is built in and cannot be redefined",
  },
  {
    name: "a type of the collector redefined",
    file: fileOf({
      name: "collector/common.proto",
      package: "collector",
      messageType: [{ name: "Status", field: [fieldOf("x", 1)] }],
    }),
    says: "cannot be redefined",
  },
  {
    name: "a package that is a type",
    file: fileOf({ package: "google.protobuf.Any" }),
    says: "google/protobuf/any.proto",
  },
  {
    name: "a name of 600 characters",
    file: fileOf({ messageType: [{ name: "A".repeat(600) }] }),
    says: "the limit is 512",
  },
]);

describe("registerFile refuses", () => {
  it("a cycle of imports, and says how it goes round", async () => {
    const { registry } = await openRegistry();
    const a = fileOf({ name: "a.proto", dependency: ["b.proto"] });
    const b = fileOf({ name: "b.proto", dependency: ["a.proto"] });
    const request = { namespace: "default", file: a, dependencies: [b], validateOnly: false };
    await assert.rejects(registry.registerFile(request), {
      reason: "DESCRIPTOR_INVALID",
      message: /"a.proto" imports "b.proto" imports "a.proto"/,
    });
  });

  it("a cycle that a new version closes", async () => {
    const { registry } = await openRegistry();
    const register = (file: FileDescriptorProto) =>
      registry.registerFile({ namespace: "default", file, dependencies: [], validateOnly: false });
    await register(fileOf({ name: "b.proto" }));
    await register(fileOf({ name: "a.proto", dependency: ["b.proto"] }));
    await assert.rejects(register(fileOf({ name: "b.proto", dependency: ["a.proto"] })), {
      reason: "DESCRIPTOR_INVALID",
      message: /go round/,
    });
  });

  it("one file twice with different content", async () => {
    const { registry } = await openRegistry();
    const [a, b] = [productFile([fieldOf("a", 1)]), productFile([fieldOf("b", 1)])];
    const request = { namespace: "default", file: a, dependencies: [b], validateOnly: false };
    await assert.rejects(registry.registerFile(request), {
      reason: "DESCRIPTOR_INVALID",
      violations: [
        {
          field: "dependencies[0]",
          description: "shop.proto: is in the request twice, with different content",
        },
      ],
    });
  });

  it("a message without a file", async () => {
    const { registry } = await openRegistry();
    const request = {
      namespace: "default",
      file: undefined,
      dependencies: [],
      validateOnly: false,
    };
    await assert.rejects(registry.registerFile(request), { reason: "ARGUMENT_MISSING" });
  });
});
