import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { DescMessage, JsonValue } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { defaultLimits as limits } from "../../lib/limits.ts";
import { compileProtos, kindsProto } from "../testing/compile.ts";
import { testOf } from "../testing/find-arbitraries.ts";
import { FindFixture } from "../testing/find-fixture.ts";
import { type Leaf, leaves, recordJson } from "../testing/find-records.ts";
import { type NaiveOperator, naiveList } from "../testing/naive-find.ts";
import { parseStructFilter } from "./struct-filter.ts";

const kinds = compileProtos({ "kinds.proto": kindsProto }).getMessage(
  "kinds.v1.Kinds",
) as DescMessage;

/** Fields of `kinds.v1.Kinds` for each row of the table. */
const pathsOf: Readonly<Record<string, readonly string[]>> = {
  integer: ["int32_value", "int64_value", "uint64_value", "fixed64_value"],
  "`float`, `double`": ["float_value", "double_value"],
  "`bool`": ["bool_value"],
  enum: ["color"],
  "`string`": ["string_value", "child.string_value"],
  "`bytes`": ["bytes_value"],
  "number with presence": ["maybe_int", "choice_number", "boxed_long", "prices.a"],
  "`string` with presence": ["maybe_text", "choice_text", "boxed_text", "labels.a"],
  "Timestamp, Duration": ["created", "length"],
  "Value, ListValue, key of a Struct": ["value", "list", "extra.a"],
  "repeated number, enum": ["ints", "fixed_longs", "colors"],
  "repeated `bool`": ["flags"],
  "repeated `string`": ["tags", "boxed_texts"],
  "number in a repeated message": ["children.int32_value"],
  "`string` in a repeated message": ["children.string_value"],
  map: ["labels"],
  Struct: ["extra"],
  message: ["child"],
  "repeated message": ["children"],
  "`@id`": ["@id"],
};

/** Rows about what the model does not know: values for which some records are found and some not. */
const metaValues: Readonly<Record<string, Readonly<Record<string, JsonValue>>>> = {
  "`@labels.key`": { "@labels.key": "b" },
  "`@version`": { "@version": "60" },
  "`@created_at`, `@updated_at`": {
    "@created_at": "2000-01-01T00:00:00Z",
    "@updated_at": "2000-01-01T00:00:00Z",
  },
};

const naiveOperators: Readonly<Record<string, NaiveOperator>> = {
  EQUALS: "=",
  NOT_EQUALS: "!=",
  GREATER_THAN: ">",
  LESS_THAN: "<",
  GREATER_EQUAL: ">=",
  LESS_EQUAL: "<=",
  CONTAINS: "contains",
  IN: "in",
  EXISTS: "exists",
  NOT_EXISTS: "not exists",
};

/** The table of the page: rows by their first cell, then cells by the operator. */
function readTable(): Map<string, Map<string, string>> {
  const page = readFileSync(join(import.meta.dirname, "../../../docs/search.md"), "utf8");
  const lines = page.split("\n");
  const start = lines.findIndex((line) => line.startsWith("| field | EQUALS |"));
  const cells = (line: string): string[] =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
  const [, ...operators] = cells(lines[start] ?? "");
  const rows = new Map<string, Map<string, string>>();
  for (const line of lines.slice(start + 2)) {
    if (!line.startsWith("|")) break;
    const [name = "", ...row] = cells(line);
    rows.set(name, new Map(operators.map((operator, index) => [operator, row[index] ?? ""])));
  }
  return rows;
}

function leafOf(path: string): Leaf {
  const leaf = leaves.find((candidate) => candidate.path.join(".") === path);
  assert.ok(leaf !== undefined, path);
  return leaf;
}

const table = readTable();

