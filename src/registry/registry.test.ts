import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { clone, create, equals, fromJsonString, toBinary, toJsonString } from "@bufbuild/protobuf";
import {
  AnySchema,
  anyPack,
  DescriptorProtoSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  file_google_protobuf_descriptor,
  file_google_protobuf_struct,
  FieldDescriptorProto_Label as Label,
  MethodDescriptorProtoSchema,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { file_collector_common } from "../gen/collector/common_pb.ts";
import { CompatibilityMode, NamespaceSchema } from "../gen/collector/namespaces_pb.ts";
import { RegisteredType_Kind } from "../gen/collector/type_registry_pb.ts";
import { defaultLimits } from "../lib/limits.ts";
import { fileVersionsMax } from "./registration.ts";
import type { Registry } from "./registry.ts";
import { compile, compileFile } from "./testing/compile.ts";
import { fieldOf, fileOf, productFile } from "./testing/descriptors.ts";
import { openRegistry } from "./testing/open-registry.ts";

const first = { pageSize: 0, pageToken: "" };

function register(
  registry: Registry,
  file: FileDescriptorProto,
  dependencies: readonly FileDescriptorProto[] = [],
  options: { namespace?: string; validateOnly?: boolean } = {},
): ReturnType<Registry["registerFile"]> {
  const { namespace = "default", validateOnly = false } = options;
  return registry.registerFile({ namespace, file, dependencies, validateOnly });
}

function registerService(registry: Registry, serviceName: string): Promise<unknown> {
  return registry.registerService({
    namespace: "default",
    serviceName,
    fileName: "",
    file: undefined,
    serviceDescriptor: undefined,
    validateOnly: false,
  });
}

const [shop, common] = (() => {
  const files = compile({
    "shop/common.proto": 'syntax = "proto3"; package shop; message Money { int64 units = 1; }',
    "shop/shop.proto": `syntax = "proto3"; package shop; import "shop/common.proto";
      // A thing to sell.
      message Product {
        string title = 1;
        Money price = 2;
        enum State { STATE_UNSPECIFIED = 0; SOLD = 1; }
        State state = 3;
        map<string, Money> prices = 4;
        // Unused elsewhere.
        message Note { string text = 1; }
      }
      message Unused { int32 a = 1; }
      // Comes last.
      message Request { string title = 1; }
      service Shop { rpc Quote(Request) returns (Product); }`,
  });
  const find = (name: string): FileDescriptorProto => {
    const file = files.find((candidate) => candidate.name === name);
    assert.ok(file !== undefined);
    return file;
  };
  return [find("shop/shop.proto"), find("shop/common.proto")];
})();

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
      registry.listFiles("default", { ...first, query: "", includeDescriptors: false }).files,
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
    const { files } = registry.listFileVersions("default", "shop.proto", first);
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

describe("services", () => {
  it("are registered of a registered file, or of one that is sent along", async () => {
    const { registry, services } = await openRegistry();
    await register(registry, common);
    const request = {
      namespace: "default",
      file: shop,
      serviceName: "",
      fileName: "",
      serviceDescriptor: undefined,
      validateOnly: false,
    };
    const result = await registry.registerService(request);
    assert.deepEqual(result, { serviceId: "default/shop.Shop", registeredMethods: ["Quote"] });
    assert.deepEqual(
      await registry.registerService({
        ...request,
        file: undefined,
        serviceDescriptor: shop.service[0],
      }),
      result,
    );
    assert.deepEqual(services.ids, ["default/shop.Shop"]);
    const found = registry.lookupService("default", "Shop");
    assert.deepEqual(
      [found.serviceName, found.fileName, found.version, found.methodNames, found.builtIn],
      ["shop.Shop", "shop/shop.proto", 1n, ["Quote"], false],
    );
  });

  it("are refused when they are not there, not clear or not the same", async () => {
    const { registry } = await openRegistry();
    await register(registry, shop, [common]);
    const none = {
      namespace: "default",
      file: undefined,
      serviceName: "",
      fileName: "",
      serviceDescriptor: undefined,
      validateOnly: false,
    };
    await assert.rejects(registry.registerService(none), { reason: "ARGUMENT_MISSING" });
    await assert.rejects(registry.registerService({ ...none, serviceName: "Shp" }), {
      reason: "SERVICE_NOT_FOUND",
      message: /did you mean shop.Shop/,
    });
    await assert.rejects(registry.registerService({ ...none, fileName: "nope.proto" }), {
      reason: "FILE_NOT_FOUND",
    });
    const [service] = shop.service;
    assert.ok(service !== undefined);
    await assert.rejects(
      registry.registerService({ ...none, serviceDescriptor: { ...service, method: [] } }),
      { reason: "ARGUMENT_INVALID", message: /service_descriptor: differs from shop.Shop/ },
    );
  });

  it("follow the newest version of their file, on record too", async () => {
    const { registry, services } = await openRegistry();
    await register(registry, shop, [common]);
    await registerService(registry, "Shop");
    const grown = clone(FileDescriptorProtoSchema, shop);
    grown.service[0]?.method.push(
      create(MethodDescriptorProtoSchema, {
        name: "Other",
        inputType: ".shop.Request",
        outputType: ".shop.Request",
      }),
    );
    await register(registry, grown);
    assert.ok(registry.snapshot("default").method("shop.Shop", "Other"));
    const record = await services.get("default/shop.Shop");
    assert.deepEqual([record?.version, record?.methodNames], [2n, ["Quote", "Other"]]);
  });

  it("are unregistered without their file", async () => {
    const { registry, reopen } = await openRegistry();
    await register(registry, shop, [common]);
    await registerService(registry, "Shop");
    await registry.unregisterService("default", "Shop", true);
    assert.ok(registry.snapshot("default").method("shop.Shop", "Quote"));
    await registry.unregisterService("default", "Shop", false);
    for (const opened of [registry, await reopen()]) {
      assert.equal(opened.snapshot("default").method("shop.Shop", "Quote"), undefined);
    }
    await assert.rejects(registry.unregisterService("default", "CollectionService", false), {
      reason: "ARGUMENT_INVALID",
      message: /disabled_services/,
    });
  });

  it("can be asked about method by method", async () => {
    const { registry } = await openRegistry();
    await register(registry, shop, [common]);
    const check = (service: string, method: string) =>
      registry.validateMethod("default", service, method);
    assert.match(check("shop.Shop", "Quote").message, /there is no service "shop.Shop"/);
    await registerService(registry, "Shop");
    assert.deepEqual(check("shop.Shop", "Quote"), { isValid: true, message: "" });
    assert.deepEqual(check("Shop", "Quot"), {
      isValid: false,
      message: 'service shop.Shop has no method "Quot"; did you mean Quote?',
    });
    assert.equal(check("shop.Shop", "constructor").isValid, false);
  });

  it("are listed page by page, over all namespaces if none is named", async () => {
    const { registry } = await openRegistry();
    await register(registry, shop, [common]);
    await registerService(registry, "Shop");
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = registry.listServices("", { pageSize: 2, pageToken });
      seen.push(
        ...page.services.map(({ namespace, serviceName }) => `${namespace}/${serviceName}`),
      );
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    assert.equal(new Set(seen).size, seen.length);
    assert.ok(seen.includes("default/shop.Shop"));
    assert.ok(seen.includes("system/collector.CollectionService"));
    assert.ok(!seen.includes("system/shop.Shop"));
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
      ...first,
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
      ...first,
      query: "state",
      kind: RegisteredType_Kind.ENUM,
    });
    assert.deepEqual(
      enums.types.map(({ name }) => name),
      ["shop.Product.State"],
    );
  });
});

