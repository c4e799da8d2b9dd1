import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { ReindexCollectionResponseSchema } from "../gen/collector/collection_admin_pb.ts";
import {
  CreateRequestSchema,
  ListRequestSchema,
  SearchRequestSchema,
  UpdateRequestSchema,
} from "../gen/collector/collection_server_pb.ts";
import type { Operation } from "../gen/collector/operations_pb.ts";
import { define, modify } from "./testing/catalog-calls.ts";
import { CatalogFixture, product } from "./testing/fixture.ts";

const reference = { namespace: "default", name: "products" };
const collection = { $typeName: "collector.NamespacedName", ...reference } as const;

function reindex(fixture: CatalogFixture, returnImmediately = false): Promise<Operation> {
  return fixture.catalog.alterations.reindex({ collection, returnImmediately }, {});
}

async function put(fixture: CatalogFixture, id: string, title: string, cents = 5): Promise<void> {
  const item = product({ title, priceCents: String(cents) });
  await fixture.catalog
    .open("default", "products")
    .create(create(CreateRequestSchema, { id, item }));
}

async function find(fixture: CatalogFixture, fullText: string): Promise<string[]> {
  const request = create(SearchRequestSchema, { fullText, limit: 1000 });
  const { results } = await fixture.catalog.open("default", "products").search(request);
  return results.map(({ meta }) => meta?.id ?? "").sort();
}

/** Ids of the records at a price, by the index. */
async function priced(fixture: CatalogFixture, cents: number): Promise<string[]> {
  const request = create(ListRequestSchema, { where: `price_cents = ${cents}`, explain: true });
  const { metas, plan } = await fixture.catalog.open("default", "products").list(request);
  assert.deepEqual(plan?.indexes, ["price_cents"]);
  return metas.map(({ id }) => id).sort();
}

/** Changes the file of the collection behind the server's back. */
async function damage(fixture: CatalogFixture, sql: string): Promise<void> {
  const { definition } = fixture.catalog.copySource("default", "products");
  const { collectionId, generation } = definition;
  await fixture.stop();
  const path = join(fixture.folder, "stores", collectionId, String(generation), "data.sqlite");
  // The tables behind an index of text are protected otherwise.
  const db = new DatabaseSync(path, { defensive: false });
  db.exec(sql);
  db.close();
  await fixture.start();
}

function reasonOf({ result }: Operation): string | undefined {
  return result.case === "error" ? result.value.message : result.case;
}

