import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  CollectionSchema,
  TextSearch_Tokenizer,
  VectorField_Metric,
} from "../gen/collector/collection_pb.ts";
import { defaultLimits } from "../lib/limits.ts";
import { checkDefinition, layoutOf, newDefinition } from "./definitions.ts";
import { testTypes } from "./testing/fixture.ts";
import { GivenTypes } from "./testing/types.ts";

const types = new GivenTypes();
types.set("default", testTypes);

function check(init: MessageInitShape<typeof CollectionSchema>, type = "kinds.v1.Kinds") {
  const collection = create(CollectionSchema, {
    namespace: "default",
    name: "c",
    messageType: { messageName: type },
    ...init,
  } as MessageInitShape<typeof CollectionSchema>);
  return checkDefinition(collection, types, defaultLimits);
}

function refuses(
  init: MessageInitShape<typeof CollectionSchema>,
  field: string,
  why: RegExp,
): void {
  assert.throws(
    () => check(init),
    (error: { violations: { field: string; description: string }[] }) => {
      const [violation] = error.violations;
      assert.equal(violation?.field, `collection.${field}`);
      assert.match(violation?.description ?? "", why);
      return true;
    },
  );
}

describe("a definition", () => {
  it("answers what it left to the server, and paths in proto names", () => {
    const checked = check({
      textSearch: {
        fields: [
          { path: "stringValue" },
          { path: "children.tags", weight: 2.5 },
          { path: "labels" },
          { path: "extra.`a.b`.c" },
          { path: "byNumber.5.stringValue" },
          { path: "any" },
        ],
      },
      vectorFields: [
        { name: "inside", path: "child.doubles", dimensions: 3 },
        { name: "beside", dimensions: 4096, metric: VectorField_Metric.L2 },
      ],
      expiry: { when: { case: "timestampField", value: "child.created" } },
    });
    const definition = newDefinition(checked, "id", 0n);
    assert.equal(definition.textSearch?.tokenizer, TextSearch_Tokenizer.WORDS);
    assert.deepEqual(
      definition.textSearch?.fields.map(({ path, weight }) => [path, weight]),
      [
        ["string_value", 1],
        ["children.tags", 2.5],
        ["labels", 1],
        ["extra.`a.b`.c", 1],
        ["by_number.5.string_value", 1],
        ["any", 1],
      ],
    );
    assert.equal(definition.vectorFields[0]?.metric, VectorField_Metric.COSINE);
    const { text, vectors } = layoutOf(definition);
    assert.equal(text?.tokenizer, "words");
    assert.deepEqual(vectors, [
      { name: "inside", dimensions: 3, metric: "cosine" },
      { name: "beside", dimensions: 4096, metric: "l2" },
    ]);
  });

  it("looks at all text if it does not say, and at none if it says so", () => {
    const all = layoutOf(newDefinition(check({}), "id", 0n));
    assert.deepEqual(all.text, { tokenizer: "words", fields: [{ name: "", weight: 1 }] });
    const none = layoutOf(newDefinition(check({ textSearch: { disabled: true } }), "id", 0n));
    assert.equal(none.text, undefined);
  });

  it("names the field that is wrong, and what is near", () => {
    const text = "text_search.fields[0]";
    const fields = (path: string, weight = 0) => ({ textSearch: { fields: [{ path, weight }] } });
    refuses(fields("strin_value"), `${text}.path`, /did you mean string_value/);
    refuses(fields("int32_value"), `${text}.path`, /holds no text/);
    refuses(fields("created"), `${text}.path`, /holds no text/);
    refuses(fields(""), `${text}.path`, /names no field/);
    refuses(fields("tags", 101), `${text}.weight`, /is 101; send 0.01 to 100/);
    refuses(fields("tags", Number.NaN), `${text}.weight`, /is NaN/);
    refuses(
      { textSearch: { fields: [{ path: "boxed_text" }, { path: "boxedText" }] } },
      "text_search.fields[1].path",
      /as fields\[0\] does/,
    );
    const many = Array.from({ length: 17 }, (_, index) => ({ path: `labels.k${index}` }));
    refuses({ textSearch: { fields: many } }, "text_search.fields", /17 fields, the limit is 16/);
    refuses({ textSearch: { tokenizer: 9 as 1 } }, "text_search.tokenizer", /is 9; send TOKENIZER/);

    const vector = (init: object) => ({ vectorFields: [{ name: "v", dimensions: 3, ...init }] });
    refuses(vector({ name: "" }), "vector_fields[0].name", /is missing/);
    refuses(vector({ name: "V" }), "vector_fields[0].name", /is no name/);
    refuses(vector({ dimensions: 0 }), "vector_fields[0].dimensions", /send 1 to 4096/);
    refuses(vector({ dimensions: 4097 }), "vector_fields[0].dimensions", /send 1 to 4096/);
    refuses(vector({ metric: 7 }), "vector_fields[0].metric", /is 7/);
    refuses(vector({ path: "ints" }), "vector_fields[0].path", /no repeated float.*doubles/);
    refuses(vector({ path: "double" }), "vector_fields[0].path", /did you mean doubles/);
    refuses(vector({ path: "children.doubles" }), "vector_fields[0].path", /several/);
    const twice = { name: "v", dimensions: 1 };
    refuses({ vectorFields: [twice, twice] }, "vector_fields[1].name", /as vector_fields\[0\]/);

    const time = (value: string) => ({
      expiry: { when: { case: "timestampField", value } } as const,
    });
    refuses(time("createt"), "expiry.timestamp_field", /did you mean created/);
    refuses(time("length"), "expiry.timestamp_field", /no google.protobuf.Timestamp/);
    refuses(time("children.created"), "expiry.timestamp_field", /several/);
    refuses({ expiry: {} }, "expiry", /needs timestamp_field or time_to_live/);
    const nanos = { seconds: 0n, nanos: 999_999_999 };
    refuses(
      { expiry: { when: { case: "timeToLive", value: nanos } } },
      "expiry.time_to_live",
      /1s/,
    );
  });

  it("takes paths into JSON where the type is JSON", () => {
    const { textSearch } = check(
      { textSearch: { fields: [{ path: "title" }, { path: "author.name" }] } },
      "google.protobuf.Struct",
    );
    assert.deepEqual(
      textSearch?.fields.map(({ path }) => path),
      ["title", "author.name"],
    );
  });
});
