import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { momentOf, nanosOf } from "./find-times.ts";
import type { NaiveOperator, NaiveValue } from "./naive-find.ts";

/** A value in every way that a request can say it. */
export interface Literal {
  readonly value: NaiveValue;
  /** In a filter text. */
  readonly text: string;
  /** In a Struct. */
  readonly json: JsonValue;
}

/** A field that filters are made for. */
export interface Leaf {
  readonly path: readonly string[];
  readonly literals: fc.Arbitrary<Literal>;
  readonly operators: readonly NaiveOperator[];
  /** Records can be sorted by it. */
  readonly isSortable: boolean;
}

const equality: readonly NaiveOperator[] = ["=", "!=", "in", "exists", "not exists"];
const ordering: readonly NaiveOperator[] = [...equality, "<", "<=", ">", ">="];
const textual: readonly NaiveOperator[] = [...ordering, "contains", "prefix", "substring"];

function literal(
  value: NaiveValue,
  json: number | string | boolean,
  ...texts: string[]
): fc.Arbitrary<Literal> {
  return fc
    .constantFrom(...texts, JSON.stringify(String(json)))
    .map((text) => ({ value, json, text }));
}

const ints = [-2, -1, 0, 1, 2, 7, 2147483647, -2147483648];
const longs = [
  "0",
  "1",
  "-1",
  "9007199254740992",
  "9007199254740993",
  "9223372036854775807",
  "-9223372036854775808",
];
const unsigned = [
  "0",
  "1",
  "9007199254740993",
  "9223372036854775807",
  "9223372036854775808",
  "18446744073709551615",
];
const doubles = [0, 1, -1, 0.1, 1.5, 2 ** 53, 2 ** 60, 2 ** 63, -(2 ** 63), 1e300, -1e-7];
const floats = [0, 1, -1.5, 0.1, 3.4e38, 1e-20];
const odd = ["NaN", "Infinity", "-Infinity"];
const texts = [
  "",
  "a",
  "A",
  "ab",
  "abc",
  "b%",
  "%",
  "_",
  "a_",
  "é",
  "😀",
  "\uffee",
  'q"q',
  "it's",
  "b\\c",
  "null",
  "5",
  "true",
  "*",
  "x\n",
  "a.b",
  "NOT",
];
const blobs = ["", "AA==", "AAE=", "/w==", "//4="];
const times = [
  "2026-01-01T00:00:00Z",
  "2026-01-01T00:00:00.000000001Z",
  "1969-12-31T23:59:59.5Z",
  "2026-06-30T12:00:00Z",
];
const durations = ["0s", "1.5s", "-1.5s", "0.000000001s", "86400s"];
const colors = ["COLOR_UNSPECIFIED", "RED", "BLUE", "NEGATIVE"];
const colorNumbers = [0, 1, 2, -1];

const int: fc.Arbitrary<Literal> = fc
  .constantFrom(...ints)
  .chain((value) => literal({ kind: "number", value }, value, String(value)));
const long: fc.Arbitrary<Literal> = fc
  .constantFrom(...longs)
  .chain((value) => literal({ kind: "number", value: BigInt(value) }, value, value));
const uint64: fc.Arbitrary<Literal> = fc
  .constantFrom(...unsigned)
  .chain((value) => literal({ kind: "number", value: BigInt(value) }, value, value));
const oddNumber = fc
  .constantFrom(...odd)
  .chain((text) => literal({ kind: "number", value: Number(text) }, text, text));
const double: fc.Arbitrary<Literal> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .constantFrom(...doubles)
      .chain((value) => literal({ kind: "number", value }, value, ...plain(value))),
  },
  { weight: 1, arbitrary: oddNumber },
);
const float: fc.Arbitrary<Literal> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .constantFrom(...floats)
      .chain((value) =>
        literal({ kind: "number", value: Math.fround(value) }, value, ...plain(value)),
      ),
  },
  { weight: 1, arbitrary: oddNumber },
);
const text: fc.Arbitrary<Literal> = fc.constantFrom(...texts).map((value) => ({
  value: { kind: "text", value },
  json: value,
  text: JSON.stringify(value),
}));
const bool: fc.Arbitrary<Literal> = fc
  .boolean()
  .chain((value) => literal({ kind: "bool", value }, value, String(value)));