describe("reindexing a collection", () => {
  it("mends indexes that have lost entries or have wrong ones", async () => {
    await using fixture = await CatalogFixture.open();
    await define(fixture, { name: "products", indexedFields: ["price_cents"] });
    for (let index = 0; index < 50; index += 1) await put(fixture, `r${index}`, "tea", index);
    await damage(
      fixture,
      `DELETE FROM index_1 WHERE value = 7;
       INSERT INTO index_1 (value, seq) VALUES (9, (SELECT seq FROM record WHERE id = 'r3'));
       DELETE FROM text_1 WHERE rowid = (SELECT seq FROM record WHERE id = 'r7');
       INSERT INTO text_1 (rowid, t0) VALUES (99999, 'coffee');
       UPDATE record SET document = jsonb('{"title":"lost"}') WHERE id = 'r8';`,
    );
    assert.deepEqual(await priced(fixture, 7), []);
    assert.equal((await find(fixture, "tea")).length, 49);
    const operation = await reindex(fixture);
    assert.equal(reasonOf(operation), "response");
    assert.deepEqual([operation.kind, operation.subject], ["reindex", "default/products"]);
    const { result } = operation;
    const response =
      result.case === "response"
        ? anyUnpack(result.value, ReindexCollectionResponseSchema)
        : undefined;
    assert.deepEqual([response?.recordCount, response?.skippedCount], [50n, 0n]);
    assert.equal(response?.collection?.name, "products");
    assert.deepEqual(await priced(fixture, 7), ["r7"]);
    assert.deepEqual(await priced(fixture, 9), ["r9"]);
    assert.deepEqual(await priced(fixture, 8), ["r8"]);
    assert.equal((await find(fixture, "tea")).length, 50);
    assert.deepEqual(await find(fixture, "coffee"), []);
  });

  it("mends a text index that is too damaged to be written to", async () => {
    await using fixture = await CatalogFixture.open();
    await define(fixture, { name: "products" });
    for (let index = 0; index < 300; index += 1) await put(fixture, `r${index}`, "tea");
    await damage(fixture, "UPDATE text_1_data SET block = x'ffffffffff'");
    await assert.rejects(find(fixture, "tea"), { reason: "STORAGE_CORRUPT" });
    assert.equal(reasonOf(await reindex(fixture)), "response");
    assert.equal((await find(fixture, "tea")).length, 300);
    await put(fixture, "after", "tea");
    assert.equal((await find(fixture, "tea")).length, 301);
  });

  it("serves reads and writes meanwhile, and loses none of them", async () => {
    await using fixture = await CatalogFixture.open();
    await define(fixture, { name: "products", indexedFields: ["price_cents"] });
    for (let index = 0; index < 400; index += 1) await put(fixture, `r${index}`, "old", 1);
    const records = fixture.catalog.open("default", "products");
    const { name } = await reindex(fixture, true);
    assert.equal((await reindex(fixture, true)).name, name, "a second one joins the first");
    let written = 0;
    while (written < 400 && !fixture.operations.get(name).done) {
      const item = product({ title: "fresh", priceCents: "2" });
      await records.update(create(UpdateRequestSchema, { id: `r${written}`, item }));
      written += 1;
      if (written % 40 !== 0) continue;
      assert.equal((await find(fixture, "fresh")).length, written);
      assert.equal((await priced(fixture, 2)).length, Math.min(written, 100));
    }
    assert.ok(written > 0);
    assert.equal(reasonOf(await fixture.operations.wait(name, {})), "response");
    assert.equal((await find(fixture, "fresh")).length, written);
    assert.equal((await find(fixture, "old")).length, 400 - written);
  });

  it("leaves what serves in force when it is cancelled, and starts over after a restart", async () => {
    for (const end of ["cancel", "cancel and restart", "restart"]) {
      await using fixture = await CatalogFixture.open();
      await define(fixture, { name: "products", indexedFields: ["price_cents"] });
      for (let index = 0; index < 400; index += 1) await put(fixture, `r${index}`, "tea", 1);
      const { name } = await reindex(fixture, true);
      await assert.rejects(modify(fixture, { indexedFields: ["title"] }), {
        reason: "OPERATION_RUNNING",
      });
      if (end.startsWith("cancel")) await fixture.operations.cancel(name);
      if (end.endsWith("restart")) await fixture.restart();
      const ended = await fixture.operations.wait(name, {});
      assert.equal(reasonOf(ended), end === "restart" ? "response" : "CANCELLED", end);
      await put(fixture, "after", "tea", 3);
      assert.equal((await find(fixture, "tea")).length, 401);
      assert.deepEqual(await priced(fixture, 3), ["after"]);
      const stats = await fixture.catalog.store("default", "products").stats();
      assert.deepEqual(stats.indexes, [{ path: "price_cents", state: "ready" }]);
      assert.deepEqual(
        stats.shape.texts.map(({ state }) => state),
        ["ready"],
      );
    }
  });

  it("refuses what is not there, what is the server's, and what is being changed", async () => {
    await using fixture = await CatalogFixture.open();
    await assert.rejects(reindex(fixture), { reason: "COLLECTION_NOT_FOUND" });
    const system = { ...collection, namespace: "system", name: "operations" };
    const request = { collection: system, returnImmediately: false };
    await assert.rejects(fixture.catalog.alterations.reindex(request, {}), {
      reason: "SYSTEM_READ_ONLY",
    });
    const nothing = { collection: undefined, returnImmediately: false };
    await assert.rejects(fixture.catalog.alterations.reindex(nothing, {}), {
      reason: "ARGUMENT_MISSING",
    });
    await define(fixture, { name: "products" });
    for (let index = 0; index < 200; index += 1) await put(fixture, `r${index}`, "tea");
    await modify(fixture, { indexedFields: ["title", "price_cents"], returnImmediately: true });
    await assert.rejects(reindex(fixture), { reason: "OPERATION_RUNNING" });
  });
});
