import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { create, type JsonObject } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { type TempFolder, tempFolder } from "../../test/support/temp-folder.ts";
import { type Collector, createCollector } from "../server.ts";
import { type Client, connect } from "./client.ts";
import type { JsonCollection, RecordChange } from "./collection.ts";

/** A type that no code is generated for; its second version has one field more. */
function shopFile(version: 1 | 2): FileDescriptorProto {
  const field = (name: string, number: number, type: number, jsonName: string, label = 1) => ({
    name,
    number,
    type,
    jsonName,
    label,
  });
  return create(FileDescriptorProtoSchema, {
    name: "shop.proto",
    package: "shop.v1",
    syntax: "proto3",
    messageType: [
      {
        name: "Product",
        field: [
          field("title", 1, 9, "title"),
          field("price_cents", 2, 3, "priceCents"),
          field("tags", 3, 9, "tags", 3),
          ...(version === 2 ? [field("colour", 4, 9, "colour")] : []),
        ],
      },
    ],
  });
}

describe("a collection without generated code", () => {
  let folder: TempFolder;
  let collector: Collector;
  let client: Client;
  let products: JsonCollection;

  before(async () => {
    folder = await tempFolder("json-collection");
    collector = await createCollector({ port: 0, data: folder.path, logLevel: "silent" });
    client = await connect({ url: collector.url, env: {} });
    await client.services.registry.registerProto({ fileDescriptor: shopFile(1) });
    await client.services.repo.createCollection({
      collection: { name: "products", messageType: { messageName: "shop.v1.Product" } },
    });
    products = client.collection("products");
  });

  after(async () => {
    await client[Symbol.asyncDispose]();
    await collector.close();
    await folder[Symbol.asyncDispose]();
  });

  const espresso: JsonObject = { title: "Espresso machine", priceCents: "24900", tags: ["coffee"] };

  it("creates, reads, patches, finds and deletes JSON", async () => {
    const { id, version } = await products.create(espresso, { id: "esp-1" });
    assert.deepEqual((await products.get(id)).item, espresso);
    await products.patch(id, { priceCents: "19900", tags: [] }, { ifVersion: version });
    assert.deepEqual((await products.get(id)).item, {
      title: "Espresso machine",
      priceCents: "19900",
    });
    await products.batch([
      { create: { title: "Grinder", price_cents: "12900" }, id: "grinder" },
      { patch: { tags: ["coffee"] }, id: "esp-1" },
    ]);
    const where = { priceCents: { lt: 15_000n } };
    const cheap = await Array.fromAsync(products.list({ where }));
    assert.deepEqual(
      cheap.map(({ id }) => id),
      ["grinder"],
    );
    const hits = await products.search("espresso", { where: { tags: { has: "coffee" } } });
    assert.deepEqual(
      hits.map(({ item }) => item["title"]),
      ["Espresso machine"],
    );
    await products.delete("grinder");
    assert.equal(await products.find("grinder"), undefined);
  });

  it("watches, by conditions on fields", async () => {
    const seen: RecordChange<JsonObject>[] = [];
    const begun = Promise.withResolvers<string>();
    const watching = (async () => {
      const where = { priceCents: { ge: 50_000n } };
      for await (const change of products.watch({ where, onBegin: begun.resolve })) {
        seen.push(change);
        break;
      }
    })();
    await begun.promise;
    await products.put("cheap", { title: "Cup", priceCents: "900" });
    await products.put("dear", { title: "Roaster", priceCents: "90000" });
    await watching;
    assert.deepEqual(
      seen.map(({ kind, id, record }) => [kind, id, record?.item]),
      [["created", "dear", { title: "Roaster", priceCents: "90000" }]],
    );
  });

  it("says which field the type lacks, before anything is written", async () => {
    const wrong = { title: "Kettle", colour: "red" };
    await assert.rejects(products.put("kettle", wrong), {
      reason: "JSON_INVALID",
      message: /colour/,
    });
    await assert.rejects(products.patch("esp-1", { colour: "red" }), /colour/);
    await assert.rejects(products.search("", { where: { colour: "red" } }), {
      reason: "FIELD_UNKNOWN",
    });
    assert.equal(await products.find("kettle"), undefined);
  });

  it("says that there is no such collection, and works when there is", async () => {
    const later = client.collection("later");
    await assert.rejects(later.put("a", espresso), { reason: "COLLECTION_NOT_FOUND" });
    await client.services.repo.createCollection({
      collection: { name: "later", messageType: { messageName: "shop.v1.Product" } },
    });
    await later.put("a", espresso);
    assert.deepEqual((await later.get("a")).item, espresso);
  });

  it("learns of a new version of the type when an item has what it does not know", async (t) => {
    const fresh = client.collection("products");
    await fresh.get("esp-1");
    await client.services.registry.registerProto({ fileDescriptor: shopFile(2) });
    await using other = await connect({ url: collector.url, env: {} });
    await other.collection("products").put("red", { title: "Cup", colour: "red" });
    // As if some seconds had gone by: the type is not asked for again at once.
    const nowMs = performance.now();
    t.mock.method(performance, "now", () => nowMs + 60_000);
    assert.deepEqual((await fresh.get("red")).item, { title: "Cup", colour: "red" });
    await products.put("blue", { title: "Cup", colour: "blue" });
    assert.deepEqual((await products.get("blue")).item, { title: "Cup", colour: "blue" });
  });
});