describe("unregistering", () => {
  it("a file refuses while another imports it or a collection needs it, and then forgets it", async () => {
    const { registry, protos, collections, reopen } = await openRegistry();
    await register(registry, shop, [common]);
    await assert.rejects(registry.unregisterFile("default", common.name, false), {
      reason: "FILE_IN_USE",
      subject: { namespace: "default", file: shop.name },
    });
    collections.set("default", new Map([["products", "shop.Product"]]));
    await assert.rejects(registry.unregisterFile("default", shop.name, false), {
      reason: "TYPE_IN_USE",
      subject: { namespace: "default", collection: "products" },
    });
    collections.clear();
    assert.equal((await registry.unregisterFile("default", shop.name, true)).length, 6);
    assert.deepEqual(await registry.unregisterFile("default", shop.name, false), [
      "shop.Product",
      "shop.Product.State",
      "shop.Product.Note",
      "shop.Unused",
      "shop.Request",
      "shop.Shop",
    ]);
    assert.deepEqual(protos.ids, ["default/shop/common.proto@1"]);
    for (const opened of [registry, await reopen()]) {
      assert.throws(() => opened.getFile("default", shop.name), { reason: "FILE_NOT_FOUND" });
      assert.equal(opened.snapshot("default").types.get("shop.Product"), undefined);
    }
    await register(registry, productFile([fieldOf("title", 9)], { name: shop.name }));
    await assert.rejects(registry.unregisterFile("default", "google/protobuf/any.proto", false), {
      reason: "ARGUMENT_INVALID",
    });
    await assert.rejects(registry.unregisterFile("default", "shop/shp.proto", false), {
      reason: "FILE_NOT_FOUND",
      message: /did you mean/,
    });
  });

  it("a type makes a version without it, with the other comments in place", async () => {
    const { registry } = await openRegistry();
    await register(registry, shop, [common]);
    const result = await registry.unregisterType("default", "Unused", false);
    assert.deepEqual(result, { fileName: shop.name, fileVersion: 2n });
    const file = registry.getFile("default", shop.name).fileDescriptor;
    assert.deepEqual(
      file?.messageType.map(({ name }) => name),
      ["Product", "Request"],
    );
    const comment = file?.sourceCodeInfo?.location.find(({ leadingComments }) =>
      leadingComments.includes("Comes last"),
    );
    assert.deepEqual(comment?.path, [4, 1]);
    assert.throws(() => registry.snapshot("default").message("shop.Unused"), {
      reason: "TYPE_NOT_FOUND",
    });
    assert.equal(
      (await registry.unregisterType("default", "shop.Product.Note", false)).fileVersion,
      3n,
    );
    // The content of version 1 is not all there any more, so it becomes a version again.
    assert.equal((await register(registry, shop)).version, 4n);
    assert.ok(registry.snapshot("default").message("shop.Unused"));
  });

  it("a type refuses while a field, another file or a collection needs it", async () => {
    const { registry, collections } = await openRegistry();
    await register(registry, shop, [common]);
    const refuse = (name: string, message: RegExp) =>
      assert.rejects(registry.unregisterType("default", name, false), {
        reason: "TYPE_IN_USE",
        message,
      });
    await refuse("shop.Product.State", /field shop.Product.state/);
    await refuse("shop.Money", /shop\/shop.proto/);
    collections.set("default", new Map([["things", "shop.Unused"]]));
    await refuse("shop.Unused", /collection things/);
    await assert.rejects(registry.unregisterType("default", "Timestamp", false), {
      reason: "ARGUMENT_INVALID",
    });
    await assert.rejects(registry.unregisterType("default", "Nope", false), {
      reason: "TYPE_NOT_FOUND",
    });
  });
});

