import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { CollectorError } from "../errors.ts";
import type { Collection } from "../gen/collector/collection_pb.ts";
import {
  CreateRequestSchema,
  ListRequestSchema,
  SearchRequestSchema,
} from "../gen/collector/collection_server_pb.ts";
import { layoutOf, locationOf } from "./definitions.ts";
import { CatalogFixture, product } from "./testing/fixture.ts";

/** Puts an empty store in the place of a collection's. */
async function replaceData(
  fixture: CatalogFixture,
  name: string,
  outdated = false,
): Promise<Collection> {
  const replaces = fixture.catalog.find("default", name);
  assert.ok(replaces !== undefined);
  const generation = replaces.generation + 1n;
  const definition = { ...replaces, generation, etag: String(BigInt(replaces.etag) + 1n) };
  await fixture.engine.create(locationOf(definition), layoutOf(definition));
  return fixture.catalog.install(definition, { replaces, outdated });
}

describe("replacing the data of a collection", () => {
  it("lets readers and writers see old or new, never an error", async () => {
    await using fixture = await CatalogFixture.open();
    await fixture.collection("products");
    const ending = new AbortController();
    let calls = 0;
    const search = create(SearchRequestSchema, { where: 'title = "chair"' });
    const load = async (call: () => Promise<unknown>): Promise<void> => {
      while (!ending.signal.aborted) {
        await call();
        calls += 1;
        await setImmediate();
      }
    };
    const open = (): ReturnType<typeof fixture.catalog.open> =>
      fixture.catalog.open("default", "products");
    const loads = [
      load(async () =>
        open().create(create(CreateRequestSchema, { item: product({ title: "chair" }) })),
      ),
      load(async () => open().getMany(["a", "b"])),
      load(async () => open().list(create(ListRequestSchema, {}))),
      load(async () => open().search(search)),
    ];
    for (let round = 0; round < 20; round += 1) await replaceData(fixture, "products");
    ending.abort();
    await Promise.all(loads);
    assert.ok(calls > 20);
    assert.equal(fixture.catalog.find("default", "products")?.generation, 21n);
  });

  it("lets who held the old data finish on it, and drops what is left at the next start", async () => {
    await using fixture = await CatalogFixture.open();
    const held = await fixture.collection("products");
    await held.create(create(CreateRequestSchema, { id: "a", item: product({ title: "chair" }) }));
    await replaceData(fixture, "products");
    assert.equal((await held.get("a")).meta?.version, "1");
    await assert.rejects(fixture.catalog.open("default", "products").get("a"), {
      reason: "RECORD_NOT_FOUND",
    });
    await fixture.restart();
    const found = fixture.catalog.find("default", "products");
    assert.equal(found?.generation, 2n);
    const stores = (await fixture.engine.list()).filter(
      ({ storeId }) => storeId === found?.collectionId,
    );
    assert.deepEqual(
      stores.map(({ generation }) => generation),
      [2n],
    );
  });

  it("holds if what follows on it cannot begin, which the next start begins", async () => {
    await using fixture = await CatalogFixture.open();
    const full = new CollectorError("DISK_FULL", "there is no room on the disk");
    for (const type of ["shop.v1.Product", "google.protobuf.Struct"]) {
      const name = type.replaceAll(".", "-");
      await fixture.collection(name, type);
      const { operations, catalog } = fixture;
      operations.start = () => Promise.reject(full);
      const installed = await replaceData(fixture, name, true);
      assert.equal(installed.generation, 2n);
      assert.equal(catalog.find("default", name)?.generation, 2n);
      assert.equal((await catalog.store("default", name).stats()).recordCount, 0n);
      assert.equal(catalog.copySource("default", name).isDeriving, true);
      await fixture.restart();
      const [operation] = await fixture.catalog.alterations.followTypes();
      assert.ok(operation !== undefined);
      assert.equal(operation.subject, `default/${name}`);
      await fixture.operations.wait(operation.name, {});
      assert.equal(fixture.catalog.copySource("default", name).isDeriving, false);
      await fixture.restart();
      assert.deepEqual(await fixture.catalog.alterations.followTypes(), []);
    }
  });

  it("holds if work on the old data that has begun meanwhile cannot be cancelled", async () => {
    await using fixture = await CatalogFixture.open();
    await fixture.collection("products");
    const { alterations } = fixture.catalog;
    const cancelAll = alterations.cancelAll.bind(alterations);
    let calls = 0;
    alterations.cancelAll = async (entry) => {
      calls += 1;
      await cancelAll(entry);
      if (calls > 1) throw new CollectorError("DISK_FULL", "there is no room on the disk");
    };
    assert.equal((await replaceData(fixture, "products")).generation, 2n);
    assert.equal(calls, 2);
  });

  it("is refused if the collection was replaced or made meanwhile", async () => {
    await using fixture = await CatalogFixture.open();
    await fixture.collection("products");
    const earlier = fixture.catalog.find("default", "products");
    assert.ok(earlier !== undefined);
    await replaceData(fixture, "products");
    const next = { ...earlier, generation: 3n };
    await assert.rejects(fixture.catalog.install(next, { replaces: earlier, outdated: false }), {
      reason: "COLLECTION_REPLACED",
    });
    await assert.rejects(fixture.catalog.install(next, { replaces: undefined, outdated: false }), {
      reason: "COLLECTION_EXISTS",
    });
  });
});
