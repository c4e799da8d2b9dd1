import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import { decodeNote, encodeNote, noteItem, noteOf, noteTypeName } from "../support/notes.ts";
import { type Refusal, refusalOf } from "../support/refusal.ts";
import { ServerProcess } from "../support/server-process.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";

const collectionName = "notes";
const typeUrl = `type.googleapis.com/${noteTypeName}`;

describe("bad input to a running server", () => {
  let folder: TempFolder;
  let server: ServerProcess;
  let client: TestClient;

  before(async () => {
    folder = await tempFolder("abuse");
    server = await ServerProcess.start({ dataFolder: folder.path });
    client = new TestClient(server.url);
    await client.registerNotes();
    await client.createNotes(collectionName);
    for (const id of ["1", "2", "3"]) {
      await client.records.create({ collectionName, id, item: noteItem(Number(id)) });
    }
  });

  after(async () => {
    client[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  /** Asserts that a call is refused for this field, and that the next honest one is served. */
  async function refused(
    call: Promise<unknown>,
    expected: { readonly code: string; readonly field?: string; readonly reason?: string },
  ): Promise<Refusal> {
    const refusal = await refusalOf(call);
    assert.equal(refusal.code, expected.code, refusal.message);
    if (expected.reason !== undefined) assert.equal(refusal.reason, expected.reason);
    if (expected.field !== undefined) {
      assert.ok(
        refusal.fields.includes(expected.field),
        `${expected.field} is not named: ${refusal.fields.join(", ")}; ${refusal.message}`,
      );
    }
    await client.records.get({ collectionName, id: "1" });
    return refusal;
  }

  const invalid = "InvalidArgument";

  it("refuses a create or update without an item", async () => {
    const { records } = client;
    await refused(records.create({ collectionName }), { code: invalid, field: "item" });
    await refused(records.update({ collectionName, id: "1" }), { code: invalid, field: "item" });
  });

  it("refuses an item of another type and says which was expected", async () => {
    const item = create(AnySchema, { typeUrl: "type.googleapis.com/notes.v1.Author" });
    const refusal = await refused(client.records.create({ collectionName, item }), {
      code: invalid,
      reason: "ITEM_TYPE_MISMATCH",
    });
    assert.match(refusal.message, /notes\.v1\.Note/);
  });

  it("refuses an item of a type that nobody registered", async () => {
    const item = create(AnySchema, { typeUrl: "type.googleapis.com/nowhere.v1.Thing" });
    const refusal = await refused(client.records.create({ collectionName, item }), {
      code: invalid,
    });
    assert.match(refusal.message, /notes\.v1\.Note/);
  });

  it("refuses an item whose bytes do not parse", async () => {
    for (const value of [
      Uint8Array.of(0x0a, 0x7f, 1),
      Uint8Array.of(0xff),
      Uint8Array.of(0x0a, 1, 0xff),
    ]) {
      const item = create(AnySchema, { typeUrl, value });
      const call = client.records.create({ collectionName, item });
      await refused(call, { code: invalid, reason: "ITEM_UNPARSABLE" });
    }
  });

  it("refuses a negative page size wherever there is one", async () => {
    const expected = { code: invalid, field: "page_size", reason: "PAGE_SIZE_INVALID" };
    const { records, repo, registry, types, namespaces, operations } = client;
    await refused(records.list({ collectionName, pageSize: -1 }), expected);
    await refused(repo.discover({ pageSize: -1 }), expected);
    await refused(registry.listServices({ pageSize: -1 }), expected);
    await refused(types.listFiles({ pageSize: -1 }), expected);
    await refused(types.listTypes({ pageSize: -1 }), expected);
    await refused(namespaces.listNamespaces({ pageSize: -1 }), expected);
    await refused(operations.listOperations({ pageSize: -1 }), expected);
  });

  it("refuses a page token that is made up or of another query", async () => {
    const { records, repo, types } = client;
    await client.createNotes("other");
    const page = await records.list({ collectionName, pageSize: 1 });
    assert.notEqual(page.nextPageToken, "");
    const expected = { code: invalid, field: "page_token", reason: "PAGE_TOKEN_INVALID" };
    const pageToken = page.nextPageToken;
    await refused(records.list({ collectionName: "other", pageToken }), expected);
    await refused(repo.discover({ pageToken }), expected);
    await refused(types.listTypes({ pageToken }), expected);
    for (const madeUp of ["x", "AAAA", "a\0b", pageToken.slice(0, -2), `${pageToken}A`]) {
      await refused(records.list({ collectionName, pageToken: madeUp }), expected);
    }
  });

  it("refuses ids that are empty, too long, or hold NUL", async () => {
    const { records } = client;
    const expected = { code: invalid, field: "id", reason: "ID_INVALID" };
    for (const id of ["a\0b", "x".repeat(257), "é".repeat(129)]) {
      await refused(records.create({ collectionName, id, item: noteItem(9) }), expected);
      await refused(records.get({ collectionName, id }), expected);
      await refused(records.update({ collectionName, id, item: noteItem(9) }), expected);
      await refused(records.delete({ collectionName, id }), expected);
    }
    await refused(records.delete({ collectionName }), { code: invalid, field: "id" });
    const longest = "x".repeat(256);
    await records.create({ collectionName, id: longest, item: noteItem(9) });
    await records.delete({ collectionName, id: longest });
  });

  it("takes names that mean something to JavaScript or SQL as plain ids", async () => {
    const { records } = client;
    for (const id of [
      "__proto__",
      "constructor",
      "'; DROP TABLE record; --",
      "%",
      "*",
      "a/b?c#d",
    ]) {
      await records.create({ collectionName, id, item: noteItem(5) });
      const { meta } = await records.get({ collectionName, id });
      assert.equal(meta?.id, id);
      await records.delete({ collectionName, id });
      await refused(records.get({ collectionName, id }), { code: "NotFound" });
    }
  });

  it("gives the largest and smallest int64 back exactly", async () => {
    for (const priceCents of [2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n]) {
      const value = encodeNote({ ...noteOf(1), priceCents, counters: { __proto__x: priceCents } });
      const item = create(AnySchema, { typeUrl, value });
      const { id } = await client.records.create({ collectionName, item });
      const read = await client.records.get({ collectionName, id });
      assert.equal(decodeNote(read.item?.value ?? new Uint8Array()).priceCents, priceCents);
      assert.deepEqual(Buffer.from(read.item?.value ?? []), Buffer.from(value));
    }
  });

  it("answers a create that is sent again the same, and refuses another under its request id", async () => {
    const { records } = client;
    const request = { collectionName, item: noteItem(11), requestId: "order-11" };
    const first = await records.create(request);
    const again = await records.create(request);
    assert.equal(again.id, first.id);
    assert.equal(again.meta?.version, first.meta?.version);
    await refused(records.create({ ...request, item: noteItem(12) }), {
      code: invalid,
      reason: "REQUEST_ID_REUSED",
    });
  });

  it("refuses JSON that no client of ours would send", async () => {
    for (const body of [
      "[".repeat(100_000),
      `{"filter":${'{"a":'.repeat(100)}1${"}".repeat(100)}}`,
      '{"collectionName":"notes","item":{"@type":"type.googleapis.com/notes.v1.Note","body":"\\ud800"}}',
      '{"collectionName":"notes","item":{"@type":"type.googleapis.com/notes.v1.Note","__proto__":{}}}',
      '{"collectionName":"notes","nonsense":1}',
    ]) {
      const response = await fetch(`${server.url}/collector.CollectionService/Create`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
      const text = await response.text();
      assert.equal(response.status, 400, `${body.slice(0, 80)}: ${text}`);
      assert.match(text, /invalid_argument/);
      assert.doesNotMatch(text, /\n\s+at |node:internal/);
      await client.records.get({ collectionName, id: "1" });
    }
  });

  it("refuses what names nothing: collections, namespaces, files and operations", async () => {
    const { records, repo, admin, types, namespaces, operations } = client;
    const missing = { code: "NotFound" };
    await refused(records.get({ collectionName, id: "nobody" }), missing);
    await refused(records.list({ collectionName: "nowhere" }), missing);
    await refused(records.describe({ collectionName: "nowhere" }), missing);
    await refused(repo.route({ collection: { name: "nowhere" } }), missing);
    await refused(admin.deleteCollection({ collection: { name: "nowhere" } }), missing);
    await refused(types.getFile({ name: "nowhere.proto" }), missing);
    await refused(namespaces.getNamespace({ name: "nowhere" }), missing);
    await refused(operations.getOperation({ name: "nowhere" }), missing);
  });

  it("refuses an empty request to every method that needs something", async () => {
    const { records, repo, admin, registry, types, namespaces, operations } = client;
    const needy: Readonly<Record<string, () => Promise<unknown>>> = {
      Create: () => records.create({}),
      Get: () => records.get({}),
      Update: () => records.update({}),
      Delete: () => records.delete({}),
      List: () => records.list({}),
      Search: () => records.search({}),
      Batch: () => records.batch({}),
      Describe: () => records.describe({}),
      Modify: () => records.modify({}),
      CreateCollection: () => repo.createCollection({}),
      Route: () => repo.route({}),
      GetCollection: () => admin.getCollection({}),
      DeleteCollection: () => admin.deleteCollection({}),
      RenameCollection: () => admin.renameCollection({}),
      RegisterProto: () => registry.registerProto({}),
      RegisterService: () => registry.registerService({}),
      LookupService: () => registry.lookupService({}),
      GetFile: () => types.getFile({}),
      UnregisterFile: () => types.unregisterFile({}),
      UnregisterType: () => types.unregisterType({}),
      UnregisterService: () => types.unregisterService({}),
      CreateNamespace: () => namespaces.createNamespace({}),
      DeleteNamespace: () => namespaces.deleteNamespace({}),
      GetOperation: () => operations.getOperation({}),
      WaitOperation: () => operations.waitOperation({}),
      CancelOperation: () => operations.cancelOperation({}),
      DeleteOperation: () => operations.deleteOperation({}),
    };
    const amiss: string[] = [];
    for (const [method, call] of Object.entries(needy)) {
      const { code, fields, message } = await refusalOf(call());
      if (code !== invalid || fields.length === 0) {
        amiss.push(`${method}: ${code}, names ${fields.join(", ") || "no field"}: ${message}`);
      }
    }
    assert.deepEqual(amiss, []);
  });
});
