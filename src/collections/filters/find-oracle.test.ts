import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { DescMessage } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { CollectorError } from "../../errors.ts";
import { FilterSchema, TextSyntax } from "../../gen/collector/collection_server_pb.ts";
import { defaultLimits as limits } from "../../lib/limits.ts";
import type { Condition } from "../../storage/record-query.ts";
import { indexPath } from "../field-paths.ts";
import { compileProtos, kindsProto } from "../testing/compile.ts";
import { orderCase, structTest, whereCase } from "../testing/find-arbitraries.ts";
import { FindFixture } from "../testing/find-fixture.ts";
import { leaves, recordJson } from "../testing/find-records.ts";
import { naiveList } from "../testing/naive-find.ts";
import { parseOrderBy } from "./order-by.ts";
import { parseFilterMap, parseStructFilter } from "./struct-filter.ts";
import { parseTextQuery } from "./text-query.ts";
import { parseWhere } from "./where.ts";

const recordCount = 120;
const indexesMax = 32;

const kinds = compileProtos({ "kinds.proto": kindsProto }).getMessage(
  "kinds.v1.Kinds",
) as DescMessage;

/** Every path of the cases that can be indexed. */
function indexes(): string[] {
  const paths = leaves.flatMap(({ path }) => {
    try {
      return [indexPath(kinds, path.join("."), "path")];
    } catch (error) {
      assert.ok(error instanceof CollectorError);
      return [];
    }
  });
  return paths.slice(0, indexesMax);
}

describe("filters and orders of requests", () => {
  let plain: FindFixture;
  let indexed: FindFixture;

  before(async () => {
    const records = fc.sample(recordJson, { numRuns: recordCount, seed: 20_260_101 });
    plain = await FindFixture.open({ desc: kinds, records });
    indexed = await FindFixture.open({ desc: kinds, records, indexes: indexes() });
  });

  after(async () => {
    await plain[Symbol.asyncDispose]();
    await indexed[Symbol.asyncDispose]();
  });

  it("find what the naive model finds, in its order, on pages of any size", async () => {
    let telling = 0;
    await fc.assert(
      fc.asyncProperty(
        whereCase,
        orderCase,
        fc.oneof(fc.integer({ min: 9, max: 50 }), fc.constant(1000)),
        fc.boolean(),
        async ({ where, naive }, { text, keys }, pageSize, isIndexed) => {
          const store = isIndexed ? indexed : plain;
          const expected = naiveList(store.naive, naive, keys);
          if (expected.length > 0 && expected.length < recordCount) telling += 1;
          const query = {
            where: parseWhere(where, kinds, limits),
            order: parseOrderBy(text, kinds, { limits }),
          };
          assert.deepEqual(await store.ids(query, pageSize), expected, `${where} | ${text}`);
        },
      ),
      { numRuns: 1500 },
    );
    assert.ok(telling > 1000, `only ${telling} cases tell records apart`);
  });

  it("say the same as a Struct, as a map and as a text", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(structTest, { minLength: 1, maxLength: 3 }),
        fc.boolean(),
        async (cases, isIndexed) => {
          const store = isIndexed ? indexed : plain;
          const byPath = new Map(cases.map((test) => [test.path, test]));
          const parts = [...byPath.values()].map(({ naive }) => naive);
          const expected = naiveList(store.naive, { kind: "and", parts }, []);
          const struct = Object.fromEntries([...byPath].map(([path, test]) => [path, test.struct]));
          const where = parseStructFilter(struct, kinds, "filter", limits);
          const context = cases.map((test) => test.where).join(" AND ");
          assert.deepEqual(await store.ids({ where }), expected, context);
        },
      ),
      { numRuns: 1000 },
    );
  });
});

/** Text near the languages of requests. */
const garbage: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: "binary", maxLength: 60 }),
  fc
    .array(
      fc.constantFrom(
        ...Array.from("()\"'`,.:=<>!*-\\ \0\n😀"),
        "AND",
        "OR",
        "NOT",
        " AND ",
        " OR ",
        "tags",
        "int32_value",
        "created",
        "color",
        "@labels",
        "@id",
        "extra",
        "desc",
        "in(",
        "prefix(",
        "!=",
        "<=",
        "1e999",
        "-5",
        "NaN",
        "null",
        "2026-01-01T00:00:00Z",
        '"a"',
        "title:",
        "abc*",
        "__proto__",
        "constructor",
      ),
      { maxLength: 14 },
    )
    .map((parts) => parts.join("")),
);

function isCleanRefusal(error: unknown): boolean {
  return (
    error instanceof CollectorError &&
    ["QUERY_INVALID", "FIELD_UNKNOWN"].includes(error.reason) &&
    error.violations.length === 1 &&
    error.message.length < 1000
  );
}

function accepts(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch (error) {
    if (isCleanRefusal(error)) return false;
    throw error;
  }
}

describe("garbage in requests", () => {
  it("as a filter text or an order is a condition or a clean error", () => {
    fc.assert(
      fc.property(garbage, (text) => {
        accepts(() => parseWhere(text, kinds, limits));
        accepts(() => parseOrderBy(text, kinds, { limits }));
        accepts(() => parseWhere(`tags:"a" AND ${text}`, kinds, limits));
      }),
      { numRuns: 4000 },
    );
  });

  it("as a filter's path, operator or value is a condition or a clean error", () => {
    const values = fc.oneof(fc.jsonValue(), garbage, fc.double());
    const paths = fc.oneof(garbage, fc.constantFrom(...leaves.map(({ path }) => path.join("."))));
    fc.assert(
      fc.property(
        paths,
        fc.oneof(garbage, fc.integer({ min: -2, max: 12 })),
        values,
        (path, operator, value) => {
          const json = JSON.parse(JSON.stringify({ operator, value: value ?? null }));
          accepts(() => parseStructFilter({ [path]: json }, kinds, "filter", limits));
          accepts(() => parseStructFilter({ [path]: json.value }, kinds, "filter", limits));
          const filter = create(FilterSchema, { value: create(ValueSchema, {}) });
          accepts(() => parseFilterMap({ [path]: filter }, kinds, "filters", limits));
        },
      ),
      { numRuns: 3000 },
    );
  });

  it("as words to search for is always valid if a word is in it", () => {
    const searched = { tokenizer: "words", fields: ["title"] } as const;
    fc.assert(
      fc.property(garbage, (text) => {
        const words = text.split(/[\s\0]+/u).filter((word) => word !== "");
        const isFine = words.length > 0 && words.length <= limits.fullTextTermsMax;
        assert.equal(
          accepts(() => parseTextQuery(text, TextSyntax.WORDS, searched, limits)),
          isFine && Buffer.byteLength(text) <= limits.fullTextBytesMax,
        );
        accepts(() => parseTextQuery(text, TextSyntax.ADVANCED, searched, limits));
      }),
      { numRuns: 3000 },
    );
  });

  it("that a reader accepts runs on the storage", async () => {
    await using store = await FindFixture.open({ desc: kinds, records: [{ tags: ["a"] }] });
    await fc.assert(
      fc.asyncProperty(garbage, async (text) => {
        let where: Condition | undefined;
        if (!accepts(() => (where = parseWhere(text, kinds, limits)))) return;
        assert.ok((await store.ids({ where })).length <= 1);
      }),
      { numRuns: 2000 },
    );
  });
});
