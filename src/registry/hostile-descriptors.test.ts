import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, createFileRegistry, fromBinary, toBinary, toJson } from "@bufbuild/protobuf";
import {
  FeatureSet_FieldPresence,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { CollectorError } from "../errors.ts";
import type { FileInit } from "./testing/descriptors.ts";
import { openRegistry, type TestRegistry } from "./testing/open-registry.ts";
import { common, register, shop } from "./testing/shop.ts";

const reasons = new Set([
  "DESCRIPTOR_INVALID",
  "SYMBOL_EXISTS",
  "SCHEMA_INCOMPATIBLE",
  "SCHEMA_LIMIT_EXCEEDED",
  "TYPE_IN_USE",
]);

/** Registers a file that may be anything; whatever comes of it, the registry must be whole. */
async function tryRegister(test: TestRegistry, file: FileDescriptorProto): Promise<boolean> {
  const { registry, protos } = test;
  const before = { ids: protos.ids, snapshot: registry.snapshot("default") };
  try {
    await register(registry, file);
  } catch (error) {
    assert.ok(error instanceof CollectorError, String(error));
    assert.ok(reasons.has(error.reason), `${error.reason}: ${error.message}`);
    assert.deepEqual(protos.ids, before.ids);
    assert.equal(registry.snapshot("default"), before.snapshot);
    return false;
  }
  const set = registry.closure("default", [file.name], []);
  const linked = createFileRegistry(set);
  for (const desc of registry.snapshot("default").types) {
    if (desc.kind !== "message" || desc.file.proto.name !== file.name) continue;
    assert.ok(linked.getMessage(desc.typeName));
    const message = create(desc);
    if (
      desc.fields.every(({ presence }) => presence !== FeatureSet_FieldPresence.LEGACY_REQUIRED)
    ) {
      assert.deepEqual(
        toBinary(desc, fromBinary(desc, toBinary(desc, message))),
        toBinary(desc, message),
      );
      toJson(desc, message);
    }
  }
  return true;
}

/** Mostly the first, so that some files are good, and sometimes the other. */
function mostly<A, B>(usual: fc.Arbitrary<A>, other: fc.Arbitrary<B>): fc.Arbitrary<A | B> {
  return fc.oneof({ weight: 12, arbitrary: usual }, { weight: 1, arbitrary: other });
}

function rarely<T>(other: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return mostly(fc.constant(undefined), other);
}

const names = mostly(
  fc.stringMatching(/^[a-zA-Z]{3}$/),
  fc.constantFrom("A", "B", "__proto__", "toString", "", "1x", "a_b", "aB", "key", "value"),
);
const numbers = mostly(
  fc.integer({ min: 1, max: 5000 }),
  fc.constantFrom(-1, 0, 19_000, 2 ** 29 - 1, 2 ** 29, 2 ** 31 - 1, -(2 ** 31)),
);
const typeNames = fc.constantFrom(
  ".shop.A",
  ".shop.B",
  "A",
  ".shop.A.B",
  ".shop.Money",
  ".google.protobuf.Any",
  ".nope",
  ".",
);
const kinds = Object.values(Type).filter((type) => typeof type === "number");
const field = fc.record({
  name: names,
  number: numbers,
  label: mostly(fc.constant(Label.OPTIONAL), fc.constantFrom(Label.REPEATED, Label.REQUIRED)),
  type: mostly(fc.constant(Type.INT32), fc.constantFrom(...kinds)),
  typeName: rarely(typeNames),
  oneofIndex: rarely(fc.integer({ min: -1, max: 1 })),
  proto3Optional: rarely(fc.boolean()),
  defaultValue: rarely(fc.constantFrom("", "1", "true", "x", "-1", "nan")),
  jsonName: rarely(names),
  extendee: rarely(typeNames),
  options: rarely(fc.record({ packed: fc.boolean() })),
});
const range = fc.record({ start: numbers, end: numbers });
const someEnum = fc.record({
  name: names,
  value: fc
    .array(fc.record({ name: names, number: numbers }), { maxLength: 2 })
    .chain((rest) => names.map((name) => [{ name, number: 0 }, ...rest])),
  reservedRange: rarely(fc.tuple(range)),
});
const { message } = fc.letrec((tie) => ({
  message: fc.record({
    name: mostly(fc.constantFrom("A", "B"), names),
    field: fc.array(field, { maxLength: 3 }),
    nestedType: rarely(fc.tuple(tie("message"))),
    enumType: rarely(fc.tuple(someEnum)),
    extension: rarely(fc.tuple(field)),
    extensionRange: rarely(fc.tuple(range)),
    reservedRange: rarely(fc.array(range, { maxLength: 2 })),
    oneofDecl: rarely(fc.array(fc.record({ name: names }), { maxLength: 2 })),
    options: rarely(fc.record({ mapEntry: fc.boolean() })),
  }),
}));
const fileNames = fc.constantFrom("a.proto", "b.proto", "shop/common.proto");
const method = fc.record({ name: names, inputType: typeNames, outputType: typeNames });
const someFile = fc.record({
  name: mostly(fileNames, fc.constantFrom("google/protobuf/any.proto", "", "../a.proto")),
  package: mostly(
    fc.constant("shop"),
    fc.constantFrom("shop.A", "", "google.protobuf", "collector", "a..b"),
  ),
  syntax: mostly(fc.constantFrom("proto2", "proto3"), fc.constantFrom("editions", "", "proto4")),
  edition: fc.constantFrom(1000, 1001, 9),
  dependency: mostly(fc.constant(["shop/common.proto"]), fc.uniqueArray(fileNames)),
  publicDependency: rarely(fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 2 })),
  messageType: fc.array(message, { maxLength: 2 }),
  enumType: rarely(fc.tuple(someEnum)),
  extension: rarely(fc.tuple(field)),
  service: rarely(fc.tuple(fc.record({ name: names, method: fc.array(method, { maxLength: 2 }) }))),
});

