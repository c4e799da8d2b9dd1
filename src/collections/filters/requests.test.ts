import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type DescMessage, type JsonObject } from "@bufbuild/protobuf";
import {
  FilterOperator,
  FilterSchema,
  TextSyntax,
} from "../../gen/collector/collection_server_pb.ts";
import { defaultLimits as limits } from "../../lib/limits.ts";
import type { Condition, OrderKey, TextMatch } from "../../storage/record-query.ts";
import { indexPath } from "../field-paths.ts";
import { compileProtos, kindsProto } from "../testing/compile.ts";
import { readFacet } from "./facets.ts";
import { parseOrderBy } from "./order-by.ts";
import { parseFilterMap, parseStructFilter } from "./struct-filter.ts";
import { parseTextQuery, type SearchedText } from "./text-query.ts";

const kinds = compileProtos({ "kinds.proto": kindsProto }).getMessage(
  "kinds.v1.Kinds",
) as DescMessage;

/** That a reader refuses its input, naming the argument. */
function refuses(read: () => unknown, field: string, message: RegExp): void {
  assert.throws(read, (error: Error & { violations?: { field: string }[] }) => {
    assert.equal(error.violations?.[0]?.field, field);
    assert.match(error.message, message);
    return true;
  });
}

function filter(json: JsonObject): Condition {
  return parseStructFilter(json, kinds, "filter", limits);
}

describe("a filter by path", () => {
  it("takes operators by name, short name and number", () => {
    const expected = filter({ int32_value: { operator: "OP_LESS_THAN", value: 5 } });
    for (const operator of ["LESS_THAN", "less_than", 3]) {
      assert.deepEqual(filter({ int32Value: { operator, value: 5 } }), expected);
    }
    assert.deepEqual(
      parseFilterMap(
        {
          int32_value: create(FilterSchema, {
            operator: FilterOperator.OP_LESS_THAN,
            value: { kind: { case: "stringValue", value: "5" } },
          }),
        },
        kinds,
        "filters",
        limits,
      ),
      expected,
    );
  });

  it("holds always if it is empty, and for none of no values", () => {
    assert.deepEqual(filter({}), { kind: "always" });
    assert.deepEqual(filter({ tags: { operator: "IN", value: [] } }), { kind: "never" });
  });

  it("names the path, the operator or the value that is wrong", () => {
    refuses(() => filter({ "child.colr": "RED" }), "filter.child.colr", /did you mean color/);
    refuses(
      () => filter({ color: { operator: "LES_THAN" } }),
      "filter.color.operator",
      /did you mean OP_LESS_THAN/,
    );
    refuses(
      () => filter({ color: { operator: 10 } }),
      "filter.color.operator",
      /there is no operator "10"; there are OP_EQUALS/,
    );
    refuses(
      () => filter({ color: { operator: "IN", value: 1 } }),
      "filter.color.value",
      /OP_IN needs one/,
    );
    refuses(() => filter({ color: { operator: "LESS_THAN" } }), "filter.color.value", /is missing/);
    refuses(() => filter({ color: [1] }), "filter.color.value", /only OP_IN compares with one/);
    refuses(() => filter({ color: { op: "IN" } }), "filter.color", /has "op"; send a value, or/);
    refuses(() => filter({ color: {} }), "filter.color", /empty object/);
    refuses(
      () => filter({ int64_value: 2 ** 53 }),
      "filter.int64_value",
      /beyond 2\^53, where numbers are not exact; send the integer as a string/,
    );
    refuses(
      () => filter({ int64_value: 0.5 }),
      "filter.int64_value",
      /the number 0.5 is no value of an int64/,
    );
    refuses(
      () =>
        parseFilterMap(
          { tags: create(FilterSchema, { operator: 77 as FilterOperator }) },
          kinds,
          "filters",
          limits,
        ),
      'filters["tags"].operator',
      /there is no operator/,
    );
  });

  it("is bounded in values and their length", () => {
    refuses(
      () => filter({ tags: { operator: "IN", value: Array(201).fill("a") } }),
      "filter",
      /over 200/,
    );
    refuses(
      () => filter({ tags: "x".repeat(3501) }),
      "filter",
      /3501 characters, the limit is 3500/,
    );
  });
});

