import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { createCollector } from "../../src/server.ts";
import { decodeNote, noteItem, noteOf, noteTypeName } from "../support/notes.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";

const quiet = { port: 0, logLevel: "silent" } as const;

describe("A server that starts again on the same data", () => {
  it("finds types, services, collections, records and their versions", async () => {
    await using folder = await tempFolder("persistence");
    let version: string | undefined;
    let collectionId: string | undefined;
    {
      await using server = await createCollector({ ...quiet, data: folder.path });
      using client = new TestClient(server.url);
      await client.registerNotes();
      const collection = await client.createNotes("notes", { indexedFields: ["price_cents"] });
      collectionId = collection.collectionId;
      await client.records.create({ collectionName: "notes", id: "a", item: noteItem(1) });
      const updated = await client.records.update({
        collectionName: "notes",
        id: "a",
        item: noteItem(2),
        labels: { shelf: "top" },
      });
      version = updated.meta?.version;
    }
    await using server = await createCollector({ ...quiet, data: folder.path });
    using client = new TestClient(server.url);
    const got = await client.records.get({ collectionName: "notes", id: "a" });
    assert.equal(got.meta?.version, version);
    assert.deepEqual(got.meta?.labels, { shelf: "top" });
    assert.equal(decodeNote(got.item?.value ?? new Uint8Array()).title, noteOf(2).title);
    const { collections } = await client.repo.discover({});
    const mine = collections.filter((collection) => collection.namespace !== "system");
    assert.deepEqual(
      mine.map((c) => [c.name, c.collectionId, c.indexedFields, c.messageType?.messageName]),
      [["notes", collectionId, ["price_cents"], noteTypeName]],
    );
    const described = await client.records.describe({ collectionName: "notes" });
    assert.equal(described.recordCount, 1n);
  });

  it("keeps two namespaces apart in types, collections and records", async () => {
    await using folder = await tempFolder("namespaces");
    await using server = await createCollector({ ...quiet, data: folder.path });
    using client = new TestClient(server.url);
    for (const namespace of ["a", "b"]) {
      await client.registerNotes(namespace);
      await client.repo.createCollection({
        collection: { namespace, name: "same", messageType: { messageName: noteTypeName } },
      });
    }
    await client.records.create({
      namespace: "a",
      collectionName: "same",
      id: "x",
      item: noteItem(1),
    });
    await assert.rejects(
      client.records.get({ namespace: "b", collectionName: "same", id: "x" }),
      (error) => error instanceof ConnectError && error.code === Code.NotFound,
    );
    await client.admin.deleteCollection({ collection: { namespace: "b", name: "same" } });
    const kept = await client.records.get({ namespace: "a", collectionName: "same", id: "x" });
    assert.equal(kept.meta?.id, "x");
    await assert.rejects(
      client.types.listFiles({ namespace: "c" }),
      (error) => error instanceof ConnectError && error.code === Code.NotFound,
    );
  });

  it("shows its own state as read-only collections of namespace system", async () => {
    await using folder = await tempFolder("system");
    await using server = await createCollector({ ...quiet, data: folder.path });
    using client = new TestClient(server.url);
    await client.registerNotes();
    await client.createNotes("notes");
    const { collections } = await client.repo.discover({ namespace: "system" });
    const names = collections.map((collection) => collection.name);
    for (const name of ["protos", "services", "collections", "operations"]) {
      assert.ok(names.includes(name), `${name} is not among ${names.join(", ")}`);
    }
    const protos = await client.records.list({ namespace: "system", collectionName: "protos" });
    assert.ok(protos.items.some((item) => item.typeUrl.endsWith("/collector.RegisteredProto")));
    const found = await client.records.search({
      namespace: "system",
      collectionName: "collections",
      fullText: "notes",
    });
    assert.equal(found.results.length, 1);
    await assert.rejects(
      client.records.delete({
        namespace: "system",
        collectionName: "collections",
        id: found.results[0]?.meta?.id ?? "",
      }),
      (error) => error instanceof ConnectError && error.code === Code.PermissionDenied,
    );
  });
});