describe("hostile descriptors", () => {
  it("of any shape are registered whole or refused, with everything else as it was", async (context) => {
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(someFile, { minLength: 1, maxLength: 4 }), async (files) => {
        const test = await openRegistry();
        await register(test.registry, common);
        for (const init of files) {
          if (await tryRegister(test, create(FileDescriptorProtoSchema, init as FileInit)))
            accepted += 1;
        }
        await test.reopen();
      }),
      { numRuns: 200 },
    );
    assert.ok(accepted > 10, `${accepted} were accepted`);
    context.diagnostic(`${accepted} files were accepted`);
  });

  it("made of good ones by changed bytes are registered whole or refused", async () => {
    const test = await openRegistry();
    const { registry } = test;
    await register(registry, common);
    const good = toBinary(FileDescriptorProtoSchema, shop);
    const edit = fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 }));
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
        const bytes = good.slice();
        for (const [at, value] of edits) bytes[at] = value;
        const file = decoded(bytes);
        if (file === undefined || !(await tryRegister(test, file))) return;
        accepted += 1;
        if (!registry.getFile("default", file.name).builtIn) {
          await registry.unregisterFile("default", file.name, false);
        }
      }),
      { numRuns: 600 },
    );
    assert.ok(accepted > 10, `${accepted} were accepted`);
    await test.reopen();
  });

  it("of random bytes are refused, if they are a descriptor at all", async () => {
    const test = await openRegistry();
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        const file = decoded(bytes);
        if (file !== undefined) await tryRegister(test, file);
      }),
      { numRuns: 500 },
    );
  });
});

/** Undefined where the transport would have refused the message. */
function decoded(bytes: Uint8Array): FileDescriptorProto | undefined {
  try {
    return fromBinary(FileDescriptorProtoSchema, bytes);
  } catch {
    return undefined;
  }
}
