import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { JsonObject } from "@bufbuild/protobuf";
import { StructSchema } from "@bufbuild/protobuf/wkt";
import { CollectionService } from "../gen/collector/collection_server_pb.ts";
import { RetryInfoSchema } from "../gen/google/rpc/error_details_pb.ts";
import { type Collector, createCollector } from "../server.ts";
import { type Client, connect } from "./client.ts";
import type { TypedCollection } from "./collection.ts";

describe("connect", () => {
  it("takes its defaults from the environment, and options go over them", async () => {
    const env = { COLLECTOR_URL: "http://127.0.0.1:4", COLLECTOR_NAMESPACE: "team" };
    await using client = await connect({ env });
    assert.deepEqual([client.url, client.namespace], ["http://127.0.0.1:4", "team"]);
    await using other = await connect({ env, url: "localhost:5", namespace: "own" });
    assert.deepEqual([other.url, other.namespace], ["http://localhost:5", "own"]);
    await using plain = await connect({ env: {} });
    assert.equal(plain.url, "http://127.0.0.1:50051");
  });

  it("refuses what is no address", async () => {
    for (const url of ["ftp://x", "http://", "http://a/b", ""]) {
      await assert.rejects(connect({ url, env: {} }), { reason: "ARGUMENT_INVALID" }, url);
    }
  });

  it("says that no server answers", async () => {
    await using client = await connect({ url: "http://127.0.0.1:1", env: {} });
    await assert.rejects(client.services.records.meta({}), {
      name: "ClientError",
      reason: "CONNECTION_FAILED",
      retryable: true,
    });
  });
});

describe("Client", () => {
  let folder: string;
  let collector: Collector;
  let client: Client;
  let things: TypedCollection<typeof StructSchema>;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "collector-client-"));
    collector = await createCollector({ port: 0, data: folder, logLevel: "silent" });
    client = await connect({ url: collector.url, env: {} });
    await client.services.repo.createCollection({
      collection: { name: "things", messageType: { messageName: StructSchema.typeName } },
    });
    things = client.collection("things", StructSchema);
  });

  after(async () => {
    client.close();
    await collector.close();
    await rm(folder, { recursive: true });
  });

  const thing = (
    name: string,
  ): { fields: Record<string, { kind: { case: "stringValue"; value: string } }> } => ({
    fields: { name: { kind: { case: "stringValue", value: name } } },
  });

  it("creates, reads, replaces and deletes typed records", async () => {
    const { id, version } = await things.create(thing("Ada"), { labels: { team: "a" } });
    const read = await things.get(id);
    assert.equal(read.item.fields["name"]?.kind.value, "Ada");
    assert.deepEqual([read.version, read.labels], [version, { team: "a" }]);
    assert.ok(read.createdAt instanceof Date);
    await things.update(id, thing("Grace"), { ifVersion: version });
    await assert.rejects(things.update(id, thing("Eve"), { ifVersion: version }), {
      reason: "VERSION_MISMATCH",
    });
    await things.delete(id);
    assert.equal(await things.find(id), undefined);
    await assert.rejects(things.get(id), { reason: "RECORD_NOT_FOUND" });
    await things.delete(id, { allowMissing: true });
  });

  it("puts what is there and what is not", async () => {
    await things.put("same", thing("one"));
    await things.put("same", thing("two"));
    assert.equal((await things.get("same")).item.fields["name"]?.kind.value, "two");
    await assert.rejects(things.create(thing("three"), { id: "same" }), {
      reason: "RECORD_EXISTS",
    });
  });

  it("does a batch in order, all of it or nothing", async () => {
    const done = await things.batch([
      { create: thing("first"), labels: { in: "batch" } },
      { put: thing("second"), id: "b-2" },
      { patch: thing("third"), id: "b-2" },
      { put: thing("gone"), id: "b-3" },
      { delete: "b-3" },
    ]);
    assert.deepEqual(
      done.map(({ id }, index) => (index === 0 ? id.length > 0 : id)),
      [true, "b-2", "b-2", "b-3", "b-3"],
    );
    const { item, version } = await things.get("b-2");
    assert.equal(item.fields["name"]?.kind.value, "third");
    assert.equal(await things.find("b-3"), undefined);
    const stale = { put: thing("late"), id: "b-2", ifVersion: `${version}0` };
    await assert.rejects(things.batch([{ create: thing("never"), id: "b-4" }, stale]), {
      reason: "VERSION_MISMATCH",
    });
    assert.equal(await things.find("b-4"), undefined);
    await assert.rejects(things.batch([]), { reason: "BATCH_INVALID" });
  });

  it("lists every record across pages, and finds words", async () => {
    const ids = Array.from({ length: 7 }, (_, index) => `list-${index}`);
    for (const id of ids) await things.put(id, thing(`listed ${id}`));
    const listed: string[] = [];
    for await (const { id } of things.list({ pageSize: 3 })) listed.push(id);
    assert.deepEqual(
      listed.filter((id) => id.startsWith("list-")),
      ids,
    );
    const hits = await things.search("listed", { limit: 3 });
    assert.equal(hits.length, 3);
  });

  it("calls a method of a generated service", async () => {
    const { serverVersion } = await client.call(CollectionService.method.meta, {});
    assert.equal(serverVersion, collector.version);
  });

  it("registers a generated type with what it imports, and calls with JSON of it", async () => {
    const [registered] = (await client.register(RetryInfoSchema)).slice(-1);
    assert.equal(registered?.name, RetryInfoSchema.file.proto.name);
    const request: JsonObject = {
      collectionName: "things",
      item: {
        "@type": "type.googleapis.com/google.protobuf.Struct",
        value: { nested: [1, "two"] },
      },
    };
    const method = "collector.CollectionService/Create";
    for await (const answer of client.callJson(method, [request])) {
      assert.equal(typeof (answer as JsonObject)["id"], "string");
    }
  });

  it("gives the JSON of an Any of an unknown type as its bytes", async () => {
    const item = {
      typeUrl: "type.googleapis.com/no.such.Type",
      value: Uint8Array.of(1, 2, 3),
      $typeName: "google.protobuf.Any" as const,
    };
    assert.deepEqual(await client.toJson(item), { "@type": item.typeUrl, value: "AQID" });
  });

  it("ends a call at the caller's signal", async () => {
    const aborted = AbortSignal.abort();
    await assert.rejects(things.get("same", { signal: aborted }), { reason: "CANCELLED" });
  });
});