describe("an order", () => {
  const order = (text: string, ascendingDefault?: boolean): OrderKey[] =>
    parseOrderBy(text, kinds, {
      limits,
      ...(ascendingDefault === undefined ? {} : { ascendingDefault }),
    });

  it("has paths and directions", () => {
    assert.deepEqual(
      order("int32_value desc,labels.`a, b` ASC , @id").map(({ descending }) => descending),
      [true, false, false],
    );
    assert.deepEqual(
      order("int32_value, color asc", false).map(({ descending }) => descending),
      [true, false],
    );
    assert.deepEqual(order(" "), []);
    const [key] = order("child.int32Value");
    assert.ok(key?.source.kind === "field" && key.source.index === "child.int32_value");
  });

  it("refuses what has no one place in it, names twice, and SQL", () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ["tags", /cannot be sorted by "tags": it is repeated/],
      ["children.color", /goes through a repeated field/],
      ["child", /it is a kinds.v1.Kinds; name a field in it/],
      ["labels", /it is a map; name a key/],
      ["@labels", /name a key, as in @labels.team/],
      ["color, int32_value,color desc", /at character 20: "color" is there twice/],
      ["color,,int32_value", /at character 7: nothing is no key/],
      ["color downwards", /"color downwards" is no key; send a path, then asc or desc/],
      ["colr", /did you mean color/],
      ["(SELECT 1)", /is no key/],
      ["color; DROP TABLE record", /is no key/],
      ["color COLLATE NOCASE", /is no key/],
      ["1", /has no field "1"/],
      [
        ["a", "b", "c", "d", "e", "f", "g", "h", "i"].map((key) => `labels.${key}`).join(),
        /over 8 keys/,
      ],
      ["x".repeat(3501), /has 3501 characters/],
    ];
    for (const [text, message] of cases) refuses(() => order(text), "order_by", message);
  });
});

