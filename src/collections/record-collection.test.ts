import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  create,
  fromBinary,
  type JsonValue,
  type MessageInitShape,
  toJson,
} from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import {
  CreateRequestSchema,
  DeleteRequestSchema,
  GetRequestSchema,
  ListRequestSchema,
  SearchRequestSchema,
  UpdateRequestSchema,
} from "../gen/collector/collection_server_pb.ts";
import type {
  CreatedRecord,
  DeletedRecord,
  ListedRecords,
  UpdatedRecord,
} from "./record-answers.ts";
import type { RecordCollection } from "./record-collection.ts";
import { wireBytes } from "./testing/arbitraries.ts";
import { anyOfBytes, anyOfJson, CatalogFixture, product, testTypes } from "./testing/fixture.ts";

type Init<S extends Parameters<typeof create>[0]> = MessageInitShape<S>;

function add(
  records: RecordCollection,
  init: Init<typeof CreateRequestSchema>,
): Promise<CreatedRecord> {
  return records.create(create(CreateRequestSchema, init));
}

function change(
  records: RecordCollection,
  init: Init<typeof UpdateRequestSchema>,
  signal?: AbortSignal,
): Promise<UpdatedRecord> {
  return records.update(create(UpdateRequestSchema, init), { signal });
}

function remove(
  records: RecordCollection,
  init: Init<typeof DeleteRequestSchema>,
): Promise<DeletedRecord> {
  return records.delete(create(DeleteRequestSchema, init));
}

function list(
  records: RecordCollection,
  init: Init<typeof ListRequestSchema> = {},
): Promise<ListedRecords> {
  return records.list(create(ListRequestSchema, init));
}

function json(item: Any | undefined): JsonValue {
  const name = item?.typeUrl.slice("type.googleapis.com/".length) ?? "";
  const desc = testTypes.getMessage(name);
  assert.ok(desc !== undefined && item !== undefined);
  return toJson(desc, fromBinary(desc, item.value), { registry: testTypes });
}

