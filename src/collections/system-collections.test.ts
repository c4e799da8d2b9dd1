import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { type Collection, CollectionSchema } from "../gen/collector/collection_pb.ts";
import {
  CreateRequestSchema,
  DeleteRequestSchema,
  ListRequestSchema,
  SearchRequestSchema,
} from "../gen/collector/collection_server_pb.ts";
import { openSystemRecords } from "./system-collections.ts";
import { define, modify, remove, rename } from "./testing/catalog-calls.ts";
import { CatalogFixture } from "./testing/fixture.ts";

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
