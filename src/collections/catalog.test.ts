import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import {
  type Collection,
  CollectionSchema,
  type Durability,
} from "../gen/collector/collection_pb.ts";
import {
  CreateRequestSchema,
  DeleteRequestSchema,
  IndexInfo_State,
  ListRequestSchema,
  ModifyRequestSchema,
  SearchRequestSchema,
} from "../gen/collector/collection_server_pb.ts";
import type { ModifiedCollection } from "./catalog.ts";
import { locationOf } from "./definitions.ts";
import { openSystemRecords } from "./system-collections.ts";
import { compileProtos } from "./testing/compile.ts";
import { anyOfJson, CatalogFixture, product, shopProto, testTypes } from "./testing/fixture.ts";

const noFilter = { labelFilter: {}, pageSize: 0, pageToken: "" };

function define(
  fixture: CatalogFixture,
  init: MessageInitShape<typeof CollectionSchema>,
  validateOnly = false,
): Promise<Collection> {
  const type = { messageType: { messageName: "shop.v1.Product" } };
  const given = { namespace: "default", ...type, ...init } as typeof init;
  const collection = create(CollectionSchema, given);
  return fixture.catalog.create(collection, { validateOnly });
}

function modify(
  fixture: CatalogFixture,
  init: MessageInitShape<typeof ModifyRequestSchema>,
): Promise<ModifiedCollection> {
  const request = create(ModifyRequestSchema, {
    namespace: "default",
    collectionName: "products",
    ...init,
  });
  return fixture.catalog.modify(request, {});
}

function remove(fixture: CatalogFixture, name: string, more = {}): Promise<void> {
  return fixture.catalog.delete({
    collection: { $typeName: "collector.NamespacedName", namespace: "default", name },
    allowMissing: false,
    ifMatch: "",
    validateOnly: false,
    ...more,
  });
}

function rename(
  fixture: CatalogFixture,
  name: string,
  newName: string,
  more = {},
): Promise<Collection> {
  return fixture.catalog.rename({
    collection: { $typeName: "collector.NamespacedName", namespace: "default", name },
    newName,
    ifMatch: "",
    validateOnly: false,
    ...more,
  });
}

async function fill(fixture: CatalogFixture, count: number): Promise<void> {
  const records = fixture.catalog.open("default", "products");
  await Promise.all(
    Array.from({ length: count }, (_, index) =>
      records.create(
        create(CreateRequestSchema, { id: `r${index}`, item: product({ stock: index }) }),
      ),
    ),
  );
}