describe("RecordCollection", () => {
  it("gives back what was created, under the id that was given or one that it made", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("products");
    const given = await add(records, {
      id: "esp-1",
      item: product({ sku: "esp-1", priceCents: "24900" }),
      labels: { team: "kitchen" },
    });
    assert.equal(given.id, "esp-1");
    assert.deepEqual(given.meta?.labels, { team: "kitchen" });
    assert.equal(given.meta?.version, "1");
    const made = await add(records, { item: product({ sku: "esp-2" }) });
    assert.match(made.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);

    const found = await records.get("esp-1");
    assert.equal(found.item.typeUrl, "type.googleapis.com/shop.v1.Product");
    assert.deepEqual(json(found.item), { sku: "esp-1", priceCents: "24900" });
    assert.deepEqual(found.meta, given.meta);
    await assert.rejects(add(records, { id: "esp-1", item: product({}) }), {
      reason: "RECORD_EXISTS",
      subject: { namespace: "default", collection: "products", id: "esp-1" },
    });
    await assert.rejects(records.get("esp-9"), { reason: "RECORD_NOT_FOUND" });
  });

  it("keeps the bytes of any message as they came, whatever an encoder writes", async () => {
    await using fixture = await CatalogFixture.open();
    for (const type of ["kinds.v1.Kinds", "legacy.v1.Legacy"]) {
      const records = await fixture.collection(type, type);
      const desc = testTypes.getMessage(type);
      assert.ok(desc !== undefined);
      const samples = fc.sample(wireBytes(desc, testTypes), 60);
      const ids = await Promise.all(
        samples.map(async (value) => (await add(records, { item: anyOfBytes(type, value) })).id),
      );
      const found = await records.getMany(ids);
      for (const [index, { item }] of found.entries()) {
        assert.deepEqual(Buffer.from(item?.value ?? []), Buffer.from(samples[index] ?? []));
      }
    }
  });

  it("keeps 64-bit integers exact, in records and through masked updates", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("kinds", "kinds.v1.Kinds");
    const extremes = {
      int64Value: "9223372036854775807",
      sint64Value: "-9223372036854775808",
      uint64Value: "18446744073709551615",
      byLong: { "18446744073709551615": "AQ==" },
      any: { "@type": "type.googleapis.com/kinds.v1.Kinds", int64Value: "-9223372036854775808" },
    };
    await add(records, { id: "a", item: anyOfJson("kinds.v1.Kinds", extremes) });
    await change(records, {
      id: "a",
      item: anyOfJson("kinds.v1.Kinds", { sfixed64Value: "-9223372036854775808" }),
      updateMask: ["sfixed64_value"],
    });
    assert.deepEqual(json((await records.get("a")).item), {
      ...extremes,
      sfixed64Value: "-9223372036854775808",
    });
  });

  it("refuses items that are missing, of another type, unregistered or not parsable, naming what is expected", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("products");
    const cases: [Any | undefined, string, string][] = [
      [undefined, "ARGUMENT_MISSING", "item"],
      [anyOfJson("shop.v1.Review", {}), "ITEM_TYPE_MISMATCH", "item.type_url"],
      [anyOfBytes("shop.v1.Nothing", new Uint8Array(0)), "TYPE_NOT_REGISTERED", "item.type_url"],
      [anyOfBytes("", new Uint8Array(0)), "ITEM_TYPE_MISMATCH", "item.type_url"],
      [anyOfBytes("xshop.v1.Product", new Uint8Array(0)), "TYPE_NOT_REGISTERED", "item.type_url"],
      [anyOfBytes("shop.v1.Product", Uint8Array.of(10, 5, 1)), "ITEM_UNPARSABLE", "item.value"],
    ];
    for (const [item, reason, field] of cases) {
      const init = { id: "x", ...(item === undefined ? {} : { item }) };
      const isRefused = (error: {
        reason: string;
        message: string;
        violations: { field: string }[];
      }) => {
        assert.equal(error.reason, reason);
        assert.equal(error.violations[0]?.field, field);
        assert.match(error.message, /shop\.v1\.Product/);
        return true;
      };
      await assert.rejects(add(records, init), isRefused);
      await assert.rejects(change(records, { ...init, allowMissing: true }), isRefused);
    }
    const prefixed = product({});
    for (const typeUrl of [
      "shop.v1.Product",
      "/shop.v1.Product",
      "x.example/a/b/shop.v1.Product",
    ]) {
      await add(records, { item: { ...prefixed, typeUrl } });
    }
    assert.equal((await list(records)).totalCount, 3n);
  });

  it("refuses ids and labels that are out of bounds, naming the field", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("products");
    for (const id of ["a\0b", "\ud800", "x".repeat(257), "é".repeat(129)]) {
      await assert.rejects(add(records, { id, item: product({}) }), {
        reason: "ID_INVALID",
        violations: [{ field: "id" }].map((violation) => ({
          ...violation,
          description: /./.exec(id) === null ? "" : idFault(id),
        })),
      });
    }
    await assert.rejects(records.get("\ud800"), {
      reason: "ID_INVALID",
      violations: [{ field: "id", description: idFault("\ud800") }],
    });
    await assert.rejects(records.getMany(["1", "a\0b"]), {
      reason: "ID_INVALID",
      violations: [{ field: "ids[1]", description: idFault("a\0b") }],
    });
    await assert.rejects(add(records, { item: product({}), labels: { ["k".repeat(129)]: "" } }), {
      reason: "LABEL_INVALID",
    });
    await add(records, { id: "é".repeat(128), item: product({}) });
    await add(records, { id: "__proto__", item: product({}), labels: { constructor: "x" } });
    assert.deepEqual((await records.get("__proto__")).meta.labels, { constructor: "x" });
  });

  it("updates as a whole, by mask, and labels alone", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("products");
    const before = await add(records, {
      id: "a",
      item: product({ sku: "a", title: "old", size: { width: 1, unit: "cm" } }),
      labels: { one: "1" },
    });
    const masked = await change(records, {
      id: "a",
      item: product({ title: "new", size: { height: 2 } }),
      updateMask: ["title", "size.height", "stock"],
    });
    assert.equal(masked.created, false);
    assert.deepEqual(json((await records.get("a")).item), {
      sku: "a",
      title: "new",
      size: { width: 1, height: 2, unit: "cm" },
    });
    assert.deepEqual(masked.meta?.labels, { one: "1" });
    assert.ok(BigInt(masked.meta?.version ?? "0") > BigInt(before.meta?.version ?? "0"));
    assert.deepEqual(masked.meta?.createdAt, before.meta?.createdAt);

    await change(records, { id: "a", labels: { two: "2" } });
    await change(records, { id: "a", item: product({ sku: "b" }) });
    assert.deepEqual(json((await records.get("a")).item), { sku: "b" });
    assert.deepEqual((await records.get("a")).meta.labels, { two: "2" });
    await change(records, { id: "a", updateLabels: true });
    assert.deepEqual((await records.get("a")).meta.labels, {});

    await assert.rejects(change(records, { id: "a" }), { reason: "ARGUMENT_MISSING" });
    await assert.rejects(change(records, { id: "a", item: product({}), updateMask: ["titl"] }), {
      reason: "FIELD_UNKNOWN",
      message: /"titl".*did you mean title/,
    });
  });

  it("updates and deletes what is missing only if that is allowed", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("products");
    const item = product({ sku: "a", title: "t" });
    for (const updateMask of [[], ["title"]]) {
      await assert.rejects(change(records, { id: "a", item, updateMask }), {
        reason: "RECORD_NOT_FOUND",
      });
      const made = await change(records, { id: "a", item, updateMask, allowMissing: true });
      assert.equal(made.created, true);
      assert.deepEqual(json((await records.get("a")).item), { sku: "a", title: "t" });
      const deleted = await remove(records, { id: "a" });
      assert.equal(deleted.meta?.version, made.meta?.version);
    }
    await assert.rejects(remove(records, { id: "a" }), { reason: "RECORD_NOT_FOUND" });
    assert.deepEqual(await remove(records, { id: "a", allowMissing: true }), {});
  });

  it("writes only to the version that the caller has seen", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("products");
    const { meta } = await add(records, { id: "a", item: product({}) });
    const ifMatch = meta?.version ?? "";
    const item = product({ title: "x" });
    await change(records, { id: "a", item, updateMask: ["title"], ifMatch });
    for (const updateMask of [[], ["title"]]) {
      await assert.rejects(change(records, { id: "a", item, updateMask, ifMatch }), {
        reason: "VERSION_MISMATCH",
        subject: { namespace: "default", collection: "products", id: "a" },
      });
    }
    await assert.rejects(remove(records, { id: "a", ifMatch }), { reason: "VERSION_MISMATCH" });
    await assert.rejects(remove(records, { id: "a", ifMatch: '"1"' }), {
      reason: "ARGUMENT_INVALID",
    });
    assert.equal(json((await records.get("a")).item) !== undefined, true);
  });

  it("does a write with a request id once and answers it the same", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("products");
    const request = { item: product({ sku: "a" }), labels: { b: "1", a: "2" }, requestId: "r-1" };
    const first = await add(records, request);
    assert.deepEqual(await add(records, { ...request, labels: { a: "2", b: "1" } }), first);
    await assert.rejects(add(records, { ...request, id: "other" }), {
      reason: "REQUEST_ID_REUSED",
    });

    const masked = {
      id: first.id,
      item: product({ title: "t" }),
      updateMask: ["title"],
      requestId: "r-2",
    };
    const changed = await change(records, masked);
    assert.deepEqual(await change(records, masked), changed);
    const gone = await remove(records, { id: first.id, requestId: "r-3" });
    assert.deepEqual(await remove(records, { id: first.id, requestId: "r-3" }), gone);
    // Also once the record is gone the masked update is known to have been done.
    assert.deepEqual(await change(records, masked), changed);
    assert.equal((await list(records)).totalCount, 0n);
  });

  it("only checks a request that asks for no more", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("products");
    const item = product({});
    assert.deepEqual(await add(records, { item, validateOnly: true }), { id: "" });
    await add(records, { id: "a", item });
    await assert.rejects(add(records, { id: "a", item, validateOnly: true }), {
      reason: "RECORD_EXISTS",
    });
    await assert.rejects(change(records, { id: "b", item, validateOnly: true }), {
      reason: "RECORD_NOT_FOUND",
    });
    await assert.rejects(change(records, { id: "a", item, ifMatch: "9", validateOnly: true }), {
      reason: "VERSION_MISMATCH",
    });
    await remove(records, { id: "a", validateOnly: true });
    assert.equal((await list(records)).totalCount, 1n);
  });

  it("reads several ids in their order, and says which are missing", async () => {
    await using fixture = await CatalogFixture.open({ messageBytesMax: 10_000 });
    const records = await fixture.collection("products");
    for (let index = 0; index < 40; index += 1) {
      await add(records, { id: `r${index}`, item: product({ title: "x".repeat(400) }) });
    }
    const found = await records.getMany(["r3", "none", "r1", "r3"]);
    assert.deepEqual(
      found.map(({ id, found: isFound }) => [id, isFound]),
      [
        ["r3", true],
        ["none", false],
        ["r1", true],
        ["r3", true],
      ],
    );
    const all = Array.from({ length: 40 }, (_, index) => `r${index}`);
    await assert.rejects(records.getMany(all), { reason: "MESSAGE_TOO_LARGE" });
    await assert.rejects(records.getMany(["a", ""]), { reason: "ARGUMENT_MISSING" });
    await assert.rejects(records.getMany(Array.from({ length: 1001 }, String)), {
      reason: "ARGUMENT_INVALID",
    });
    await assert.rejects(records.read(create(GetRequestSchema, { id: "a", ids: ["b"] })), {
      reason: "ARGUMENT_INVALID",
    });
  });

  it("lists in the order of creation, page by page, with tokens of this collection only", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("products");
    const others = await fixture.collection("others");
    for (let index = 0; index < 25; index += 1) {
      await add(records, { id: `r${24 - index}`, item: product({ stock: index }) });
      await add(others, { id: `r${index}`, item: product({}) });
    }
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await list(records, { pageSize: 10, pageToken });
      assert.equal(page.totalCount, 25n);
      assert.equal(page.items.length, page.metas.length);
      seen.push(...page.metas.map(({ id }) => id));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    assert.deepEqual(
      seen,
      Array.from({ length: 25 }, (_, index) => `r${24 - index}`),
    );

    const { nextPageToken } = await list(records, { pageSize: 1 });
    for (const token of [`${nextPageToken}A`, nextPageToken.slice(1), "x", "\0"]) {
      await assert.rejects(list(records, { pageToken: token }), { reason: "PAGE_TOKEN_INVALID" });
    }
    await assert.rejects(list(others, { pageToken: nextPageToken }), {
      reason: "PAGE_TOKEN_INVALID",
    });
    await assert.rejects(list(records, { pageSize: -1 }), { reason: "PAGE_SIZE_INVALID" });
    await assert.rejects(list(records, { orderBy: "skew" }), { reason: "FIELD_UNKNOWN" });
  });

  it("finds records by the words of any string field, as soon as they are written", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("products");
    const search = (fullText: string) => records.search(create(SearchRequestSchema, { fullText }));
    await add(records, { id: "a", item: product({ title: "Espresso machine", tags: ["steel"] }) });
    await add(records, { id: "b", item: product({ attributes: { colour: "espresso brown" } }) });
    const hits = await search("espresso");
    assert.deepEqual(new Set(hits.results.map(({ meta }) => meta?.id)), new Set(["a", "b"]));
    assert.deepEqual(
      (await search("ESPRESSO steel")).results.map(({ meta }) => meta?.id),
      ["a"],
    );
    assert.equal((await search("colour")).totalCount, 0n, "keys and field names are no text");
    await change(records, { id: "a", item: product({ title: "Grinder" }), updateMask: ["title"] });
    assert.deepEqual(
      (await search("grinder steel")).results.map(({ meta }) => meta?.id),
      ["a"],
    );
    for (const words of ['"', "AND", "(((((", "*", "col : a", "a\0b"]) await search(words);
    assert.equal((await search("")).totalCount, 2n, "no text is no criterion");
    for (const words of ["  ", "\0", "x".repeat(513), "a ".repeat(17)]) {
      await assert.rejects(search(words), { reason: "QUERY_INVALID" });
    }
    await assert.rejects(
      records.search(create(SearchRequestSchema, { fullText: "a", limit: -1 })),
      { reason: "QUERY_INVALID" },
    );
  });

  it("does nothing for a caller who has gone", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("products");
    const signal = AbortSignal.abort();
    await assert.rejects(
      records.create(create(CreateRequestSchema, { item: product({}) }), { signal }),
      {
        name: "AbortError",
      },
    );
    await assert.rejects(records.list(create(ListRequestSchema), { signal }));
    assert.equal((await list(records)).totalCount, 0n);
  });
});

function idFault(id: string): string {
  if (id.includes("\0")) return "holds a NUL character";
  if (!id.isWellFormed()) return "holds half a surrogate pair, so it is not UTF-8";
  return `has ${Buffer.byteLength(id)} bytes of UTF-8, the limit is 256`;
}
