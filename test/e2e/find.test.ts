import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type JsonObject, type MessageInitShape } from "@bufbuild/protobuf";
import { type Any, AnySchema } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import {
  TextSearch_Tokenizer,
  type TextSearchSchema,
} from "../../src/gen/collector/collection_pb.ts";
import { FilterOperator, TextSyntax } from "../../src/gen/collector/collection_server_pb.ts";
import { Status_Code } from "../../src/gen/collector/common_pb.ts";
import { RecordStreams } from "../../src/gen/collector/record_streams_pb.ts";
import { createCollector } from "../../src/server.ts";
import { reasonOf } from "../support/found.ts";
import { decodeNote, encodeNote, type Note, noteTypeName } from "../support/notes.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";

const quiet = { port: 0, logLevel: "silent" } as const;
const products = { collectionName: "products" };

function item(note: Partial<Note>): Any {
  const whole: Note = {
    title: "",
    body: "",
    author: { name: "", born: 0 },
    priceCents: 0n,
    tags: [],
    counters: {},
    writing: 0n,
    thumbnail: new Uint8Array(),
    ...note,
  };
  const value = encodeNote(whole);
  return create(AnySchema, { typeUrl: `type.googleapis.com/${noteTypeName}`, value });
}

const shelf: Readonly<Record<string, { note: Partial<Note>; point?: number[]; labels?: string }>> =
  {
    espresso: {
      note: {
        title: "Espresso machine",
        body: "For coffee",
        priceCents: 24_900n,
        tags: ["coffee", "steel"],
      },
      point: [1, 0],
      labels: "new",
    },
    press: {
      note: {
        title: "French press",
        body: "Coffee, never espresso",
        priceCents: 3_900n,
        tags: ["coffee", "glass"],
      },
      point: [0.6, 0.8],
    },
    pot: {
      note: {
        title: "Tea pot",
        body: "Café au lait",
        priceCents: 2_900n,
        tags: ["tea"],
        counters: { berlin: 3n },
      },
      point: [0, 1],
      labels: "used",
    },
    huge: {
      note: {
        title: "Vault",
        priceCents: 9_007_199_254_740_993n,
        author: { name: "Ada", born: 1815 },
      },
    },
  };

interface Shop extends AsyncDisposable {
  readonly client: TestClient;
}

/** A server with a collection of four things. */
async function openShop(
  definition: { readonly textSearch?: MessageInitShape<typeof TextSearchSchema> } = {},
): Promise<Shop> {
  await using parts = new AsyncDisposableStack();
  const folder = parts.use(await tempFolder("find"));
  const server = parts.use(await createCollector({ ...quiet, data: folder.path }));
  const client = parts.use(new TestClient(server.url));
  await client.registerNotes();
  await client.repo.createCollection({
    collection: {
      name: "products",
      messageType: { messageName: noteTypeName },
      indexedFields: ["price_cents", "tags"],
      vectorFields: [{ name: "look", dimensions: 2 }],
      ...definition,
    },
  });
  for (const [id, { note, point, labels }] of Object.entries(shelf)) {
    await client.records.create({
      ...products,
      id,
      item: item(note),
      vectors: point === undefined ? {} : { look: { values: point } },
      labels: labels === undefined ? {} : { state: labels },
    });
  }
  const rest = parts.move();
  return { client, [Symbol.asyncDispose]: () => rest.disposeAsync() };
}

/** The reason that a call fails with. */
async function refused(call: Promise<unknown>): Promise<string | undefined> {
  return reasonOf(
    await call.then(
      () => undefined,
      (error: unknown) => error,
    ),
  );
}

const idsOf = (metas: readonly { readonly id: string }[]) => metas.map(({ id }) => id);