const bytes: fc.Arbitrary<Literal> = fc.constantFrom(...blobs).map((base64) => ({
  value: { kind: "bytes", value: Buffer.from(base64, "base64") },
  json: base64.replaceAll("/", "_"),
  text: JSON.stringify(base64.replace(/=+$/, "")),
}));
const time: fc.Arbitrary<Literal> = fc
  .constantFrom(...times)
  .chain((value) =>
    literal(
      { kind: "time", value: momentOf(value) },
      value,
      value,
      JSON.stringify(value.replace("Z", "+00:00")),
    ),
  );
const duration: fc.Arbitrary<Literal> = fc
  .constantFrom(...durations)
  .chain((value) => literal({ kind: "duration", value: nanosOf(value) }, value, value));
const color: fc.Arbitrary<Literal> = fc.nat(3).chain((index) => {
  const value = colorNumbers[index] ?? 0;
  const name = colors[index] ?? "";
  return fc
    .constantFrom<string | number>(name, value)
    .chain((json) => literal({ kind: "number", value }, json, name, String(value)));
});
const jsonNumbers = doubles.filter((value) => value !== 0.1);
const json: fc.Arbitrary<Literal> = fc.oneof(
  text,
  fc.boolean().map((value) => ({
    value: { kind: "bool" as const, value },
    json: value,
    text: String(value),
  })),
  fc.constantFrom(...jsonNumbers).map((value) => ({
    value: { kind: "number" as const, value },
    json: value,
    text: String(value),
  })),
);

/** A number bare in a filter text, with an exponent or without. */
function plain(value: number): string[] {
  return [String(value), value.toExponential()];
}

function leaf(
  path: string,
  literals: fc.Arbitrary<Literal>,
  operators: readonly NaiveOperator[],
  isSortable = true,
): Leaf {
  return { path: path.split("/"), literals, operators, isSortable };
}

/** Fields of `kinds.v1.Kinds`. */
export const leaves: readonly Leaf[] = [
  leaf("int32_value", int, ordering),
  leaf("int64_value", long, ordering),
  leaf("uint64_value", uint64, ordering),
  leaf("fixed64_value", uint64, ordering),
  leaf("double_value", double, ordering),
  leaf("float_value", float, ordering),
  leaf("bool_value", bool, equality),
  leaf("string_value", text, textual),
  leaf("bytes_value", bytes, ordering),
  leaf("color", color, ordering),
  leaf("maybe_int", int, ordering),
  leaf("maybe_text", text, textual),
  leaf("created", time, ordering),
  leaf("length", duration, ordering),
  leaf("boxed_long", long, ordering),
  leaf("boxed_text", text, textual),
  leaf("choice_text", text, textual),
  leaf("choice_number", long, ordering),
  leaf("value", json, textual),
  leaf("extra/a", json, textual),
  leaf("extra/a/b", json, textual, false),
  leaf("extra/odd.key", json, textual),
  leaf("list", json, textual),
  leaf("child/int32_value", int, ordering),
  leaf("child/string_value", text, textual),
  leaf("child/child/bool_value", bool, equality),
  leaf("child/doubles", double, [...ordering, "contains"], false),
  leaf("labels/a", text, textual),
  leaf("labels/odd.key", text, textual),
  leaf("prices/a", double, ordering),
  leaf("by_long/18446744073709551615", bytes, ordering),
  leaf("by_number/-1/string_value", text, textual),
  leaf("by_flag/true", color, ordering),
  leaf("ints", int, [...ordering, "contains"], false),
  leaf("fixed_longs", uint64, [...ordering, "contains"], false),
  leaf("tags", text, textual, false),
  leaf("colors", color, [...ordering, "contains"], false),
  leaf("flags", bool, [...equality, "contains"], false),
  leaf("boxed_texts", text, textual, false),
  leaf("children/int32_value", int, ordering, false),
  leaf("children/string_value", text, textual, false),
  leaf("children/tags", text, textual, false),
  leaf("children/child/maybe_int", int, ordering, false),
  leaf("labels", text, ["exists", "not exists", "contains"], false),
  leaf("child", text, ["exists", "not exists"], false),
  leaf("children", text, ["exists", "not exists"], false),
  leaf("extra", text, ["exists", "not exists", "contains"], false),
  leaf(
    "@id",
    fc.constantFrom("r0", "r1", "r19", "", "r").map((value) => ({
      value: { kind: "text", value },
      json: value,
      text: JSON.stringify(value),
    })),
    textual,
  ),
];