describe("the table of operators and fields in docs/search.md", () => {
  let store: FindFixture;

  before(async () => {
    const records = fc.sample(recordJson, { numRuns: 80, seed: 3 });
    const labels = records.map((_, index) => ({ key: ["a", "b", "bc"][index % 3] ?? "" }));
    store = await FindFixture.open({ desc: kinds, records, labels: labels.slice(0, 70) });
  });

  after(async () => {
    await store[Symbol.asyncDispose]();
  });

  it("has a row for every kind of field and a column for every operator", () => {
    const rows = [...Object.keys(pathsOf), ...Object.keys(metaValues)];
    assert.deepEqual([...table.keys()].sort(), rows.sort());
    for (const row of table.values()) {
      assert.deepEqual([...row.keys()], Object.keys(naiveOperators));
    }
  });

  for (const [name, row] of table) {
    for (const [operator, cell] of row) {
      it(`${operator} on ${name}: ${cell}`, async () => {
        for (const path of pathsOf[name] ?? []) {
          const leaf = leafOf(path);
          if (cell === "no") assertRefused(path, operator, leaf);
          else
            await assertAsModel(store, { ...leaf, operators: [naiveOperators[operator] ?? "="] });
        }
        for (const [path, value] of Object.entries(metaValues[name] ?? {})) {
          if (cell === "no") assertRefused(path, operator, leafOf("string_value"));
          else await assertTelling(store, path, operator, value);
        }
      });
    }
  }
});

function assertRefused(path: string, operator: string, { literals }: Leaf): void {
  for (const { json } of fc.sample(literals, { numRuns: 5, seed: 1 })) {
    const value = operator === "IN" ? [json] : json;
    assert.throws(
      () => parseStructFilter({ [path]: { operator, value } }, kinds, "filter", limits),
      (error: Error) =>
        "reason" in error &&
        error.reason === "QUERY_INVALID" &&
        error.message.startsWith(`filter.${path}: OP_${operator} does not fit "${path}", `) &&
        error.message.includes("; use OP_"),
    );
  }
}

/** The same records as the model finds, and for some value some of them and not all. */
async function assertAsModel(store: FindFixture, leaf: Leaf): Promise<void> {
  let isTelling = false;
  for (const test of fc.sample(testOf(leaf), { numRuns: 20, seed: 2 })) {
    const where = parseStructFilter({ [test.path]: test.struct }, kinds, "filter", limits);
    const expected = naiveList(store.naive, test.naive, []);
    assert.deepEqual(await store.ids({ where }), expected, test.where);
    isTelling ||= expected.length > 0 && expected.length < store.naive.length;
  }
  // Every record has an id.
  assert.ok(
    isTelling || leaf.path[0] === "@id",
    `no case of ${leaf.path.join(".")} tells records apart`,
  );
}

async function assertTelling(
  store: FindFixture,
  path: string,
  operator: string,
  value: JsonValue,
): Promise<void> {
  const given = operator === "IN" ? [value, null] : value;
  const where = parseStructFilter({ [path]: { operator, value: given } }, kinds, "filter", limits);
  const found = await store.ids({ where });
  const [, opposite] =
    [
      ["EQUALS", "NOT_EQUALS"],
      ["NOT_EQUALS", "EQUALS"],
      ["EXISTS", "NOT_EXISTS"],
      ["NOT_EXISTS", "EXISTS"],
    ].find(([one]) => one === operator) ?? [];
  if (opposite !== undefined) {
    const other = parseStructFilter(
      { [path]: { operator: opposite, value } },
      kinds,
      "filter",
      limits,
    );
    assert.equal(found.length + (await store.ids({ where: other })).length, store.naive.length);
  }
  if (path === "@labels.key" || (path === "@version" && !operator.endsWith("EXISTS"))) {
    assert.ok(found.length > 0 && found.length < store.naive.length);
  }
  if (path.endsWith("_at")) {
    const holds = ["NOT_EQUALS", "GREATER_THAN", "GREATER_EQUAL", "EXISTS"].includes(operator);
    assert.equal(found.length, holds ? store.naive.length : 0);
  }
}
