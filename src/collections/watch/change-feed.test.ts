import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import {
  CreateRequestSchema,
  UpdateRequestSchema,
} from "../../gen/collector/collection_server_pb.ts";
import { Change_Kind, type WatchResponse } from "../../gen/collector/record_streams_pb.ts";
import { locationOf } from "../definitions.ts";
import type { RecordCollection } from "../record-collection.ts";
import { CatalogFixture, product } from "../testing/fixture.ts";

/** Reads a watch until it has told of so many changes. */
async function readChanges(
  responses: AsyncIterator<WatchResponse>,
  count: number,
): Promise<string[]> {
  const log: string[] = [];
  while (log.length < count) {
    const result = await responses.next();
    assert.ok(result.done !== true);
    for (const { kind, id } of result.value.changes) log.push(`${kind} ${id}`);
  }
  return log;
}

function watch(
  collection: RecordCollection,
  where: string,
  signal: AbortSignal,
): AsyncIterator<WatchResponse> {
  const request = { where, resumeToken: "", idsOnly: false };
  return collection.watch(request, { signal })[Symbol.asyncIterator]();
}

const { CREATED, UPDATED, LEFT, DELETED } = Change_Kind;

describe("ChangeFeed", () => {
  it("finds in the history what was written without its knowing", async () => {
    await using fixture = await CatalogFixture.open();
    const collection = await fixture.collection("products");
    const hangUp = new AbortController();
    const all = watch(collection, "", hangUp.signal);
    const some = watch(collection, "stock > 5", hangUp.signal);
    await Promise.all([all.next(), some.next()]);
    const write = (id: string, stock: number) =>
      collection.create(create(CreateRequestSchema, { id, item: product({ stock }) }));
    await write("a", 9);
    await write("b", 9);
    assert.deepEqual(await readChanges(all, 2), [`${CREATED} a`, `${CREATED} b`]);
    assert.deepEqual(await readChanges(some, 2), [`${CREATED} a`, `${CREATED} b`]);
    // As if a write had failed halfway and was on the disk all the same.
    const store = fixture.engine.store(locationOf(collection.definition));
    await store.write({ steps: [{ kind: "delete", id: "a" }] });
    await write("c", 1);
    assert.deepEqual(await readChanges(all, 2), [`${DELETED} a`, `${CREATED} c`]);
    assert.deepEqual(await readChanges(some, 2), [`${DELETED} a`, `${LEFT} c`]);
    await write("d", 8);
    assert.deepEqual(await readChanges(all, 1), [`${CREATED} d`]);
    assert.deepEqual(await readChanges(some, 1), [`${CREATED} d`]);
    hangUp.abort();
    await assert.rejects(all.next(), { name: "AbortError" });
    await assert.rejects(some.next(), { name: "AbortError" });
  });

  it("ends for one that ends, and goes on for the others", async () => {
    await using fixture = await CatalogFixture.open();
    const collection = await fixture.collection("products");
    const [first, second] = [new AbortController(), new AbortController()];
    const leaving = watch(collection, "", first.signal);
    const staying = watch(collection, "", second.signal);
    await Promise.all([leaving.next(), staying.next()]);
    await leaving.return?.();
    const item = product({ stock: 1 });
    await collection.create(create(CreateRequestSchema, { id: "a", item }));
    assert.deepEqual(await readChanges(staying, 1), [`${CREATED} a`]);
    const again = watch(collection, "", first.signal);
    await again.next();
    await collection.update(create(UpdateRequestSchema, { id: "a", item }));
    assert.deepEqual(await readChanges(again, 1), [`${UPDATED} a`]);
    second.abort();
    await assert.rejects(staying.next(), { name: "AbortError" });
    await again.return?.();
  });
});