describe("List", () => {
  it("takes conditions as a Struct and in the filter language, exact beyond 2^53", async () => {
    await using shop = await openShop();
    const list = async (filter: JsonObject, where: string) => {
      const { metas, totalCount } = await shop.client.records.list({ ...products, filter, where });
      assert.equal(totalCount, BigInt(metas.length));
      return idsOf(metas);
    };
    assert.deepEqual(await list({ tags: "coffee" }, ""), ["espresso", "press"]);
    assert.deepEqual(
      await list({ price_cents: { operator: "OP_LESS_THAN", value: 4000 } }, 'tags:"coffee"'),
      ["press"],
    );
    assert.deepEqual(await list({}, "price_cents = 9007199254740993"), ["huge"]);
    assert.deepEqual(await list({}, "price_cents = 9007199254740992"), []);
    assert.deepEqual(await list({ priceCents: "9007199254740993" }, ""), ["huge"]);
    assert.deepEqual(await list({}, 'NOT tags:"coffee" AND @labels.state = "used"'), ["pot"]);
    // OR binds tighter than AND, which may be left out.
    assert.deepEqual(await list({}, "counters.berlin > 2 OR author.born > 0 price_cents > 5000"), [
      "huge",
    ]);
    assert.deepEqual(await list({ author: { operator: "OP_EXISTS" } }, "author.born > 0"), [
      "huge",
    ]);
  });

  it("sorts by several keys, page by page, with tokens that belong to the query", async () => {
    await using shop = await openShop();
    const { records } = shop.client;
    const orderBy = "price_cents desc, @id";
    const first = await records.list({ ...products, orderBy, pageSize: 3 });
    assert.deepEqual(idsOf(first.metas), ["huge", "espresso", "press"]);
    assert.equal(first.totalCount, 4n);
    const pageToken = first.nextPageToken;
    const second = await records.list({ ...products, orderBy, pageSize: 3, pageToken });
    assert.deepEqual(idsOf(second.metas), ["pot"]);
    assert.equal(second.nextPageToken, "");
    for (const other of [{ orderBy: "price_cents" }, { orderBy, where: "price_cents > 1" }]) {
      const failed = records.list({ ...products, ...other, pageToken });
      assert.equal(await refused(failed), "PAGE_TOKEN_INVALID");
    }
  });

  it("says how it ran", async () => {
    await using shop = await openShop();
    const where = 'author.name = "Ada"';
    const { plan } = await shop.client.records.list({ ...products, where, explain: true });
    assert.deepEqual(plan?.indexes, []);
    assert.ok((plan?.rowsVisited ?? 0n) >= 4n);
    const priced = { ...products, where: "price_cents = 2900", explain: true };
    const { plan: indexed } = await shop.client.records.list(priced);
    assert.deepEqual(indexed?.indexes, ["price_cents"]);
  });

  it("refuses what it does not know and says where", async () => {
    await using shop = await openShop();
    const { records } = shop.client;
    const bad: readonly [Parameters<typeof records.list>[0], string, RegExp][] = [
      [{ where: "price_cent > 1" }, "FIELD_UNKNOWN", /character 1.*price_cents/],
      [{ where: "price_cents > abc" }, "QUERY_INVALID", /character 15/],
      [{ where: "price_cents >" }, "QUERY_INVALID", /character/],
      [{ orderBy: "id; DROP TABLE record" }, "QUERY_INVALID", /order_by/],
      [{ orderBy: "tags" }, "QUERY_INVALID", /repeated/],
      [{ filter: { price_cents: 0.5 } }, "QUERY_INVALID", /filter.price_cents/],
    ];
    for (const [request, reason, message] of bad) {
      const failed = records.list({ ...products, ...request });
      await assert.rejects(failed, message);
      assert.equal(await refused(failed), reason);
    }
  });
});

describe("Search", () => {
  it("combines words, conditions, labels and an order", async () => {
    await using shop = await openShop();
    const search = async (request: Parameters<typeof shop.client.records.search>[0]) => {
      const { results } = await shop.client.records.search({ ...products, ...request });
      return results.map(({ meta }) => meta?.id ?? "");
    };
    assert.deepEqual((await search({ fullText: "espresso" })).toSorted(), ["espresso", "press"]);
    assert.deepEqual(await search({ fullText: "cafe" }), ["pot"]);
    assert.deepEqual(
      await search({
        fullText: "coffee",
        filters: {
          price_cents: {
            operator: FilterOperator.OP_LESS_THAN,
            value: { kind: { case: "numberValue", value: 5000 } },
          },
        },
      }),
      ["press"],
    );
    assert.deepEqual(await search({ fullText: "coffee", labelFilters: { state: "new" } }), [
      "espresso",
    ]);
    assert.deepEqual(
      await search({ fullText: "coffee", orderBy: "price_cents", ascending: true }),
      ["press", "espresso"],
    );
    assert.deepEqual(await search({ where: 'tags:"coffee"', orderBy: "price_cents" }), [
      "espresso",
      "press",
    ]);
    assert.deepEqual(
      await search({ fullText: '"french press" OR tea NOT lait', textSyntax: TextSyntax.ADVANCED }),
      ["press"],
    );
  });

  it("takes any text as words, and names the place of a mistake in the advanced syntax", async () => {
    await using shop = await openShop();
    const { records } = shop.client;
    for (const fullText of ['"', "AND", "(((((", "*", "col : a", "a\0b", "tags:coffee NOT"]) {
      await records.search({ ...products, fullText });
    }
    const failed = records.search({
      ...products,
      fullText: 'coffee AND (tea OR "x',
      textSyntax: TextSyntax.ADVANCED,
    });
    await assert.rejects(failed, /full_text: at character/);
    assert.equal(await refused(failed), "QUERY_INVALID");
  });

  it("shows the passages that match, and counts the values of indexed fields", async () => {
    await using shop = await openShop({
      textSearch: {
        fields: [{ path: "title", weight: 5 }, { path: "body" }],
        tokenizer: TextSearch_Tokenizer.ENGLISH,
      },
    });
    const { results, facets, totalCount } = await shop.client.records.search({
      ...products,
      fullText: "machines",
      highlight: { startMark: "<b>", endMark: "</b>" },
      facets: ["tags"],
    });
    assert.equal(totalCount, 1n);
    assert.deepEqual(
      results[0]?.highlights.map(({ path, passage }) => [path, passage]),
      [["title", "Espresso <b>machine</b>"]],
    );
    const counts = facets[0]?.values.map(({ value, count }) => [value?.kind.value, count]);
    assert.deepEqual(counts?.toSorted(), [
      ["coffee", 1n],
      ["steel", 1n],
    ]);
    const mistaken = shop.client.records.search({ ...products, facets: ["body"] });
    assert.equal(await refused(mistaken), "QUERY_INVALID");
  });

  it("finds the nearest, with filters first, and fuses nearness with words", async () => {
    await using shop = await openShop();
    const { records } = shop.client;
    const near = await records.search({ ...products, vector: [0, 2] });
    assert.deepEqual(
      near.results.map(({ meta, distance }) => [meta?.id, Math.round(distance * 100) / 100]),
      [
        ["pot", 0],
        ["press", 0.2],
        ["espresso", 1],
      ],
    );
    const close = await records.search({ ...products, vector: [0, 1], similarityThreshold: 0.5 });
    assert.deepEqual(
      close.results.map(({ meta }) => meta?.id),
      ["pot", "press"],
    );
    const filtered = await records.search({
      ...products,
      vector: [0, 1],
      where: 'tags:"coffee"',
      limit: 1,
    });
    assert.deepEqual(
      filtered.results.map(({ meta }) => meta?.id),
      ["press"],
    );
    const fused = await records.search({ ...products, vector: [6, 8], fullText: "espresso" });
    const both = fused.results.find(({ meta }) => meta?.id === "press");
    assert.ok(both?.textScore !== undefined && both.vectorScore !== undefined);
    assert.equal(fused.results[0]?.meta?.id, "press");
    for (const vector of [[1], [Number.NaN, 1], [0, 0]]) {
      assert.equal(await refused(records.search({ ...products, vector })), "QUERY_INVALID");
    }
  });
});