describe("a search text", () => {
  const fields: SearchedText = { tokenizer: "words", fields: ["title", "body"] };
  const words = (text: string, searched = fields): TextMatch =>
    parseTextQuery(text, TextSyntax.WORDS, searched, limits);
  const advanced = (text: string, searched = fields): TextMatch =>
    parseTextQuery(text, TextSyntax.ADVANCED, searched, limits);
  const term = (text: string, more: { prefix?: boolean; field?: string } = {}): TextMatch => ({
    kind: "term",
    text,
    prefix: more.prefix ?? false,
    field: more.field,
  });

  it("takes words literally", () => {
    assert.deepEqual(words(' a\0AND\u0001 "b* '), {
      kind: "and",
      matches: [term("a"), term("AND\u0001"), term('"b*')],
    });
    assert.deepEqual(words("oak"), term("oak"));
    refuses(() => words(" \n"), "full_text", /no word/);
    refuses(() => words("a ".repeat(17)), "full_text", /at character 33: there are over 16 words/);
    refuses(() => words("x".repeat(513)), "full_text", /has 513 bytes, the limit is 512/);
  });

  it("refuses words that trigrams cannot find", () => {
    const trigram: SearchedText = { tokenizer: "trigram", fields: [""] };
    refuses(
      () => words("table ab", trigram),
      "full_text",
      /at character 7: "ab" has 2 characters; .*send 3 or more/,
    );
    refuses(() => advanced('table AND "a"', trigram), "full_text", /at character 11/);
    assert.deepEqual(words("東京都", trigram), term("東京都"));
  });

  it("in the advanced syntax has operators, phrases, prefixes and fields", () => {
    assert.deepEqual(advanced("a b OR c"), {
      kind: "or",
      matches: [{ kind: "and", matches: [term("a"), term("b")] }, term("c")],
    });
    assert.deepEqual(advanced("a AND (b OR c)"), {
      kind: "and",
      matches: [term("a"), { kind: "or", matches: [term("b"), term("c")] }],
    });
    assert.deepEqual(advanced("a NOT b NOT c"), {
      kind: "butNot",
      match: term("a"),
      without: { kind: "or", matches: [term("b"), term("c")] },
    });
    assert.deepEqual(advanced('title:"oak table" body:tab*'), {
      kind: "and",
      matches: [
        term("oak table", { field: "title" }),
        term("tab", { prefix: true, field: "body" }),
      ],
    });
    assert.deepEqual(advanced('"AND"'), term("AND"));
    assert.deepEqual(advanced("ANDROID"), term("ANDROID"));
  });

  it("in the advanced syntax is refused where the mistake is", () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ["", /at character 1: the text ends; a word is missing/],
      ["NOT a", /at character 1: NOT needs something beside it/],
      ["a OR NOT b", /at character 6: NOT needs/],
      ["a AND (NOT b)", /at character 8: NOT needs/],
      ["a AND", /at character 6: the text ends/],
      ["a OR OR b", /at character 6: found "OR" where a word should be/],
      ["(a", /a "\)" for the "\(" at character 1 is missing/],
      ["a)", /at character 2: found "\)"/],
      ['a "b', /at character 3: the " has no end/],
      ['""', /no word between the quotes/],
      ["ab*", /"ab\*" begins too many words; put 3 or more/],
      ["*", /at character 1: found "\*"/],
      ["abc* abd* abe* abf* abg*", /over 4 words end in \*/],
      ["titel:a", /"titel" is no text field; did you mean title\?/],
      [
        "12:30",
        /"12" is no text field; there are title, body; a word with a : in it has to stand in quotes/,
      ],
      ["title:", /the text ends; a word after the : is missing/],
      [`${"(".repeat(33)}a${")".repeat(33)}`, /nested deeper than 32/],
      [`"${"a ".repeat(17)}"`, /over 16 words/],
    ];
    for (const [text, message] of cases) refuses(() => advanced(text), "full_text", message);
    refuses(() => parseTextQuery("a", 9 as TextSyntax, fields, limits), "text_syntax", /is 9/);
  });
});

describe("a facet", () => {
  const options = {
    indexed: ["color", "uint64_value", "tags"],
    valuesMax: 10,
    argument: "facets[0]",
  };

  it("answers values as JSON has them", () => {
    const color = readFacet("color", kinds, options);
    assert.equal(color.query.index, "color");
    assert.equal(color.toJson(1n), "RED");
    assert.equal(color.toJson(9n), 9);
    const long = readFacet("uint64Value", kinds, options);
    assert.equal(long.toJson(-(2n ** 63n) + 5n), 5);
    assert.equal(long.toJson(2n ** 63n - 1n), "18446744073709551615");
    assert.equal(readFacet("tags", kinds, options).toJson("a"), "a");
  });

  it("is refused for a field without an index", () => {
    refuses(
      () => readFacet("flags", kinds, options),
      "facets[0]",
      /"flags" is not indexed.*did you mean tags|there are color/,
    );
    refuses(() => readFacet("@id", kinds, options), "facets[0]", /is not indexed/);
  });
});

describe("the path of an index", () => {
  it("goes to and through repeated fields, and into JSON", () => {
    const path = (given: string): string => indexPath(kinds, given, "indexed_fields[0]");
    assert.equal(path("children.int32Value"), "children.int32_value");
    assert.equal(path("tags"), "tags");
    assert.equal(path("extra.a.b"), "extra.a.b");
    assert.equal(path("by_number.01.tags"), "by_number.1.tags");
    for (const given of ["child", "labels", "children", "extra", "labels.`a.b`"]) {
      refuses(() => path(given), "indexed_fields[0]", /cannot be indexed/);
    }
    refuses(() => path("created.seconds"), "indexed_fields[0]", /has no fields inside/);
  });
});