const maybe = <T extends JsonValue>(values: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(values, { nil: undefined, freq: 3 });
const looseJson: fc.Arbitrary<JsonValue> = fc.oneof(
  fc.constantFrom<JsonValue>(...texts, ...jsonNumbers, true, false, null),
  fc.array(fc.constantFrom<JsonValue>("a", "ab", 1, 2 ** 60, true, null, ["a", 1]), {
    maxLength: 3,
  }),
  fc.record({ b: fc.constantFrom<JsonValue>("a", 1, null, ["a", 2], false) }),
  fc.array(fc.record({ b: fc.constantFrom<JsonValue>("a", 1, false) }), { maxLength: 2 }),
);

/** The JSON of a record, out of few values, so that filters find some. */
export const recordJson: fc.Arbitrary<JsonObject> = kindsJson(2);

function kindsJson(depth: number): fc.Arbitrary<JsonObject> {
  const some = fc.record({
    int32Value: maybe(fc.constantFrom(...ints)),
    int64Value: maybe(fc.constantFrom(...longs)),
    uint64Value: maybe(fc.constantFrom(...unsigned)),
    fixed64Value: maybe(fc.constantFrom(...unsigned)),
    doubleValue: maybe(fc.constantFrom<JsonValue>(...doubles, ...odd)),
    floatValue: maybe(fc.constantFrom<JsonValue>(...floats, ...odd)),
    boolValue: maybe(fc.boolean()),
    stringValue: maybe(fc.constantFrom(...texts)),
    bytesValue: maybe(fc.constantFrom(...blobs)),
    color: maybe(fc.constantFrom(...colors)),
    maybeInt: maybe(fc.constantFrom(...ints)),
    maybeText: maybe(fc.constantFrom(...texts)),
    ints: maybe(fc.array(fc.constantFrom(...ints), { maxLength: 3 })),
    tags: maybe(fc.array(fc.constantFrom(...texts), { maxLength: 3 })),
    doubles: maybe(fc.array(fc.constantFrom<JsonValue>(...doubles, ...odd), { maxLength: 2 })),
  });
  const more = fc.record({
    created: maybe(fc.constantFrom(...times)),
    length: maybe(fc.constantFrom(...durations)),
    boxedLong: maybe(fc.constantFrom(...longs)),
    boxedText: maybe(fc.constantFrom(...texts)),
    value: maybe(looseJson),
    extra: maybe(fc.record({ a: looseJson, "odd.key": looseJson }, { requiredKeys: [] })),
    list: maybe(fc.array(looseJson, { maxLength: 3 })),
    labels: maybe(
      fc.dictionary(fc.constantFrom("a", "odd.key", "%"), fc.constantFrom(...texts), {
        maxKeys: 2,
      }),
    ),
    prices: maybe(
      fc.record({ a: fc.constantFrom<JsonValue>(...doubles, ...odd) }, { requiredKeys: [] }),
    ),
    byLong: maybe(
      fc.record({ "18446744073709551615": fc.constantFrom(...blobs) }, { requiredKeys: [] }),
    ),
    byFlag: maybe(fc.record({ true: fc.constantFrom(...colors) }, { requiredKeys: [] })),
    fixedLongs: maybe(fc.array(fc.constantFrom(...unsigned), { maxLength: 2 })),
    colors: maybe(fc.array(fc.constantFrom(...colors), { maxLength: 2 })),
    flags: maybe(fc.array(fc.boolean(), { maxLength: 2 })),
    boxedTexts: maybe(fc.array(fc.constantFrom(...texts), { maxLength: 2 })),
  });
  const choice = fc.oneof(
    fc.constant({}),
    fc.record({ choiceText: fc.constantFrom(...texts) }),
    fc.record({ choiceNumber: fc.constantFrom(...longs) }),
  );
  if (depth === 0) return fc.tuple(some, choice).map(merged);
  const inner = kindsJson(depth - 1);
  const nested = fc.record({
    child: maybe(inner),
    children: maybe(fc.array(inner, { maxLength: 2 })),
    byNumber: maybe(fc.record({ "-1": inner }, { requiredKeys: [] })),
  });
  return fc.tuple(some, choice, more, nested).map(merged);
}

/** JSON without what is not there. */
function merged(parts: readonly object[]): JsonObject {
  return JSON.parse(JSON.stringify(Object.assign({}, ...parts))) as JsonObject;
}
