import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { equals, fromJsonString, toBinary, toJsonString } from "@bufbuild/protobuf";
import {
  AnySchema,
  anyPack,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { RegisteredType_Kind } from "../gen/collector/type_registry_pb.ts";
import { fieldOf, fileOf, productFile } from "./testing/descriptors.ts";
import { openRegistry } from "./testing/open-registry.ts";
import { common, firstPage, register, registerService, shop } from "./testing/shop.ts";

describe("Registry", () => {
  it("registers a file with what it imports in one write, and finds all of it after a restart", async () => {
    const { registry, protos, reopen } = await openRegistry();
    const result = await register(registry, shop, [common]);
    assert.deepEqual(result, {
      protoId: "default/shop/shop.proto@1",
      version: 1n,
      registeredMessages: ["shop.Product", "shop.Product.Note", "shop.Unused", "shop.Request"],
      files: [
        { name: "shop/shop.proto", version: 1n, unchanged: false },
        { name: "shop/common.proto", version: 1n, unchanged: false },
      ],
    });
    assert.equal(protos.writes, 1);
    await registerService(registry, "Shop");
    for (const opened of [registry, await reopen()]) {
      const snapshot = opened.snapshot("default");
      assert.equal(snapshot.message("shop.Product").fields.length, 4);
      assert.equal(snapshot.typeVersion("shop.Product"), 1n);
      assert.equal(snapshot.method("shop.Shop", "Quote")?.output.typeName, "shop.Product");
      assert.equal(snapshot.method("collector.CollectionService", "Get")?.name, "Get");
    }
  });

  it("gives back exactly what was sent: comments, and files after their imports", async () => {
    const { registry } = await openRegistry();
    await register(registry, shop, [common]);
    const { file } = registry.closure("default", [], [".shop.Product"]);
    assert.deepEqual(
      file.map(({ name }) => name),
      ["shop/common.proto", "shop/shop.proto"],
    );
    const bytes = (value: FileDescriptorProto) => toBinary(FileDescriptorProtoSchema, value);
    assert.deepEqual(file.map(bytes), [bytes(common), bytes(shop)]);
    const read = registry.getFile("default", "shop/shop.proto").fileDescriptor;
    assert.ok(read !== undefined && equals(FileDescriptorProtoSchema, read, shop));
  });

  it("takes the same content again as a success that changes nothing", async () => {
    const { registry, protos } = await openRegistry();
    await register(registry, shop, [common]);
    const before = registry.snapshot("default");
    const without = { ...shop };
    delete without.sourceCodeInfo;
    for (const file of [shop, without]) {
      const again = await register(registry, file);
      assert.deepEqual(again.files, [{ name: shop.name, version: 1n, unchanged: true }]);
    }
    assert.equal(protos.writes, 1);
    assert.equal(registry.snapshot("default"), before);
  });

  it("stores nothing when asked only to validate", async () => {
    const { registry, protos, namespaces } = await openRegistry();
    await register(registry, shop, [common], { namespace: "new", validateOnly: true });
    assert.deepEqual([protos.ids, namespaces.ids], [[], []]);
    assert.throws(() => registry.getNamespace("new"), { reason: "NAMESPACE_NOT_FOUND" });
    assert.equal(registry.snapshot("new").types.getMessage("shop.Product"), undefined);
  });

  it("keeps namespaces apart", async () => {
    const { registry } = await openRegistry();
    await register(registry, productFile([fieldOf("a", 1)]), [], { namespace: "one" });
    await register(registry, productFile([fieldOf("a", 1, { type: Type.STRING })]), [], {
      namespace: "two",
    });
    const scalar = (namespace: string) =>
      registry.snapshot(namespace).message("Product").field["a"]?.scalar;
    assert.notEqual(scalar("one"), scalar("two"));
    assert.throws(() => registry.snapshot("default").message("shop.Product"), {
      reason: "TYPE_NOT_FOUND",
    });
    assert.throws(() => registry.getFile("three", "shop.proto"), { reason: "NAMESPACE_NOT_FOUND" });
  });

  it("leaves nothing behind when one file of a call is refused", async () => {
    const { registry, protos } = await openRegistry();
    const bad = productFile([fieldOf("a", 0)], { name: "bad.proto", package: "bad" });
    await assert.rejects(register(registry, bad, [common, shop]), { reason: "DESCRIPTOR_INVALID" });
    assert.deepEqual(protos.ids, []);
    assert.deepEqual(
      registry.listFiles("default", { ...firstPage, query: "", includeDescriptors: false }).files,
      [],
    );
  });

  it("changes nothing in memory when the write fails, and goes on with the next call", async () => {
    const { registry, protos } = await openRegistry();
    protos.failure = new Error("no disk");
    await assert.rejects(register(registry, shop, [common]), /no disk/);
    assert.equal(registry.snapshot("default").types.getMessage("shop.Product"), undefined);
    assert.equal((await register(registry, shop, [common])).version, 1n);
  });

  it("runs registrations one after the other, so that two of a kind cannot both win", async () => {
    const { registry } = await openRegistry();
    const file = (type: Type) => productFile([fieldOf("a", 1, { type })]);
    const results = await Promise.allSettled([
      register(registry, file(Type.INT32)),
      register(registry, file(Type.STRING)),
    ]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ["fulfilled", "rejected"],
    );
  });
});

describe("names", () => {
  it("may be short where they are clear, and have a leading dot", async () => {
    const { registry } = await openRegistry();
    await register(registry, shop, [common]);
    await register(
      registry,
      fileOf({
        name: "other.proto",
        package: "other",
        messageType: [{ name: "Product" }, { name: "Status" }],
      }),
    );
    const snapshot = registry.snapshot("default");
    assert.equal(snapshot.message(".shop.Product").typeName, "shop.Product");
    assert.equal(snapshot.message("Note").typeName, "shop.Product.Note");
    assert.equal(snapshot.message("Product.Note").typeName, "shop.Product.Note");
    // Not ambiguous: built-in types stand back.
    assert.equal(snapshot.message("Status").typeName, "other.Status");
    assert.equal(snapshot.message("Timestamp").typeName, "google.protobuf.Timestamp");
    assert.throws(() => snapshot.message("Product"), {
      reason: "TYPE_AMBIGUOUS",
      message: /other.Product, shop.Product; send the full name/,
    });
    assert.throws(() => snapshot.message("shop.Prodct"), {
      reason: "TYPE_NOT_FOUND",
      message: /did you mean shop.Product/,
    });
    assert.throws(() => snapshot.message("oduct"), { reason: "TYPE_NOT_FOUND" });
    assert.throws(() => snapshot.message(""), { reason: "TYPE_NOT_FOUND" });
  });

  it("that JavaScript knows are names like any other", async () => {
    const { registry } = await openRegistry();
    const names = [
      "__proto__",
      "constructor",
      "toString",
      "hasOwnProperty",
      "valueOf",
      "toJSON",
      "prototype",
      "__defineGetter__",
    ];
    const file = fileOf({
      messageType: names.map((name) => ({
        name,
        field: names.map((field, index) => fieldOf(field, index + 1, { type: Type.STRING })),
      })),
      enumType: [
        { name: "E", value: names.map((name, number) => ({ name: `E_${name}`, number })) },
      ],
    });
    await register(registry, file);
    const { types } = registry.snapshot("default");
    for (const name of names) {
      const desc = registry.snapshot("default").message(`shop.${name}`);
      const json = `{${desc.fields.map((field) => `"${field.jsonName}":"${field.name}"`).join(",")}}`;
      const value = fromJsonString(desc, json, { registry: types });
      assert.equal(toJsonString(desc, value), json);
      assert.equal(desc.fields.length, names.length);
      const any = anyPack(desc, value);
      const text = toJsonString(AnySchema, any, { registry: types });
      assert.deepEqual(fromJsonString(AnySchema, text, { registry: types }), any);
    }
  });
});

describe("lists", () => {
  it("of files and types go page by page, and find parts of names", async () => {
    const { registry } = await openRegistry();
    await register(registry, shop, [common]);
    await registerService(registry, "Shop");
    const query = { query: "SHOP", includeDescriptors: false, pageSize: 1, pageToken: "" };
    const one = registry.listFiles("default", query);
    const two = registry.listFiles("default", { ...query, pageToken: one.nextPageToken });
    assert.deepEqual(
      [...one.files, ...two.files].map((file) => file.fileDescriptor?.name),
      ["shop/common.proto", "shop/shop.proto"],
    );
    assert.equal(one.files[0]?.fileDescriptor?.messageType.length, 0);
    assert.equal(two.nextPageToken, "");
    assert.throws(
      () => registry.listFiles("default", { ...query, query: "x", pageToken: one.nextPageToken }),
      { reason: "PAGE_TOKEN_INVALID" },
    );
    assert.throws(() => registry.listFiles("default", { ...query, pageSize: -1 }), {
      reason: "PAGE_SIZE_INVALID",
    });
    const all = registry.listTypes("default", {
      ...firstPage,
      query: "",
      kind: RegisteredType_Kind.KIND_UNSPECIFIED,
    });
    assert.deepEqual(
      all.types.map(({ name, version }) => `${name} ${version}`),
      [
        "shop.Money 1",
        "shop.Product 1",
        "shop.Product.Note 1",
        "shop.Product.State 1",
        "shop.Request 1",
        "shop.Shop 1",
        "shop.Unused 1",
      ],
    );
    const enums = registry.listTypes("default", {
      ...firstPage,
      query: "state",
      kind: RegisteredType_Kind.ENUM,
    });
    assert.deepEqual(
      enums.types.map(({ name }) => name),
      ["shop.Product.State"],
    );
  });
});

describe("relative type names", () => {
  it("resolve from the inside out, and are stored absolute", async () => {
    const { registry, reopen } = await openRegistry();
    const file = fileOf({
      messageType: [
        { name: "Inner" },
        {
          name: "Outer",
          nestedType: [{ name: "Inner" }],
          field: [
            fieldOf("near", 1, { type: Type.MESSAGE, typeName: "Inner" }),
            fieldOf("far", 2, { type: Type.MESSAGE, typeName: "shop.Inner" }),
            { name: "untyped", number: 3, label: Label.OPTIONAL, typeName: "Outer" },
          ],
        },
      ],
    });
    await register(registry, file);
    for (const opened of [registry, await reopen()]) {
      const { field } = opened.snapshot("default").message("Outer");
      assert.deepEqual(
        [field["near"], field["far"], field["untyped"]].map((f) => f?.message?.typeName),
        ["shop.Outer.Inner", "shop.Inner", "shop.Outer"],
      );
    }
    assert.equal((await register(registry, file)).files[0]?.unchanged, true);
  });
});