describe("namespaces", () => {
  it("are there from the first registration on, or when they are made", async () => {
    const { registry, reopen } = await openRegistry();
    await register(registry, common, [], { namespace: "first" });
    await registry.createNamespace(create(NamespaceSchema, { name: "second" }), false);
    await registry.ensureNamespace("third");
    const names = (opened: Registry) =>
      opened.listNamespaces(first).namespaces.map(({ name }) => name);
    const expected = ["default", "first", "second", "system", "third"];
    assert.deepEqual(names(registry), expected);
    assert.deepEqual(names(await reopen()), expected);
    await assert.rejects(
      registry.createNamespace(create(NamespaceSchema, { name: "first" }), false),
      { reason: "NAMESPACE_EXISTS" },
    );
    for (const name of ["", "-a", "a/b", "a".repeat(129), "a\u0000"]) {
      await assert.rejects(registry.ensureNamespace(name), { reason: "NAME_INVALID" });
      await assert.rejects(register(registry, common, [], { namespace: name }), {
        reason: "NAME_INVALID",
      });
    }
  });

  it("switch built-in services off and on, and guard changes with an etag", async () => {
    const { registry, reopen } = await openRegistry();
    const off = create(NamespaceSchema, {
      name: "default",
      disabledServices: ["collector.CollectionService"],
      etag: registry.getNamespace("default").etag,
    });
    const before = registry.snapshot("default");
    const updated = await registry.updateNamespace(off, ["disabled_services"], false);
    assert.notEqual(updated.etag, off.etag);
    for (const opened of [registry, await reopen()]) {
      assert.equal(
        opened.snapshot("default").method("collector.CollectionService", "Get"),
        undefined,
      );
      assert.ok(opened.snapshot("other").method("collector.CollectionService", "Get"));
    }
    assert.ok(registry.snapshot("default").revision > before.revision);
    await assert.rejects(registry.updateNamespace(off, [], false), { reason: "VERSION_MISMATCH" });
    await assert.rejects(registry.updateNamespace({ ...off, etag: "" }, ["nope"], false), {
      reason: "FIELD_UNKNOWN",
    });
    for (const name of ["collector.Nope", "collector.Namespaces"]) {
      await assert.rejects(
        registry.updateNamespace({ ...off, etag: "", disabledServices: [name] }, [], false),
        { reason: "ARGUMENT_INVALID" },
      );
    }
    const on = create(NamespaceSchema, { name: "default" });
    await registry.updateNamespace(on, ["disabled_services"], true);
    assert.equal(
      registry.snapshot("default").method("collector.CollectionService", "Get"),
      undefined,
    );
    await registry.updateNamespace(on, ["disabled_services"], false);
    assert.ok(registry.snapshot("default").method("collector.CollectionService", "Get"));
  });

  it("are deleted when they are empty, and not before", async () => {
    const { registry, collections, reopen } = await openRegistry();
    await register(registry, common, [], { namespace: "team" });
    await assert.rejects(registry.deleteNamespace("team", "", false), {
      reason: "NAMESPACE_NOT_EMPTY",
    });
    await registry.unregisterFile("team", common.name, false);
    collections.set("team", new Map([["things", "shop.Money"]]));
    await assert.rejects(registry.deleteNamespace("team", "", false), {
      reason: "NAMESPACE_NOT_EMPTY",
    });
    collections.clear();
    await assert.rejects(registry.deleteNamespace("team", "other", false), {
      reason: "VERSION_MISMATCH",
    });
    await registry.deleteNamespace("team", "", true);
    assert.equal(registry.getNamespace("team").name, "team");
    await registry.deleteNamespace("team", "", false);
    assert.throws(() => registry.getNamespace("team"), { reason: "NAMESPACE_NOT_FOUND" });
    const reopened = await reopen();
    assert.throws(() => reopened.getNamespace("team"), { reason: "NAMESPACE_NOT_FOUND" });
    await assert.rejects(registry.deleteNamespace("default", "", false), {
      reason: "ARGUMENT_INVALID",
    });
  });

  it("of the server are read-only", async () => {
    const { registry } = await openRegistry();
    const refused = { reason: "SYSTEM_READ_ONLY" };
    await assert.rejects(register(registry, common, [], { namespace: "system" }), refused);
    await assert.rejects(registry.unregisterFile("system", "a.proto", false), refused);
    await assert.rejects(registry.deleteNamespace("system", "", false), refused);
    await assert.rejects(
      registry.updateNamespace(create(NamespaceSchema, { name: "system" }), [], false),
      refused,
    );
    assert.ok(registry.snapshot("system").message("collector.RegisteredProto"));
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
