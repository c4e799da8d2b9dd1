import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import type { CopySource } from "../collections/catalog.ts";
import { layoutOf } from "../collections/definitions.ts";
import { product } from "../collections/testing/fixture.ts";
import { type Collection, CollectionSchema } from "../gen/collector/collection_pb.ts";
import { Compression } from "../gen/collector/collection_repo_pb.ts";
import { CreateRequestSchema } from "../gen/collector/collection_server_pb.ts";
import { copiedDefinition } from "./copied-definition.ts";
import { calmRun, InstallerFixture } from "./testing/installer-fixture.ts";

const id = { collectionId: "c1", generation: 1n };
const old = create(CollectionSchema, { ...id, indexedFields: ["stock"] });
const renewed = create(CollectionSchema, {
  ...id,
  textSearch: { fields: [{ path: "title", weight: 1 }] },
});

function source(current: Collection, more: Partial<CopySource> = {}): CopySource {
  return { definition: current, altering: undefined, isDeriving: false, changes: 0, ...more };
}

describe("the definition of a copy", () => {
  it("is that of before, of after, or what was being made of it: the one that fits the data", () => {
    const [ofOld, ofRenewed] = [layoutOf(old), layoutOf(renewed)];
    const find = (...args: Parameters<typeof copiedDefinition>): Collection | undefined =>
      copiedDefinition(...args)?.definition;
    assert.equal(find(source(old), source(old), ofOld), old);
    assert.equal(find(source(old), source(renewed), ofOld), old);
    assert.equal(find(source(old), source(renewed), ofRenewed), renewed);
    assert.equal(find(source(old, { altering: renewed }), source(old), ofRenewed), renewed);
    assert.equal(find(source(old), undefined, ofOld), old);
    assert.equal(find(source(old), source(old), ofRenewed), undefined);
    const replaced = { ...renewed, generation: 2n };
    assert.equal(find(source(old), source(replaced), ofRenewed), undefined);
  });

  it("says what of its indexes is not there, and what has to be derived anew", () => {
    const layout = { ...layoutOf(old), indexes: [{ path: "title" }] };
    const calm = copiedDefinition(source(old), source(old), layoutOf(old));
    assert.deepEqual([calm?.indexes, calm?.deriveAnew], [undefined, false]);
    const busy = copiedDefinition(source(old), source(old, { isDeriving: true }), layout);
    assert.deepEqual([busy?.indexes, busy?.deriveAnew], [["title"], true]);
    const quick = copiedDefinition(source(old), source(old, { changes: 1 }), layout);
    assert.equal(quick?.deriveAnew, true);
  });
});

describe("a copy whose indexes were being changed", () => {
  it("has them as the definition says once it is installed, from an archive or as a clone", async () => {
    await using fixture = await InstallerFixture.open();
    const { catalog, installer } = fixture;
    await catalog.create(
      create(CollectionSchema, {
        namespace: "default",
        name: "source",
        messageType: { messageName: "shop.v1.Product" },
        indexedFields: ["stock"],
      }),
    );
    const item = product({ title: "chair", stock: 3 });
    await catalog.open("default", "source").create(create(CreateRequestSchema, { id: "r1", item }));
    // As in the middle of a change: one index is not there yet, another one is still there.
    const store = catalog.store("default", "source");
    await store.dropIndex("stock");
    await store.addIndex({ path: "title" });
    const path = join(fixture.folder, "archive");
    const { manifest } = await fixture.archiver().write(
      {
        namespace: "default",
        name: "source",
        includeFiles: true,
        path,
        compression: Compression.ZSTD,
        recipients: [],
      },
      calmRun,
    );
    assert.deepEqual(manifest.indexes?.fields, ["title"]);
    assert.deepEqual(manifest.collection?.indexedFields, ["stock"]);
    assert.deepEqual(await installer.verify([path], calmRun), []);
    const place = { namespace: "default", mode: "create" as const };
    const origin = { backupId: "b1", collectorId: "c1", collectionId: "id1" };
    await installer.install({ ...place, name: "restored", chain: [path], origin }, calmRun);
    const from = { namespace: "default", name: "source" };
    await installer.clone({ ...place, name: "cloned", source: from, includeFiles: true }, calmRun);
    for (const name of ["restored", "cloned"]) {
      const { indexes } = await catalog.store("default", name).stats();
      assert.deepEqual(indexes, [{ path: "stock", state: "ready" }], name);
    }
  });

  it("is refused if what is searched fits no definition, again and again", async () => {
    await using fixture = await InstallerFixture.open();
    const { catalog, installer } = fixture;
    const messageType = { messageName: "shop.v1.Product" };
    await catalog.create(
      create(CollectionSchema, { namespace: "default", name: "source", messageType }),
    );
    const store = catalog.store("default", "source");
    await store.reshape({
      text: { tokenizer: "english", fields: [{ name: "", weight: 1 }] },
      vectors: [],
    });
    await store.completeShape();
    const before = await fixture.traces();
    const clone = installer.clone(
      {
        source: { namespace: "default", name: "source" },
        namespace: "default",
        name: "cloned",
        includeFiles: true,
        mode: "create",
      },
      calmRun,
    );
    await assert.rejects(clone, { reason: "COLLECTION_REPLACED" });
    assert.deepEqual(await fixture.traces(), before);
  });
});
