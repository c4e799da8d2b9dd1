import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type CollectionSchema, ExpirySchema } from "../gen/collector/collection_pb.ts";
import {
  CreateRequestSchema,
  ListRequestSchema,
  UpdateRequestSchema,
} from "../gen/collector/collection_server_pb.ts";
import { silentLog } from "../lib/log.ts";
import { ManualClock } from "../storage/testing/engine-harness.ts";
import { ExpirySweeper } from "./expiry-sweeper.ts";
import { define, modify } from "./testing/catalog-calls.ts";
import { CatalogFixture, product } from "./testing/fixture.ts";

/** A time to live of ten seconds. */
const tenSeconds = create(ExpirySchema, {
  when: { case: "timeToLive", value: { seconds: 10n } },
});
const whenCreated = create(ExpirySchema, {
  when: { case: "timestampField", value: "created" },
});

async function open(
  clock: ManualClock,
  init: MessageInitShape<typeof CollectionSchema>,
): Promise<CatalogFixture> {
  const fixture = await CatalogFixture.open({}, clock);
  await define(fixture, { name: "products", ...init });
  return fixture;
}

async function put(fixture: CatalogFixture, id: string, created?: bigint): Promise<void> {
  const item =
    created === undefined
      ? product({ title: id })
      : product({ title: id, created: new Date(Number(created / 1000n)).toISOString() });
  const records = fixture.catalog.open("default", "products");
  await records.create(create(CreateRequestSchema, { id, item }));
}

async function ids(fixture: CatalogFixture): Promise<string[]> {
  const records = fixture.catalog.open("default", "products");
  const { metas } = await records.list(create(ListRequestSchema, {}));
  return metas.map(({ id }) => id);
}

async function deletes(fixture: CatalogFixture): Promise<string[]> {
  const { changes } = await fixture.catalog.store("default", "products").changes(0n, 1000);
  return changes.filter(({ kind }) => kind === "deleted").map(({ id }) => id);
}

describe("records that expire", () => {
  it("vanish from reads at once, and from the disk, as deletes, when they are swept", async () => {
    const clock = new ManualClock();
    await using fixture = await open(clock, { expiry: tenSeconds });
    const records = fixture.catalog.open("default", "products");
    await put(fixture, "a");
    clock.advanceMs(5000);
    await put(fixture, "b");
    assert.deepEqual(await ids(fixture), ["a", "b"]);
    clock.advanceMs(5000);
    assert.deepEqual(await ids(fixture), ["b"]);
    await assert.rejects(records.get("a"), { reason: "RECORD_NOT_FOUND" });
    assert.deepEqual(await deletes(fixture), []);
    await using sweeper = fixture.catalog.sweepExpired();
    await sweeper.sweep();
    assert.deepEqual(await deletes(fixture), ["a"]);
    assert.equal((await records.stats()).recordCount, 1n);
    clock.advanceMs(5000);
    await sweeper.sweep();
    assert.deepEqual(await deletes(fixture), ["a", "b"]);
  });

  it("live on with each write, also one of labels or of a field", async () => {
    const clock = new ManualClock();
    await using fixture = await open(clock, { expiry: tenSeconds });
    const records = fixture.catalog.open("default", "products");
    for (const id of ["labels", "mask", "whole", "none"]) await put(fixture, id);
    clock.advanceMs(9000);
    const item = product({ stock: 1 });
    const changes = [
      { id: "labels", labels: { a: "1" } },
      { id: "mask", item, updateMask: ["stock"] },
      { id: "whole", item },
    ];
    for (const change of changes) await records.update(create(UpdateRequestSchema, change));
    clock.advanceMs(9000);
    assert.deepEqual(await ids(fixture), ["labels", "mask", "whole"]);
    clock.advanceMs(1000);
    assert.deepEqual(await ids(fixture), []);
  });

  it("follow a field of theirs; one without it stays", async () => {
    const clock = new ManualClock();
    await using fixture = await open(clock, { expiry: whenCreated });
    const soon = clock.nowUs() + 60_000_000n;
    await put(fixture, "soon", soon);
    await put(fixture, "stays");
    await put(fixture, "past", clock.nowUs() - 1_000_000n);
    assert.deepEqual(await ids(fixture), ["soon", "stays"]);
    const records = fixture.catalog.open("default", "products");
    await records.update(
      create(UpdateRequestSchema, { id: "soon", item: product({}), updateMask: ["created"] }),
    );
    clock.advanceMs(120_000);
    assert.deepEqual(await ids(fixture), ["soon", "stays"]);
  });

  it("get another end when the collection's expiry changes", async () => {
    const clock = new ManualClock();
    await using fixture = await open(clock, {});
    for (let index = 0; index < 150; index += 1) await put(fixture, `r${index}`);
    clock.advanceMs(4000);
    await put(fixture, "later");
    const change = { expiry: tenSeconds, updateMask: ["expiry"] };
    const { operation, collection } = await modify(fixture, change);
    assert.equal(operation?.result.case, "response");
    assert.equal(collection.expiry?.when.case, "timeToLive");
    clock.advanceMs(6000);
    assert.deepEqual(await ids(fixture), ["later"]);
    const never = await modify(fixture, { updateMask: ["expiry"] });
    assert.equal(never.collection.expiry, undefined);
    clock.advanceMs(100_000);
    assert.deepEqual(await ids(fixture), ["later"]);
  });

  it("keep their end if a change of it is cancelled", async () => {
    const clock = new ManualClock();
    await using fixture = await open(clock, { expiry: tenSeconds });
    for (let index = 0; index < 300; index += 1) await put(fixture, `r${index}`);
    const { operation } = await modify(fixture, {
      updateMask: ["expiry"],
      returnImmediately: true,
    });
    assert.ok(operation !== undefined);
    await fixture.operations.cancel(operation.name);
    const { result } = await fixture.operations.wait(operation.name, {});
    clock.advanceMs(20_000);
    const left = (await ids(fixture)).length;
    const { expiry } = fixture.catalog.get({ namespace: "default", name: "products" });
    assert.equal(left, result.case === "error" ? 0 : 100);
    assert.equal(expiry === undefined, result.case !== "error");
  });

  it("are looked for seldom where nothing expires, and at once where something is due", async () => {
    const clock = new ManualClock();
    await using sweeper = new ExpirySweeper({ clock, log: silentLog });
    let looks = 0;
    let expired: string[] = [];
    const collection = {
      fullName: "default/x",
      isDeleted: false,
      store: {
        expired: async () => {
          looks += 1;
          return expired;
        },
      },
      records: {
        expire: async () => {
          expired = [];
        },
      },
    };
    sweeper.add(collection);
    for (let second = 0; second < 600; second += 1) {
      await sweeper.sweep();
      clock.advanceMs(1000);
    }
    assert.ok(looks >= 10 && looks < 20, `${looks} looks in ten minutes`);
    const before = looks;
    sweeper.note(collection, clock.nowUs() + 3_000_000n);
    expired = ["a"];
    for (let second = 0; second < 4; second += 1) {
      await sweeper.sweep();
      clock.advanceMs(1000);
    }
    assert.deepEqual([looks - before >= 1, expired], [true, []]);
    sweeper.remove(collection);
    const last = looks;
    clock.advanceMs(1_000_000);
    await sweeper.sweep();
    assert.equal(looks, last);
  });
});