describe("CollectionCatalog", () => {
  it("makes a collection that a restart finds as it was, with its records", async () => {
    await using fixture = await CatalogFixture.open();
    const made = await define(fixture, {
      name: "products",
      indexedFields: ["priceCents", "size.width", "price_cents", "created"],
      metadata: { labels: { team: "kitchen" } },
    });
    assert.equal(made.messageType?.messageName, "shop.v1.Product");
    assert.equal(made.messageType?.namespace, "default");
    assert.deepEqual(made.indexedFields, ["price_cents", "size.width", "created"]);
    assert.equal(made.serverEndpoint, "http://127.0.0.1:50051");
    assert.equal(made.generation, 1n);
    assert.equal(made.typeVersion, 1n);
    await fill(fixture, 3);
    await fixture.restart();
    const reference = { namespace: "default", name: "products" };
    assert.deepEqual(fixture.catalog.get(reference), made);
    const described = await fixture.catalog.describe("default", "products");
    assert.equal(described.recordCount, 3n);
    assert.equal(described.revision, 3n);
    assert.deepEqual(
      new Map(described.indexes.map(({ field, state }) => [field, state])),
      new Map(
        ["created", "price_cents", "size.width"].map((path) => [path, IndexInfo_State.READY]),
      ),
    );
    const price = described.fields.find(({ path }) => path === "price_cents");
    assert.deepEqual(
      [price?.jsonPath, price?.type, price?.indexed, price?.fullText, price?.number],
      ["priceCents", "int64", true, false, 3],
    );
    assert.ok(described.fields.some(({ path }) => path === "size.unit"));
  });

  it("refuses what is no definition, naming the field", async () => {
    await using fixture = await CatalogFixture.open();
    const cases: [MessageInitShape<typeof CollectionSchema>, string, string][] = [
      [{ name: "" }, "ARGUMENT_MISSING", "collection.name"],
      [{ name: "a/b" }, "NAME_INVALID", "collection.name"],
      [{ name: "c", namespace: "../x" }, "NAME_INVALID", "collection.namespace"],
      [{ name: "c", messageType: {} }, "ARGUMENT_MISSING", "collection.message_type.message_name"],
      [
        { name: "c", messageType: { messageName: "shop.v1.Nope" } },
        "TYPE_NOT_REGISTERED",
        "collection.message_type.message_name",
      ],
      [
        { name: "c", messageType: { namespace: "other", messageName: "shop.v1.Product" } },
        "NAMESPACE_MISMATCH",
        "collection.message_type.namespace",
      ],
      [
        { name: "c", indexedFields: ["sku", "sq"] },
        "FIELD_UNKNOWN",
        "collection.indexed_fields[1]",
      ],
      [{ name: "c", indexedFields: ["tags"] }, "ARGUMENT_INVALID", "collection.indexed_fields[0]"],
      [{ name: "c", indexedFields: ["size"] }, "ARGUMENT_INVALID", "collection.indexed_fields[0]"],
      [
        { name: "c", indexedFields: ["created.seconds"] },
        "ARGUMENT_INVALID",
        "collection.indexed_fields[0]",
      ],
      [
        { name: "c", indexedFields: ["price_cents) --"] },
        "FIELD_UNKNOWN",
        "collection.indexed_fields[0]",
      ],
      [{ name: "c", durability: 9 as Durability }, "ARGUMENT_INVALID", "collection.durability"],
      [
        { name: "c", metadata: { labels: { "": "x" } } },
        "LABEL_INVALID",
        'collection.metadata.labels[""]',
      ],
    ];
    for (const [init, reason, field] of cases) {
      await assert.rejects(
        define(fixture, init),
        (error: { reason: string; violations: { field: string }[] }) => {
          assert.deepEqual([error.reason, error.violations[0]?.field], [reason, field]);
          return true;
        },
      );
    }
    await assert.rejects(fixture.catalog.create(undefined), { reason: "ARGUMENT_MISSING" });
    await assert.rejects(define(fixture, { name: "c", namespace: "system" }), {
      reason: "SYSTEM_READ_ONLY",
    });
    const { metadata: _, ...checked } = await define(fixture, { name: "c" }, true);
    assert.equal(checked.collectionId, "");
    assert.equal(
      fixture.catalog.discover({ namespace: "default", ...noFilter }).collections.length,
      0,
    );
  });

  it("takes names by the rules, and only those", async () => {
    await using fixture = await CatalogFixture.open();
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string({ unit: "binary" }), fc.string()), async (name) => {
        const isName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name);
        const made = await define(fixture, { name }, true).catch((error) => error);
        if (isName) assert.equal(made.name, name);
        else assert.ok(["NAME_INVALID", "ARGUMENT_MISSING"].includes(made.reason));
      }),
      { numRuns: 200 },
    );
  });

  it("keeps apart names that differ by case, and one name in two namespaces", async () => {
    await using fixture = await CatalogFixture.open();
    for (const [namespace, name] of [
      ["default", "c"],
      ["default", "C"],
      ["other", "c"],
    ] as const) {
      const records = await fixture.collection(name, "shop.v1.Product", { namespace });
      const id = `${namespace}-${name}`;
      await records.create(create(CreateRequestSchema, { id, item: product({}) }));
    }
    await fixture.restart();
    await remove(fixture, "c");
    assert.throws(() => fixture.catalog.open("default", "c"), { reason: "COLLECTION_NOT_FOUND" });
    for (const [namespace, name] of [
      ["default", "C"],
      ["other", "c"],
    ] as const) {
      const { metas } = await fixture.catalog.open(namespace, name).list(create(ListRequestSchema));
      assert.deepEqual(
        metas.map(({ id }) => id),
        [`${namespace}-${name}`],
      );
    }
  });

  it("lets one of several creates of a name win, and the others know", async () => {
    await using fixture = await CatalogFixture.open();
    const settled = await Promise.allSettled(
      Array.from({ length: 8 }, () => define(fixture, { name: "products" })),
    );
    assert.equal(settled.filter(({ status }) => status === "fulfilled").length, 1);
    for (const one of settled) {
      if (one.status === "rejected") assert.equal(one.reason.reason, "COLLECTION_EXISTS");
    }
    await fixture.restart();
    assert.equal((await fixture.engine.list()).length, 3);
  });

  it("lists collections of all namespaces in a stable order, by label and type, page by page", async () => {
    await using fixture = await CatalogFixture.open();
    const names = Array.from({ length: 23 }, (_, index) => `c${String(index).padStart(2, "0")}`);
    for (const [index, name] of names.toReversed().entries()) {
      await define(fixture, {
        name,
        metadata: { labels: { even: String(index % 2 === 0), constructor: "x" } },
        ...(index < 3 ? { messageType: { messageName: "shop.v1.Review" } } : {}),
      });
    }
    await define(fixture, { name: "c00", namespace: "other" });
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = fixture.catalog.discover({
        ...noFilter,
        namespace: "",
        pageSize: 10,
        pageToken,
      });
      seen.push(...page.collections.map(({ namespace, name }) => `${namespace}/${name}`));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    assert.deepEqual(seen, [
      ...names.map((name) => `default/${name}`),
      "other/c00",
      "system/collections",
      "system/operations",
    ]);
    const count = (filter: object): number =>
      fixture.catalog.discover({ ...noFilter, namespace: "default", ...filter }).collections.length;
    assert.equal(count({ labelFilter: { even: "true" } }), 12);
    assert.equal(count({ labelFilter: { even: "true", missing: "" } }), 0);
    assert.equal(count({ labelFilter: { toString: "" } }), 0);
    const messageTypeFilter = { $typeName: "collector.MessageTypeRef", namespace: "" } as const;
    assert.equal(
      count({ messageTypeFilter: { ...messageTypeFilter, messageName: "shop.v1.Review" } }),
      3,
    );
    assert.equal(count({ messageTypeFilter: { ...messageTypeFilter, messageName: "Review" } }), 3);
    assert.equal(count({ messageTypeFilter: { ...messageTypeFilter, messageName: "eview" } }), 0);
    const { nextPageToken } = fixture.catalog.discover({ ...noFilter, namespace: "", pageSize: 2 });
    assert.throws(
      () =>
        fixture.catalog.discover({ ...noFilter, namespace: "default", pageToken: nextPageToken }),
      { reason: "PAGE_TOKEN_INVALID" },
    );
  });

  it("deletes a collection with its data, and a new one of its name starts empty", async () => {
    await using fixture = await CatalogFixture.open();
    const made = await define(fixture, { name: "products" });
    await fill(fixture, 5);
    const held = fixture.catalog.open("default", "products");
    await assert.rejects(remove(fixture, "products", { ifMatch: "7" }), {
      reason: "VERSION_MISMATCH",
    });
    await remove(fixture, "products", { validateOnly: true });
    await remove(fixture, "products", { ifMatch: made.etag });
    await assert.rejects(held.get("r1"), { reason: "COLLECTION_NOT_FOUND" });
    assert.equal(await fixture.engine.exists(locationOf(made)), false);
    await assert.rejects(remove(fixture, "products"), { reason: "COLLECTION_NOT_FOUND" });
    await remove(fixture, "products", { allowMissing: true });
    const again = await define(fixture, { name: "products" });
    assert.notEqual(again.collectionId, made.collectionId);
    assert.equal((await fixture.catalog.describe("default", "products")).recordCount, 0n);
    await fixture.restart();
    assert.equal((await fixture.catalog.describe("default", "products")).recordCount, 0n);
  });

  it("renames in one step: records, tokens and id stay, the old name is free", async () => {
    await using fixture = await CatalogFixture.open();
    const made = await define(fixture, { name: "products" });
    await define(fixture, { name: "taken" });
    await fill(fixture, 3);
    const held = fixture.catalog.open("default", "products");
    const { nextPageToken } = await held.list(create(ListRequestSchema, { pageSize: 2 }));
    await assert.rejects(rename(fixture, "products", "taken"), { reason: "COLLECTION_EXISTS" });
    await assert.rejects(rename(fixture, "products", "-"), { reason: "NAME_INVALID" });
    await assert.rejects(rename(fixture, "nope", "x"), { reason: "COLLECTION_NOT_FOUND" });
    const renamed = await rename(fixture, "products", "Products", { ifMatch: made.etag });
    assert.equal(renamed.collectionId, made.collectionId);
    assert.notEqual(renamed.etag, made.etag);
    assert.equal(held.definition.name, "Products");
    await define(fixture, { name: "products" });
    await fixture.restart();
    const records = fixture.catalog.open("default", "Products");
    const page = await records.list(create(ListRequestSchema, { pageToken: nextPageToken }));
    assert.equal(page.items.length, 1);
    assert.equal((await fixture.catalog.describe("default", "products")).recordCount, 0n);
  });

  it("drops at its start a store that no definition names, and no other", async () => {
    await using fixture = await CatalogFixture.open();
    await define(fixture, { name: "products" });
    const layout = { durability: "full", textFields: ["text"], indexes: [] } as const;
    const location = { storeId: "01900000-0000-7000-8000-000000000000", generation: 1n };
    await fixture.engine.create(location, layout);
    await fixture.restart();
    assert.equal(await fixture.engine.exists(location), false);
    assert.equal((await fixture.engine.list()).length, 3);
  });

  it("builds and drops indexes by operations that can be waited for", async () => {
    await using fixture = await CatalogFixture.open();
    const made = await define(fixture, { name: "products", indexedFields: ["sku"] });
    await fill(fixture, 500);
    const modified = await modify(fixture, { indexedFields: ["stock", "price_cents"] });
    assert.equal(modified.operation?.done, true);
    assert.equal(modified.operation?.result.case, "response");
    assert.equal(modified.operation?.kind, "index-build");
    assert.equal(modified.operation?.subject, "default/products");
    assert.deepEqual(modified.collection.indexedFields, ["stock", "price_cents"]);
    assert.notEqual(modified.collection.etag, made.etag);
    const { indexes } = await fixture.catalog.describe("default", "products");
    assert.deepEqual(
      new Map(indexes.map(({ field, state }) => [field, state])),
      new Map(["stock", "price_cents"].map((path) => [path, IndexInfo_State.READY])),
    );
    const same = await modify(fixture, { indexedFields: ["price_cents", "stock"] });
    assert.equal(same.operation, undefined);
    const later = await modify(fixture, { indexedFields: [], returnImmediately: true });
    assert.ok(later.operation !== undefined);
    await fixture.operations.wait(later.operation.name, {});
    assert.deepEqual((await fixture.catalog.describe("default", "products")).indexes, []);
    await fixture.restart();
    assert.equal(fixture.operations.get(later.operation.name).done, true);
  });

  it("changes labels alone, under the etag that the caller has seen", async () => {
    await using fixture = await CatalogFixture.open();
    const { etag } = await define(fixture, { name: "products", indexedFields: ["sku"] });
    const labels = { a: "1" };
    const { collection, operation } = await modify(fixture, {
      labels,
      updateMask: ["labels"],
      ifMatch: etag,
    });
    assert.equal(operation, undefined);
    assert.deepEqual(collection.metadata?.labels, labels);
    assert.deepEqual(collection.indexedFields, ["sku"]);
    const stale = modify(fixture, { labels: {}, updateMask: ["labels"], ifMatch: etag });
    await assert.rejects(stale, { reason: "VERSION_MISMATCH" });
    await assert.rejects(modify(fixture, { updateMask: ["name"] }), { reason: "FIELD_UNKNOWN" });
    await assert.rejects(modify(fixture, { indexedFields: ["nope"] }), { reason: "FIELD_UNKNOWN" });
    await modify(fixture, { indexedFields: ["stock"], validateOnly: true });
    assert.deepEqual(
      fixture.catalog.get({ namespace: "default", name: "products" }).indexedFields,
      ["sku"],
    );
  });

  it("finishes an index build that a stop has cut", async () => {
    await using fixture = await CatalogFixture.open();
    await define(fixture, { name: "products" });
    await fill(fixture, 3000);
    const { operation } = await modify(fixture, {
      indexedFields: ["stock"],
      returnImmediately: true,
    });
    await fixture.restart();
    assert.ok(operation !== undefined);
    const ended = await fixture.operations.wait(operation.name, {});
    assert.deepEqual([ended.done, ended.result.case], [true, "response"]);
    const { indexes } = await fixture.catalog.describe("default", "products");
    assert.deepEqual(
      indexes.map(({ state }) => state),
      [IndexInfo_State.READY],
    );
  });

  it("takes back from the definition what a cancelled index build had not finished", async () => {
    await using fixture = await CatalogFixture.open();
    await define(fixture, { name: "products" });
    await fill(fixture, 2000);
    const request = { indexedFields: ["stock", "sku"], returnImmediately: true };
    const { operation } = await modify(fixture, request);
    assert.ok(operation !== undefined);
    await assert.rejects(modify(fixture, { indexedFields: ["title"] }), {
      reason: "OPERATION_RUNNING",
    });
    const joined = await modify(fixture, request);
    assert.equal(joined.operation?.name, operation.name);
    await fixture.operations.cancel(operation.name);
    const ended = await fixture.operations.wait(operation.name, {});
    const { indexedFields } = fixture.catalog.get({ namespace: "default", name: "products" });
    const { indexes } = await fixture.catalog.describe("default", "products");
    assert.deepEqual(indexes.map(({ field }) => field).sort(), [...indexedFields].sort());
    if (ended.result.case === "error") assert.equal(ended.result.value.message, "CANCELLED");
  });

  it("deletes a collection while its indexes are being built", async () => {
    await using fixture = await CatalogFixture.open();
    await define(fixture, { name: "products" });
    await fill(fixture, 2000);
    const { operation } = await modify(fixture, {
      indexedFields: ["stock"],
      returnImmediately: true,
    });
    await remove(fixture, "products");
    assert.ok(operation !== undefined);
    assert.equal((await fixture.operations.wait(operation.name, {})).done, true);
    assert.equal((await fixture.engine.list()).length, 2);
  });

  it("follows a new version of its type: new writes at once, old records behind", async () => {
    await using fixture = await CatalogFixture.open();
    await define(fixture, { name: "products" });
    await fill(fixture, 450);
    const records = fixture.catalog.open("default", "products");
    await records.create(
      create(CreateRequestSchema, { id: "with", item: product({ title: "espresso" }) }),
    );
    // The new version knows field 9, which an older writer's records hold as an unknown field.
    const newer = compileProtos({
      "shop.proto": shopProto.replace("int32 stock = 8;", "int32 stock = 8; string maker = 9;"),
    });
    const data = Buffer.concat([
      product({ sku: "u" }).value,
      Buffer.from([0x4a, 4, 0x61, 0x63, 0x6d, 0x65]),
    ]);
    await records.create(
      create(CreateRequestSchema, { id: "unknown", item: { ...product({}), value: data } }),
    );
    const find = async (fullText: string): Promise<(string | undefined)[]> => {
      const { results } = await records.search(create(SearchRequestSchema, { fullText }));
      return results.map(({ meta }) => meta?.id);
    };
    assert.deepEqual(await find("acme"), []);
    const { revision } = await records.stats();
    fixture.types.set("default", newer, 2n);
    const [operation, ...others] = await fixture.catalog.followTypes("default");
    assert.deepEqual(others, []);
    assert.ok(operation !== undefined);
    assert.equal(operation.kind, "type-upgrade");
    const ended = await fixture.operations.wait(operation.name, {});
    assert.equal(ended.result.case, "response");
    assert.equal(ended.progressDone, 452n);
    assert.deepEqual(await find("acme"), ["unknown"]);
    assert.deepEqual(await find("espresso"), ["with"]);
    assert.equal(fixture.catalog.get({ namespace: "default", name: "products" }).typeVersion, 2n);
    assert.equal((await records.stats()).revision, revision, "records were not changed");
    assert.deepEqual(await fixture.catalog.followTypes("default"), []);
  });

  it("derives anew after a restart what a stop has cut short, or nobody began", async () => {
    await using fixture = await CatalogFixture.open();
    await define(fixture, { name: "products" });
    await fill(fixture, 50);
    await fixture.restart();
    fixture.types.set("default", testTypes, 2n);
    await fixture.stop();
    await fixture.start();
    const [operation] = await fixture.catalog.followTypes();
    assert.ok(operation !== undefined);
    await fixture.operations.wait(operation.name, {});
    assert.equal(fixture.catalog.get({ namespace: "default", name: "products" }).typeVersion, 2n);
  });

  it("tells the registry which collections use a type", async () => {
    await using fixture = await CatalogFixture.open();
    const creating = define(fixture, { name: "products" });
    const types = new Set(["shop.v1.Product"]);
    assert.equal(fixture.catalog.collectionsUsing("default", types).length, 1);
    await creating;
    assert.deepEqual(fixture.catalog.collectionsUsing("default", types), ["products"]);
    assert.deepEqual(fixture.catalog.collectionsUsing("other", types), []);
    assert.equal(fixture.catalog.hasCollections("default"), true);
    await remove(fixture, "products");
    assert.equal(fixture.catalog.hasCollections("default"), false);
  });

  it("stores any JSON object in a collection of Struct, with indexes on its keys", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("free", "google.protobuf.Struct", {
      indexedFields: ["price.cents"],
    });
    const json = { price: { cents: 5 }, tags: ["a", null], __proto__x: true };
    const item = anyOfJson("google.protobuf.Struct", json);
    await records.create(create(CreateRequestSchema, { id: "a", item }));
    assert.deepEqual(Buffer.from((await records.get("a")).item.value), Buffer.from(item.value));
    const { indexes } = await fixture.catalog.describe("default", "free");
    assert.deepEqual(
      indexes.map(({ field }) => field),
      ["price.cents"],
    );
  });
});

