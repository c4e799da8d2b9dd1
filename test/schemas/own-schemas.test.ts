import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type DescField,
  fromBinary,
  fromJsonString,
  getExtension,
  setExtension,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { Edition } from "@bufbuild/protobuf/wkt";
import type { Registry } from "../../src/registry/registry.ts";
import { compile } from "../../src/registry/testing/compile.ts";
import { openRegistry } from "../../src/registry/testing/open-registry.ts";
import { populated } from "./populate.ts";

/** What the public body of schemas has too little of. */
const texts = {
  "own/options.proto": `
    syntax = "proto2";
    package own;
    import "google/protobuf/descriptor.proto";
    message Rule { optional string text = 1; repeated int32 numbers = 2; }
    extend google.protobuf.FieldOptions { optional Rule rule = 50100; }
    extend google.protobuf.MessageOptions { repeated string tags = 50101; }`,
  "own/legacy.proto": `
    syntax = "proto2";
    package own;
    import "own/options.proto";
    message Legacy {
      option (own.tags) = "a";
      option (own.tags) = "b";
      required string name = 1 [(own.rule) = { text: "not empty", numbers: [1, 2] }];
      optional group Part = 2 { optional int32 size = 1; }
      repeated group Piece = 3 { required bytes data = 1; optional Legacy inner = 2; }
      optional int64 big = 4 [default = -9223372036854775808];
      optional double pi = 5 [default = 3.14];
      optional double lots = 6 [default = inf];
      optional string quoted = 7 [default = "a \\"b\\" \\n'c'"];
      optional bytes raw = 8 [default = "\\000\\377"];
      optional Kind kind = 9 [default = SECOND];
      repeated sint32 numbers = 10 [packed = true];
      enum Kind { FIRST = 1; SECOND = 2; NEGATIVE = -1; }
      oneof choice { string text = 11; Kind picked = 12; }
      extensions 100 to 199;
      extend Legacy { optional Legacy nested = 100; }
    }
    extend Legacy { repeated string notes = 101; }`,
  "own/edition2023.proto": `
    edition = "2023";
    package own;
    option features.field_presence = IMPLICIT;
    message Modern {
      int32 implicit = 1;
      int32 explicit = 2 [features.field_presence = EXPLICIT, default = 7];
      string must = 3 [features.field_presence = LEGACY_REQUIRED];
      repeated int32 expanded = 4 [features.repeated_field_encoding = EXPANDED];
      repeated int32 packed = 5;
      Modern delimited = 6 [features.message_encoding = DELIMITED];
      repeated Modern many = 7 [features.message_encoding = DELIMITED];
      map<string, Closed> closed = 8;
      Open open = 9;
      oneof choice { int64 number = 10; bytes data = 11; }
      enum Open { OPEN_ZERO = 0; OPEN_ONE = 1; }
      enum Closed { option features.enum_type = CLOSED; CLOSED_ZERO = 0; CLOSED_TWO = 2; }
    }`,
  "own/edition2024.proto": `
    edition = "2024";
    package own;
    import "own/edition2023.proto";
    message Newest { Modern modern = 1; string title = 2; map<int64, Modern> by_number = 3; }`,
};

async function registered(): Promise<Registry> {
  const { registry } = await openRegistry();
  const files = compile(texts).filter(({ name }) => name in texts);
  const [last, ...dependencies] = files.toReversed();
  const request = { namespace: "default", file: last, dependencies, validateOnly: false };
  const result = await registry.registerFile(request);
  assert.equal(result.files.length, 4);
  return registry;
}

describe("schemas of editions, and of proto2 with all it has", () => {
  it("register and round-trip with every field set, in binary and in JSON", async () => {
    const registry = await registered();
    const { types } = registry.snapshot("default");
    for (const name of ["Rule", "Legacy", "Legacy.Part", "Legacy.Piece", "Modern", "Newest"]) {
      const desc = registry.snapshot("default").message(`own.${name}`);
      for (const value of populated(desc)) {
        const bytes = toBinary(desc, value);
        assert.deepEqual(toBinary(desc, fromBinary(desc, bytes)), bytes, name);
        const json = toJsonString(desc, value, { registry: types });
        const parsed = fromJsonString(desc, json, { registry: types });
        assert.deepEqual(toBinary(desc, parsed), bytes, name);
      }
    }
  });

  it("keep what editions and proto2 say of each field", async () => {
    const registry = await registered();
    const field = (type: string, name: string): DescField => {
      const found = registry
        .snapshot("default")
        .message(type)
        .fields.find((f) => f.name === name);
      assert.ok(found !== undefined, name);
      return found;
    };
    const encoding = (type: string, name: string): unknown[] => {
      const { fieldKind, ...rest } = field(type, name);
      const { delimitedEncoding, packed } = { delimitedEncoding: false, packed: false, ...rest };
      return [fieldKind, delimitedEncoding, packed];
    };
    const defaultOf = (name: string): unknown => {
      const found = field("own.Legacy", name);
      return reflect(found.parent).get(found);
    };
    assert.deepEqual(encoding("own.Modern", "delimited"), ["message", true, undefined]);
    assert.deepEqual(encoding("own.Legacy", "part"), ["message", true, undefined]);
    assert.deepEqual(encoding("own.Modern", "expanded"), ["list", undefined, false]);
    assert.deepEqual(encoding("own.Modern", "packed"), ["list", undefined, true]);
    assert.equal(defaultOf("big"), -9_223_372_036_854_775_808n);
    assert.equal(defaultOf("pi"), 3.14);
    assert.equal(defaultOf("lots"), Number.POSITIVE_INFINITY);
    assert.equal(defaultOf("quoted"), "a \"b\" \n'c'");
    assert.deepEqual(defaultOf("raw"), Uint8Array.of(0, 255));
    assert.equal(defaultOf("kind"), 2);
    const editions = ["own/edition2023.proto", "own/edition2024.proto"].map(
      (name) => registry.getFile("default", name).fileDescriptor?.edition,
    );
    assert.deepEqual(editions, [Edition.EDITION_2023, Edition.EDITION_2024]);
  });

  it("resolve extensions, and keep custom options that are stored as unknown fields", async () => {
    const registry = await registered();
    const { types } = registry.snapshot("default");
    const desc = registry.snapshot("default").message("own.Legacy");
    const notes = types.getExtensionFor(desc, 101);
    assert.equal(notes?.typeName, "own.notes");
    const [value] = populated(desc);
    assert.ok(value !== undefined && notes !== undefined);
    setExtension(value as never, notes, ["one", "two"] as never);
    const json = toJsonString(desc, value, { registry: types });
    assert.match(json, /"\[own.notes\]":\["one","two"\]/);
    const parsed = fromJsonString(desc, json, { registry: types });
    assert.deepEqual(getExtension(parsed as never, notes), ["one", "two"]);

    const rule = types.getExtension("own.rule");
    const options = desc.fields.find(({ name }) => name === "name")?.proto.options;
    assert.ok(rule !== undefined && options !== undefined);
    assert.equal((getExtension(options, rule) as { text?: string }).text, "not empty");
  });
});