describe("SearchCollections", () => {
  it("searches all of a namespace, ranks across, and goes on where one collection cannot", async () => {
    await using shop = await openShop();
    const { repo, records } = shop.client;
    await repo.createCollection({
      collection: {
        name: "mute",
        messageType: { messageName: noteTypeName },
        textSearch: { disabled: true },
      },
    });
    await repo.createCollection({
      collection: { name: "books", messageType: { messageName: noteTypeName } },
    });
    await records.create({ collectionName: "books", id: "b", item: item({ title: "On coffee" }) });
    const found = await repo.searchCollections({ query: { fullText: "coffee" } });
    const byName = new Map(found.results.map((result) => [result.collectionName, result]));
    assert.equal(byName.get("mute")?.status?.code, Status_Code.INVALID_ARGUMENT);
    assert.equal(byName.get("books")?.items.length, 1);
    assert.deepEqual(Object.keys(byName.get("products")?.scores ?? {}).toSorted(), [
      "espresso",
      "press",
    ]);
    assert.equal(found.totalMatches, 3n);
    assert.ok(found.totalMatchesCapped);
    assert.equal(found.ranked.length, 3);
    assert.deepEqual(
      new Set(found.ranked.slice(0, 2).map(({ collectionName }) => collectionName)),
      new Set(["books", "products"]),
    );
    const named = await repo.searchCollections({
      collectionNames: ["books", "gone"],
      query: { fullText: "coffee" },
    });
    assert.equal(named.results[1]?.status?.code, Status_Code.NOT_FOUND);
    const bad = repo.searchCollections({ query: { fulText: "coffee" } });
    assert.equal(await refused(bad), "QUERY_INVALID");
    const none = repo.searchCollections({ collectionNames: ["gone"], query: { fullText: "x" } });
    assert.equal(await refused(none), "COLLECTION_NOT_FOUND");
  });
});

describe("Export", () => {
  it("sends the records of one moment, whatever is written meanwhile, and a token to go on from", async () => {
    await using shop = await openShop();
    const { records, transport } = shop.client;
    const streams = createClient(RecordStreams, transport);
    const seen: string[] = [];
    let token = "";
    for await (const part of streams.export({ ...products, where: "" })) {
      if (part.collection !== undefined) {
        token = part.resumeToken;
        assert.equal(part.recordCount, 4n);
        await records.delete({ ...products, id: "pot" });
        await records.create({ ...products, id: "late", item: item({ title: "Late" }) });
      }
      for (const { id, protoData, version } of part.records) {
        seen.push(`${id} ${decodeNote(protoData).title} ${version}`);
      }
    }
    assert.deepEqual(seen, [
      "espresso Espresso machine 1",
      "press French press 2",
      "pot Tea pot 3",
      "huge Vault 4",
    ]);
    const changes: string[] = [];
    for await (const part of streams.watch({ ...products, resumeToken: token })) {
      changes.push(...part.changes.map(({ id }) => id));
      if (changes.length >= 2) break;
    }
    assert.deepEqual(changes, ["pot", "late"]);
    const some: string[] = [];
    for await (const part of streams.export({ ...products, where: 'tags:"coffee"' })) {
      some.push(...part.records.map(({ id }) => id));
    }
    assert.deepEqual(some, ["espresso", "press"]);
  });
});
