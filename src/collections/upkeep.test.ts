import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { CollectorError } from "../errors.ts";
import {
  CreateRequestSchema,
  IndexInfo_State,
  SearchRequestSchema,
} from "../gen/collector/collection_server_pb.ts";
import { define, fill, modify, remove } from "./testing/catalog-calls.ts";
import { compileProtos } from "./testing/compile.ts";
import { CatalogFixture, product, shopProto, testTypes } from "./testing/fixture.ts";

describe("the upkeep of collections", () => {
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
    const [operation, ...others] = await fixture.catalog.alterations.followTypes("default");
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
    assert.deepEqual(await fixture.catalog.alterations.followTypes("default"), []);
  });

  it("begins later to derive anew what it could not begin", async () => {
    await using fixture = await CatalogFixture.open();
    await define(fixture, { name: "products" });
    await fill(fixture, 50);
    fixture.types.set("default", testTypes, 2n);
    const { alterations } = fixture.catalog;
    const full = new CollectorError("DISK_FULL", "there is no room on the disk");
    const start = fixture.operations.start.bind(fixture.operations);
    fixture.operations.start = () => Promise.reject(full);
    const both = [alterations.followTypes("default"), alterations.followTypes("default")];
    assert.deepEqual(
      (await Promise.allSettled(both)).map(({ status }) => status),
      ["rejected", "fulfilled"],
    );
    fixture.operations.start = start;
    const [operation] = await alterations.followTypes("default");
    assert.ok(operation !== undefined);
    await fixture.operations.wait(operation.name, {});
    assert.equal(fixture.catalog.get({ namespace: "default", name: "products" }).typeVersion, 2n);
  });

  it("derives anew after a restart what a stop has cut short, or nobody began", async () => {
    await using fixture = await CatalogFixture.open();
    await define(fixture, { name: "products" });
    await fill(fixture, 50);
    await fixture.restart();
    fixture.types.set("default", testTypes, 2n);
    await fixture.stop();
    await fixture.start();
    const [operation] = await fixture.catalog.alterations.followTypes();
    assert.ok(operation !== undefined);
    await fixture.operations.wait(operation.name, {});
    assert.equal(fixture.catalog.get({ namespace: "default", name: "products" }).typeVersion, 2n);
  });
});
