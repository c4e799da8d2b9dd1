import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { CollectionSchema, type Durability } from "../gen/collector/collection_pb.ts";
import {
  CreateRequestSchema,
  IndexInfo_State,
  ListRequestSchema,
} from "../gen/collector/collection_server_pb.ts";
import { locationOf } from "./definitions.ts";
import { define, fill, noFilter, remove, rename } from "./testing/catalog-calls.ts";
import { anyOfJson, CatalogFixture, product } from "./testing/fixture.ts";

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
      [
        { name: "c", indexedFields: ["attributes"] },
        "ARGUMENT_INVALID",
        "collection.indexed_fields[0]",
      ],
      [{ name: "c", indexedFields: ["size"] }, "ARGUMENT_INVALID", "collection.indexed_fields[0]"],
      [
        { name: "c", indexedFields: ["created.seconds"] },
        "FIELD_UNKNOWN",
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
    const layout = { durability: "full", text: undefined, vectors: [], indexes: [] } as const;
    const location = { storeId: "01900000-0000-7000-8000-000000000000", generation: 1n };
    await fixture.engine.create(location, layout);
    await fixture.restart();
    assert.equal(await fixture.engine.exists(location), false);
    assert.equal((await fixture.engine.list()).length, 3);
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
