import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DescMessage } from "@bufbuild/protobuf";
import { defaultLimits as limits } from "../../lib/limits.ts";
import type { Condition } from "../../storage/record-query.ts";
import { compileProtos, kindsProto, legacyProto } from "../testing/compile.ts";
import { parseWhere } from "./where.ts";

const types = compileProtos({ "kinds.proto": kindsProto, "legacy.proto": legacyProto });
const kinds = types.getMessage("kinds.v1.Kinds") as DescMessage;
const legacy = types.getMessage("legacy.v1.Legacy") as DescMessage;

function where(text: string, desc = kinds): Condition {
  return parseWhere(text, desc, limits);
}

/** Both texts mean the same. */
function same(text: string, other: string): void {
  assert.deepEqual(where(text), where(other));
}

function refused(text: string, message: string | RegExp, reason = "QUERY_INVALID"): void {
  assert.throws(
    () => where(text),
    (error: Error & { reason?: string; violations?: { field: string }[] }) => {
      assert.equal(error.reason, reason);
      assert.equal(error.violations?.[0]?.field, "where");
      if (typeof message === "string") assert.equal(error.message, `where: ${message}`);
      else assert.match(error.message, message);
      return true;
    },
  );
}

const a = 'tags = "a"';
const b = 'tags = "b"';
const c = 'tags = "c"';

describe("a filter text", () => {
  it("holds always if it is empty", () => {
    assert.deepEqual(where(""), { kind: "always" });
    assert.deepEqual(where(" \n "), { kind: "always" });
  });

  it("binds OR tighter than AND, and AND as tight as nothing between", () => {
    same(`${a} AND ${b} OR ${c}`, `${a} AND (${b} OR ${c})`);
    same(`${a} OR ${b} AND ${c}`, `(${a} OR ${b}) AND ${c}`);
    same(`${a} ${b} OR ${c}`, `${a} AND (${b} OR ${c})`);
    same(`(${a})(${b})`, `${a} AND ${b}`);
  });

  it("negates one condition by NOT or a minus", () => {
    same(`NOT ${a} ${b}`, `(NOT ${a}) AND ${b}`);
    same(`-${a} OR -${b}`, `(NOT (${a})) OR NOT(${b})`);
    same(`-(${a} ${b})`, `NOT (${a} AND ${b})`);
    same("int32_value = -5", "int32_value=-5");
  });

  it("names keys with dots in quotes or backticks, and fields by either name", () => {
    same('labels."a.b" = x', "labels.`a.b` = x");
    same("labels.'a' = x", "labels.a = x");
    same("int32Value = 1", "int32_value = 1");
    same("by_number.-1:*", 'exists(by_number."-1")');
    same("@labels.a.b = x", '@labels."a.b" = x');
  });

  it("takes bare words for strings, enums, times and numbers", () => {
    same("string_value = Hugo", 'string_value = "Hugo"');
    same("string_value = 1.5", "string_value = '1.5'");
    same("color = RED", "color = 1");
    same("created > 2026-01-01T00:00:00+02:00", 'created > "2025-12-31T22:00:00Z"');
    same("value = 5", "value = 5.0");
    assert.notDeepEqual(where("value = 5"), where('value = "5"'));
    same("string_value = null", "NOT exists(string_value)");
    assert.notDeepEqual(where('string_value = "null"'), where("string_value = null"));
  });

  it("reads escapes in strings", () => {
    same(String.raw`string_value = "a\"\u0041\\"`, `string_value = 'a"A\\\\'`);
    refused(
      String.raw`string_value = "\x"`,
      /^where: at character 17: "\\\\x" is no escape; there are/,
    );
    refused(String.raw`string_value = "\ud800"`, /half a character/);
  });

  it("means presence by :*, an item or a key by :, and otherwise equality", () => {
    same("child:*", "exists(child)");
    same("tags:a", "tags = a");
    same("string_value:a", "string_value = a");
    assert.deepEqual(where("labels:a"), {
      kind: "exists",
      source: {
        kind: "field",
        steps: [
          { kind: "member", name: "labels" },
          { kind: "member", name: "a" },
        ],
        index: undefined,
      },
    });
    // A star is only a character in quotes.
    same('tags:"*"', 'tags = "*"');
  });

  it("goes into groups and closed enums of proto2", () => {
    assert.deepEqual(where("part.inner.on = true AND level = HIGH", legacy), {
      kind: "and",
      conditions: [
        {
          kind: "compare",
          source: {
            kind: "field",
            steps: ["part", "inner", "on"].map((name) => ({ kind: "member", name })),
            index: "part.inner.on",
          },
          operator: "eq",
          value: true,
        },
        {
          kind: "compare",
          source: { kind: "field", steps: [{ kind: "member", name: "level" }], index: "level" },
          operator: "eq",
          value: 2n,
        },
      ],
    });
  });

  it("names the index of a path through repeated fields", () => {
    const condition = where("children.tags = a");
    assert.ok(condition.kind === "compare" && condition.source.kind === "field");
    assert.equal(condition.source.index, "children.tags");
  });

  it("compares times of the record, which are whole microseconds, by the nanosecond", () => {
    const source = { kind: "meta", name: "created" } as const;
    const at = (operator: string): Condition =>
      where(`@created_at ${operator} 1970-01-01T00:00:00.0000015Z`);
    assert.deepEqual(at("<"), { kind: "compare", source, operator: "le", value: 1n });
    assert.deepEqual(at("<="), { kind: "compare", source, operator: "le", value: 1n });
    assert.deepEqual(at(">"), { kind: "compare", source, operator: "gt", value: 1n });
    assert.deepEqual(at(">="), { kind: "compare", source, operator: "gt", value: 1n });
    assert.deepEqual(at("="), { kind: "never" });
    assert.deepEqual(where("@updated_at = 1969-12-31T23:59:59.999999Z"), {
      kind: "compare",
      source: { kind: "meta", name: "updated" },
      operator: "eq",
      value: -1n,
    });
  });
});