describe("the collections of namespace system", () => {
  it("hold the definitions as records that callers can read and search, but not write", async () => {
    await using fixture = await CatalogFixture.open();
    const made = await define(fixture, {
      name: "products",
      metadata: { labels: { k: "espresso" } },
    });
    const records = fixture.catalog.open("system", "collections");
    const { item } = await records.get(made.collectionId);
    assert.equal(item.typeUrl, "type.googleapis.com/collector.Collection");
    const { results } = await records.search(create(SearchRequestSchema, { fullText: "espresso" }));
    assert.equal(results.length, 1);
    const { items } = await records.list(create(ListRequestSchema));
    assert.equal(items.length, 1);
    await assert.rejects(records.create(create(CreateRequestSchema, { item })), {
      reason: "SYSTEM_READ_ONLY",
    });
    await assert.rejects(records.delete(create(DeleteRequestSchema, { id: made.collectionId })), {
      reason: "SYSTEM_READ_ONLY",
    });
    const reference = {
      $typeName: "collector.NamespacedName",
      namespace: "system",
      name: "collections",
    } as const;
    await assert.rejects(remove(fixture, "x", { collection: reference }), {
      reason: "SYSTEM_READ_ONLY",
    });
    await assert.rejects(rename(fixture, "x", "y", { collection: reference }), {
      reason: "SYSTEM_READ_ONLY",
    });
    await assert.rejects(modify(fixture, { namespace: "system", collectionName: "collections" }), {
      reason: "SYSTEM_READ_ONLY",
    });
    assert.equal((await fixture.catalog.describe("system", "collections")).recordCount, 1n);
  });

  it("give their owner what it wrote, all or nothing, also after a restart", async () => {
    await using fixture = await CatalogFixture.open();
    const open = () => openSystemRecords(fixture.engine, CollectionSchema, "test", fixture.limits);
    const value = (name: string): Collection => create(CollectionSchema, { name });
    const records = await open();
    await records.write([
      { kind: "put", id: "a", value: value("one") },
      { kind: "put", id: "b", value: value("two") },
      { kind: "put", id: "a", value: value("three") },
      { kind: "delete", id: "none" },
    ]);
    await records.write([]);
    await fixture.restart();
    const again = await open();
    assert.equal((await again.get("a"))?.name, "three");
    assert.equal(await again.get("none"), undefined);
    const all = await Array.fromAsync(again.all(), ({ id, value: { name } }) => [id, name]);
    assert.deepEqual(all, [
      ["a", "three"],
      ["b", "two"],
    ]);
  });
});
