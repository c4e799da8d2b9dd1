import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import {
  DescriptorProtoSchema,
  file_google_protobuf_descriptor,
  file_google_protobuf_struct,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { file_collector_common } from "../gen/collector/common_pb.ts";
import { CompatibilityMode, NamespaceSchema } from "../gen/collector/namespaces_pb.ts";
import { defaultLimits } from "../lib/limits.ts";
import { fileVersionsMax } from "./registration.ts";
import { compileFile } from "./testing/compile.ts";
import { fieldOf, fileOf, productFile } from "./testing/descriptors.ts";
import { openRegistry } from "./testing/open-registry.ts";
import { common, firstPage, register, registerService, shop } from "./testing/shop.ts";

describe("versions of a file", () => {
  it("come with compatible changes, and types follow the newest", async () => {
    const { registry } = await openRegistry();
    await register(registry, productFile([fieldOf("a", 1)]));
    const held = registry.snapshot("default");
    const result = await register(registry, productFile([fieldOf("a", 1), fieldOf("b", 2)]));
    assert.equal(result.version, 2n);
    assert.equal(held.message("shop.Product").fields.length, 1);
    const now = registry.snapshot("default");
    assert.equal(now.message("shop.Product").fields.length, 2);
    assert.equal(now.typeVersion("shop.Product"), 2n);
    assert.ok(now.revision > held.revision);
    assert.equal(
      registry.getFile("default", "shop.proto", 1n).fileDescriptor?.messageType[0]?.field.length,
      1,
    );
    const { files } = registry.listFileVersions("default", "shop.proto", firstPage);
    assert.deepEqual(
      files.map(({ version }) => version),
      [2n, 1n],
    );
  });

  it("must suit every earlier one, not only the last", async () => {
    const { registry } = await openRegistry();
    const reserved = {
      messageType: [
        { name: "Product", reservedRange: [{ start: 1, end: 2 }], reservedName: ["a"] },
      ],
    };
    await register(registry, productFile([fieldOf("a", 1)]));
    await register(registry, fileOf(reserved));
    const reused = fileOf({ messageType: [{ name: "Product", field: [fieldOf("x", 1)] }] });
    await assert.rejects(
      register(registry, reused),
      (error: Error & { violations: { description: string }[] }) => {
        const all = error.violations.map(({ description }) => description).join("\n");
        assert.match(
          all,
          /shop.proto: field shop.Product.a, number 1, changed its name to x \(FIELD_SAME_NAME, against version 1\)/,
        );
        assert.match(all, /RESERVED_MESSAGE_NO_DELETE, against version 2/);
        return true;
      },
    );
  });

  it("may be of any kind in a namespace of mode none", async () => {
    const { registry } = await openRegistry();
    await registry.createNamespace(
      create(NamespaceSchema, { name: "loose", compatibilityMode: CompatibilityMode.NONE }),
      false,
    );
    const options = { namespace: "loose" };
    await register(registry, productFile([fieldOf("a", 1)]), [], options);
    const changed = productFile([fieldOf("b", 1, { type: Type.STRING })]);
    assert.equal((await register(registry, changed, [], options)).version, 2n);
    const back = await register(registry, productFile([fieldOf("a", 1)]), [], options);
    assert.equal(back.version, 3n);
    const invalid = productFile([fieldOf("a", 0)]);
    await assert.rejects(register(registry, invalid, [], options), {
      reason: "DESCRIPTOR_INVALID",
    });
  });

  it("are not made for content of an earlier one that is still there", async () => {
    const { registry } = await openRegistry();
    await register(registry, productFile([fieldOf("a", 1)]));
    await register(registry, productFile([fieldOf("a", 1), fieldOf("b", 2)]));
    const old = await register(registry, productFile([fieldOf("a", 1)]));
    assert.deepEqual(old.files, [{ name: "shop.proto", version: 1n, unchanged: true }]);
    assert.equal(registry.snapshot("default").message("Product").fields.length, 2);
  });

  it("are limited in number", async () => {
    const { registry } = await openRegistry({ limits: { ...defaultLimits } });
    await registry.createNamespace(
      create(NamespaceSchema, { name: "loose", compatibilityMode: CompatibilityMode.NONE }),
      false,
    );
    const version = (index: number) =>
      register(registry, fileOf({ options: { goPackage: `v${index}` } }), [], {
        namespace: "loose",
      });
    for (let index = 0; index < fileVersionsMax; index += 1) await version(index);
    await assert.rejects(version(fileVersionsMax), {
      reason: "SCHEMA_LIMIT_EXCEEDED",
      message: "shop.proto has 1000 versions, the limit is 1000",
    });
  });

  it("carry along the files that import them", async () => {
    const { registry } = await openRegistry();
    await register(registry, shop, [common]);
    const grown = compileFile(
      "shop/common.proto",
      'syntax = "proto3"; package shop; message Money { int64 units = 1; string currency = 2; }',
    );
    await register(registry, grown);
    const price = registry.snapshot("default").message("shop.Product").field["price"]?.message;
    assert.equal(price?.fields.length, 2);
    assert.equal(price, registry.snapshot("default").message("shop.Money"));
  });

  it("may not take away what another file needs", async () => {
    const { registry } = await openRegistry();
    await register(registry, shop, [common]);
    const empty = fileOf({ name: "shop/common.proto", package: "shop" });
    await assert.rejects(register(registry, empty), {
      reason: "TYPE_IN_USE",
      subject: { namespace: "default", file: "shop/shop.proto" },
      message: /field shop.Product.price its type "shop.Money" is not found/,
    });
  });

  it("may not take away the type of a collection, nor a registered service", async () => {
    const { registry, collections } = await openRegistry();
    await register(registry, shop, [common]);
    collections.set("default", new Map([["things", "shop.Unused"]]));
    const less = { ...shop, messageType: shop.messageType.filter(({ name }) => name !== "Unused") };
    await assert.rejects(register(registry, less), {
      reason: "TYPE_IN_USE",
      subject: { namespace: "default", collection: "things" },
    });
    collections.clear();
    await registerService(registry, "shop.Shop");
    await assert.rejects(register(registry, { ...less, service: [] }), {
      reason: "TYPE_IN_USE",
      subject: { namespace: "default", service: "shop.Shop" },
    });
  });

  it("let a message move to another file in one call, unchanged in what matters", async () => {
    const { registry } = await openRegistry();
    const a = (field: ReturnType<typeof fieldOf>) =>
      fileOf({ name: "new.proto", messageType: [{ name: "Product", field: [field] }] });
    await register(registry, productFile([fieldOf("a", 1)]));
    const empty = fileOf({});
    await assert.rejects(register(registry, a(fieldOf("a", 1))), { reason: "SYMBOL_EXISTS" });
    await assert.rejects(register(registry, a(fieldOf("a", 1, { type: Type.STRING })), [empty]), {
      reason: "SCHEMA_INCOMPATIBLE",
    });
    await register(registry, a(fieldOf("a", 1)), [empty]);
    assert.equal(registry.snapshot("default").message("Product").file.proto.name, "new.proto");
  });
});

describe("built-in files", () => {
  it("may be sent along, by older releases too, and stay as they are", async () => {
    const { registry, protos } = await openRegistry();
    const descriptor = file_google_protobuf_descriptor.proto;
    const older = { ...descriptor, messageType: descriptor.messageType.slice(0, 5) };
    const struct = file_google_protobuf_struct.proto;
    const result = await register(registry, common, [older, struct, file_collector_common.proto]);
    assert.deepEqual(
      result.files.slice(1).map(({ version, unchanged }) => [version, unchanged]),
      [
        [0n, true],
        [0n, true],
        [0n, true],
      ],
    );
    assert.deepEqual(protos.ids, ["default/shop/common.proto@1"]);
    assert.equal(registry.getFile("default", struct.name).builtIn, true);
  });

  it("may be built upon", async () => {
    const { registry } = await openRegistry();
    const file = productFile(
      [fieldOf("meta", 1, { type: Type.MESSAGE, typeName: ".collector.Metadata" })],
      { dependency: ["collector/common.proto"] },
    );
    await register(registry, file);
    assert.deepEqual(
      registry.closure("default", ["shop.proto"], []).file.map(({ name }) => name),
      [
        "google/protobuf/descriptor.proto",
        "google/protobuf/timestamp.proto",
        "collector/common.proto",
        "shop.proto",
      ],
    );
  });

  it("leave out the services that are not served", async () => {
    const { registry } = await openRegistry();
    const { services } = registry.listServices("default", { pageSize: 1000, pageToken: "" });
    const names = services.map(({ serviceName }) => serviceName);
    assert.ok(names.includes("collector.CollectionService"));
    for (const absent of ["collector.CollectiveWorker", "collector.CollectorConsole"]) {
      assert.ok(!names.includes(absent));
      assert.equal(registry.snapshot("default").types.get(absent), undefined);
      assert.throws(() => registry.lookupService("default", absent), {
        reason: "SERVICE_NOT_FOUND",
      });
    }
  });
});

describe("limits", () => {
  it("refuse 100,000 empty messages and deep nesting at once", async () => {
    const { registry } = await openRegistry();
    const many = fileOf({
      messageType: Array.from({ length: 100_000 }, (_, index) => ({ name: `M${index}` })),
    });
    await assert.rejects(register(registry, many), {
      reason: "SCHEMA_LIMIT_EXCEEDED",
      message: "100000 types in one call, the limit is 5000",
    });
    let deep = create(DescriptorProtoSchema, { name: "M" });
    for (let level = 0; level < 20_000; level += 1) {
      deep = create(DescriptorProtoSchema, { name: "M", nestedType: [deep] });
    }
    const nested = fileOf({ messageType: [deep] });
    await assert.rejects(register(registry, nested), {
      reason: "DESCRIPTOR_INVALID",
      message: /deeper than the limit of 32/,
    });
  });

  it("count bytes of a call, and types and fields of a namespace", async () => {
    const { registry } = await openRegistry({
      limits: {
        ...defaultLimits,
        descriptorBytesMax: 2000,
        typesPerNamespaceMax: 4,
        fieldsPerNamespaceMax: 6,
      },
    });
    const big = fileOf({ options: { goPackage: "x".repeat(2000) } });
    await assert.rejects(register(registry, big), {
      reason: "SCHEMA_LIMIT_EXCEEDED",
      message: /bytes of descriptors in one call, the limit is 2000/,
    });
    const file = (name: string, types: number, fields: number) =>
      fileOf({
        name,
        package: name.slice(0, 1),
        messageType: Array.from({ length: types }, (_, index) => ({
          name: `M${index}`,
          field:
            index === 0 ? Array.from({ length: fields }, (_, n) => fieldOf(`f${n}`, n + 1)) : [],
        })),
      });
    await register(registry, file("a.proto", 3, 3));
    await assert.rejects(register(registry, file("b.proto", 2, 0)), {
      reason: "SCHEMA_LIMIT_EXCEEDED",
      message: "5 types in namespace default, the limit is 4",
    });
    await assert.rejects(register(registry, file("b.proto", 1, 4)), {
      reason: "SCHEMA_LIMIT_EXCEEDED",
      message: "7 fields in namespace default, the limit is 6",
    });
    await register(registry, file("b.proto", 1, 3));
    await registry.unregisterFile("default", "a.proto", false);
    await register(registry, file("c.proto", 3, 3));
  });

  it("are not for chains and diamonds of imports, which cost what their files cost", async () => {
    const { registry } = await openRegistry();
    const layers = Array.from({ length: 40 }, (_, layer) =>
      ["a", "b"].map((side) =>
        fileOf({
          name: `${side}${layer}.proto`,
          package: `${side}${layer}`,
          dependency: layer === 0 ? [] : [`a${layer - 1}.proto`, `b${layer - 1}.proto`],
          publicDependency: layer === 0 ? [] : [0, 1],
          messageType: [
            {
              name: "M",
              field:
                layer === 0 ? [] : [fieldOf("m", 1, { type: Type.MESSAGE, typeName: ".a0.M" })],
            },
          ],
        }),
      ),
    ).flat();
    const [file, ...dependencies] = layers.toReversed();
    assert.ok(file !== undefined);
    await register(registry, file, dependencies);
    assert.equal(registry.closure("default", [file.name], []).file.length, 79);
  });
});