describe("a mistake in a filter text", () => {
  it("is named with its character, what stands there and what would be valid", () => {
    refused("(int32_value <)", 'at character 15: found ")" where a value after < should be');
    refused("int32_value =", "at character 14: the text ends; a value after = is missing");
    refused(
      "(tags:a",
      'at character 8: the text ends; a ")" for the "(" at character 1 is missing',
    );
    refused(
      "tags:a)",
      'at character 7: found ")" where AND, OR, another condition or the end should be',
    );
    refused(
      "tags:a AND",
      'at character 11: the text ends; a condition, as in name = "x" is missing',
    );
    refused(
      "AND tags:a",
      'at character 1: found "AND" where a condition, as in name = "x" should be',
    );
    refused('tags:"😀" AND tags:"a', 'at character 19: the " has no end');
    refused("tags = (a OR b)", /at character 8: a list of values is no value; write in\(/);
  });

  it("is a word without a field", () => {
    refused(
      "hugo",
      /^where: at character 1: "hugo" is no condition by itself; compare.*full_text$/,
    );
    refused("bool_value", /no condition by itself/);
  });

  it("is a field that the type lacks, and near ones are named", () => {
    refused(
      "int32_valu = 1",
      /at character 1: unknown path "int32_valu": .*did you mean int32_value/,
      "FIELD_UNKNOWN",
    );
    refused(
      "tags:a child.colr = RED",
      /^where: at character 8: .*did you mean color\?$/,
      "FIELD_UNKNOWN",
    );
    refused("@creatd_at = 1", /did you mean @created_at/, "FIELD_UNKNOWN");
    refused("int32_value.x = 1", /has no fields inside/, "FIELD_UNKNOWN");
    refused("created.seconds = 1", /has no fields inside/, "FIELD_UNKNOWN");
    refused("by_number.x.color = RED", /"x" is no key of a map by int32/, "FIELD_UNKNOWN");
    refused("any.value = 1", /only its @type can be named/, "FIELD_UNKNOWN");
    refused(`${"child.".repeat(32)}color = RED`, /has 33 names, the limit is 32/, "FIELD_UNKNOWN");
  });

  it("is a value that the field cannot have", () => {
    refused(
      "int32_value < 5000000000",
      /at character 15: "5000000000" is no value of an int32; send an integer from -2147483648 to 2147483647/,
    );
    refused("uint64_value = -1", /from 0 to 18446744073709551615/);
    refused("int64_value = 1.5", /is no value of an int64/);
    refused("color = REDD", /has no value "REDD"; did you mean RED\?/);
    refused("bool_value = 1", /send true or false/);
    refused("created > 2026-02-30T00:00:00Z", /send RFC 3339/);
    refused("created > 2026-01-01", /send RFC 3339/);
    refused("length = 5", /send seconds, as in 1.5s/);
    refused("bytes_value = 'a'", /send base64/);
    refused("float_value = 1e39", /beyond the range of a float/);
    refused("double_value = 1e400", /is no value of a double/);
    refused("@version = x", /is no value of an int64/);
    refused("int32_value < null", /null has no place in </);
  });

  it("is an operator that does not fit the field", () => {
    refused(
      "child = 1",
      /= does not fit "child", a kinds.v1.Kinds; use exists\(\), NOT exists\(\), or name a field in it/,
    );
    refused("bool_value < true", /< does not fit "bool_value", a bool; use =, !=, in\(\), :, /);
    refused('prefix(int32_value, "1")', /prefix\(\) does not fit "int32_value", an int32/);
    refused("labels = a", /does not fit "labels", a map; use .*or name a key in it/);
    refused("@labels = a", /name a key, as in @labels.team/);
    refused("substring(value, 5)", /only text has parts/);
    refused("value < true", /true and false have no order/);
  });

  it("is a function that there is not, or is used wrongly", () => {
    refused('prefx(tags, "a")', /there is no function "prefx"; did you mean prefix\?/);
    refused("prefix(tags)", /found "\)" where "," and a value should be/);
    refused('prefix(tags, "a", "b")', /found "," where "\)" should be/);
    refused("exists(tags) = true", /is a condition by itself/);
    refused("in()", /found "\)" where a field should be/);
  });

  it("is too much of anything", () => {
    refused(" ".repeat(3501), "has 3501 characters, the limit is 3500");
    refused(
      `${"(".repeat(33)}tags:a${")".repeat(33)}`,
      /at character 33: parentheses are nested deeper than 32/,
    );
    assert.ok(where(`${"(".repeat(32)}tags:a${")".repeat(32)}`));
    refused(Array(201).fill("tags:a").join(" "), /over 200 values to compare with/);
    refused(`in(tags${",a".repeat(201)})`, /over 200 values to compare with/);
    assert.ok(where(Array(200).fill("tags:a").join(" ")));
  });
});
