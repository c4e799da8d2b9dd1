import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { type FileIndex, indexFile } from "../schema/file-index.ts";
import { canonicalCopy } from "../schema/normalize.ts";
import { compileFile } from "../testing/compile.ts";
import { breakingChanges } from "./breaking-changes.ts";

const buf = fileURLToPath(new URL("../../../node_modules/.bin/buf", import.meta.url));

interface Case {
  readonly name: string;
  readonly before: string;
  readonly after: string;
}

/** Bodies of one message, in proto3 unless they say otherwise. */
const message = (body: string, head = 'syntax = "proto3";') => `${head} message M { ${body} }`;
const proto2 = 'syntax = "proto2";';
const edition = 'edition = "2023";';
const types = "message A { int32 x = 1; } message B { int32 x = 1; }";
const enums = "enum E { E_ZERO = 0; E_ONE = 1; }";

function fields(name: string, old: string, now: string, head?: string): Case {
  return { name, before: message(old, head), after: message(now, head) };
}

function typed(name: string, old: string, now: string, rest: string, head?: string): Case {
  return {
    name,
    before: `${message(old, head)} ${rest}`,
    after: `${message(now, head)} ${rest}`,
  };
}

function enumCase(name: string, old: string, now: string, head = 'syntax = "proto3";'): Case {
  return { name, before: `${head} enum E { ${old} }`, after: `${head} enum E { ${now} }` };
}

function rpc(name: string, old: string, now: string): Case {
  const file = (body: string) =>
    `syntax = "proto3"; ${types} service S { rpc Keep(A) returns (A); ${body} }`;
  return { name, before: file(old), after: file(now) };
}

const scalarPairs: readonly (readonly [string, string])[] = [
  ["int32", "uint32"],
  ["int32", "int64"],
  ["int32", "sint32"],
  ["int64", "uint64"],
  ["uint64", "sint64"],
  ["fixed32", "sfixed32"],
  ["fixed64", "sfixed64"],
  ["fixed32", "int32"],
  ["fixed32", "fixed64"],
  ["bool", "int32"],
  ["string", "bytes"],
  ["bytes", "string"],
  ["float", "double"],
  ["int32", "float"],
];

const cases: readonly Case[] = [
  fields("a field is added", "int32 a = 1;", "int32 a = 1; string b = 2;"),
  fields("a field is renamed", "int32 a = 1;", "int32 b = 1;"),
  fields("a field is renamed within its JSON name", "int32 a_b = 1;", "int32 aB = 1;"),
  fields("a JSON name is set", "int32 a = 1;", 'int32 a = 1 [json_name = "z"];'),
  fields(
    "a JSON name is set to the default",
    "int32 a_b = 1;",
    'int32 a_b = 1 [json_name = "aB"];',
  ),
  fields("a field is deleted", "int32 a = 1; int32 b = 2;", "int32 a = 1;"),
  fields("a number is reserved", "int32 a = 1; int32 b = 2;", "int32 a = 1; reserved 2;"),
  fields("a name is reserved", "int32 a = 1; int32 b = 2;", 'int32 a = 1; reserved "b";'),
  fields(
    "both are reserved",
    "int32 a = 1; int32 b = 2;",
    'int32 a = 1; reserved 2; reserved "b";',
  ),
  fields("a field gets another number", "int32 a = 1;", "int32 a = 2;"),
  fields("a reserved range grows", "reserved 4 to 6;", "reserved 3 to 9;"),
  fields("a reserved range is split", "reserved 4 to 9;", "reserved 4 to 6, 7 to 9;"),
  fields("a reserved range shrinks", "reserved 4 to 9;", "reserved 4 to 6, 8 to 9;"),
  fields("a reserved range goes", "reserved 4;", ""),
  fields("a reserved name goes", 'reserved "a", "b";', 'reserved "a";'),
  fields("a field becomes repeated", "int32 a = 1;", "repeated int32 a = 1;"),
  fields("a field becomes optional", "int32 a = 1;", "optional int32 a = 1;"),
  fields("a field is no longer optional", "optional string a = 1;", "string a = 1;"),
  fields("a field moves into a oneof", "int32 a = 1;", "oneof o { int32 a = 1; }"),
  fields(
    "a field moves out of a oneof",
    "oneof o { int32 a = 1; int32 b = 2; }",
    "int32 a = 1; oneof o { int32 b = 2; }",
  ),
  fields("a oneof is renamed", "oneof o { int32 a = 1; }", "oneof p { int32 a = 1; }"),
  fields("a oneof grows", "oneof o { int32 a = 1; }", "oneof o { int32 a = 1; int32 b = 2; }"),
  fields(
    "a map becomes a list of other messages",
    "map<string, int32> a = 1;",
    "repeated N a = 1; message N { string key = 1; int32 value = 2; }",
  ),
  fields("a map gets another value", "map<string, int32> a = 1;", "map<string, string> a = 1;"),
  fields(
    "a map gets a compatible value",
    "map<string, int32> a = 1;",
    "map<string, uint32> a = 1;",
  ),
  fields("a map gets another key", "map<string, int32> a = 1;", "map<int32, int32> a = 1;"),
  fields("a map is renamed", "map<string, int32> a = 1;", "map<string, int32> b = 1;"),
  fields("options change", "int32 a = 1;", "int32 a = 1 [deprecated = true];"),
  fields("packing changes", "repeated int32 a = 1;", "repeated int32 a = 1 [packed = false];"),
  ...scalarPairs.map(([old, now]) =>
    fields(`${old} becomes ${now}`, `${old} a = 1;`, `${now} a = 1;`),
  ),
  typed("another message", "A a = 1;", "B a = 1;", types),
  typed("a message becomes bytes", "A a = 1;", "bytes a = 1;", types),
  typed("an enum becomes an int32", "E a = 1;", "int32 a = 1;", enums),
  typed("another enum", "E a = 1;", "F a = 1;", `${enums} enum F { F_ZERO = 0; F_ONE = 1; }`),
  typed(
    "a nested enum of the same name",
    "E a = 1;",
    "N.E a = 1;",
    `${enums} message N { enum E { E_ZERO = 0; E_ONE = 1; E_TWO = 2; } }`,
  ),
  typed(
    "a nested enum with fewer values",
    "E a = 1;",
    "N.E a = 1;",
    `${enums} message N { enum E { E_ZERO = 0; } }`,
  ),
  {
    name: "a message goes",
    before: `syntax = "proto3"; ${types}`,
    after: 'syntax = "proto3"; message A { int32 x = 1; }',
  },
  {
    name: "an enum goes",
    before: `syntax = "proto3"; ${types} ${enums}`,
    after: `syntax = "proto3"; ${types}`,
  },
  {
    name: "a nested message changes",
    before: message("message N { int32 a = 1; }"),
    after: message("message N { string a = 1; }"),
  },
  fields(
    "a required field is added",
    "optional int32 a = 1;",
    "optional int32 a = 1; required int32 b = 2;",
    proto2,
  ),
  fields(
    "a required field becomes optional",
    "required int32 a = 1;",
    "optional int32 a = 1;",
    proto2,
  ),
  fields(
    "a required field is deleted with care",
    "required int32 a = 1;",
    'reserved 1; reserved "a";',
    proto2,
  ),
  fields(
    "a default is added",
    "optional int32 a = 1;",
    "optional int32 a = 1 [default = 3];",
    proto2,
  ),
  fields(
    "a default becomes zero",
    "optional int32 a = 1;",
    "optional int32 a = 1 [default = 0];",
    proto2,
  ),
  fields(
    "a default changes",
    'optional string a = 1 [default = "x"];',
    'optional string a = 1 [default = "y"];',
    proto2,
  ),
  fields(
    "a default changes its escapes",
    'optional bytes a = 1 [default = "\\x41"];',
    'optional bytes a = 1 [default = "A"];',
    proto2,
  ),
  fields(
    "a default is kept by a wider type",
    "optional float a = 1 [default = 0.1];",
    "optional double a = 1 [default = 0.1];",
    proto2,
  ),
  typed(
    "an enum's default changes",
    "optional E a = 1;",
    "optional E a = 1 [default = E_ONE];",
    enums,
    proto2,
  ),
  fields(
    "a group becomes a message",
    "optional group G = 1 { optional int32 x = 1; }",
    "optional G g = 1; message G { optional int32 x = 1; }",
    proto2,
  ),
  fields("an extension range goes", "extensions 100 to 200;", "", proto2),
  typed(
    "an extension changes its type",
    "extensions 100 to 200;",
    "extensions 100 to 200;",
    "",
    proto2,
  ),
  {
    name: "an extension is renamed",
    before: `${message("extensions 100;", proto2)} extend M { optional int32 x = 100; }`,
    after: `${message("extensions 100;", proto2)} extend M { optional int32 y = 100; }`,
  },
  {
    name: "an extension gets another type",
    before: `${message("extensions 100;", proto2)} extend M { optional int32 x = 100; }`,
    after: `${message("extensions 100;", proto2)} extend M { repeated string x = 100; }`,
  },
  {
    name: "an extension goes",
    before: `${message("extensions 100;", proto2)} extend M { optional int32 x = 100; }`,
    after: message("extensions 100;", proto2),
  },
  enumCase("a value is added", "Z = 0;", "Z = 0; A = 1;"),
  enumCase("a value is renamed", "Z = 0; A = 1;", "Z = 0; B = 1;"),
  enumCase("an alias is added", "Z = 0; A = 1;", "option allow_alias = true; Z = 0; A = 1; B = 1;"),
  enumCase("an alias goes", "option allow_alias = true; Z = 0; A = 1; B = 1;", "Z = 0; A = 1;"),
  enumCase("a value is deleted", "Z = 0; A = 1;", "Z = 0;"),
  enumCase("a value's number is reserved", "Z = 0; A = 1;", "Z = 0; reserved 1;"),
  enumCase("a value's name is reserved", "Z = 0; A = 1;", 'Z = 0; reserved "A";'),
  enumCase("a value is deleted with care", "Z = 0; A = 1;", 'Z = 0; reserved 1; reserved "A";'),
  enumCase(
    "an enum's reserved range shrinks",
    "Z = 0; reserved -5 to -1;",
    "Z = 0; reserved -4 to -1;",
  ),
  enumCase("an enum's reserved name goes", 'Z = 0; reserved "A";', "Z = 0;"),
  {
    name: "an enum loses its JSON form",
    before: `${edition} enum E { Z = 0; }`,
    after: `${edition} enum E { option features.json_format = LEGACY_BEST_EFFORT; Z = 0; }`,
  },
  {
    name: "a message loses its JSON form",
    before: `${edition} message M {}`,
    after: `${edition} message M { option features.json_format = LEGACY_BEST_EFFORT; }`,
  },
  {
    name: "a message gains a JSON form",
    before: `${edition} message M { option features.json_format = LEGACY_BEST_EFFORT; }`,
    after: `${edition} message M {}`,
  },
  {
    name: "proto3 becomes proto2",
    before: message("string a = 1;"),
    after: message("optional string a = 1;", proto2),
  },
  {
    name: "proto2 becomes an edition",
    before: message("optional string a = 1;", proto2),
    after: message("string a = 1;", edition),
  },
  typed(
    "a message becomes delimited",
    "A a = 1;",
    "A a = 1 [features.message_encoding = DELIMITED];",
    types,
    edition,
  ),
  fields(
    "presence goes by a feature",
    "int32 a = 1;",
    "int32 a = 1 [features.field_presence = IMPLICIT];",
    edition,
  ),
  rpc("a method is added", "", "rpc New(A) returns (B);"),
  rpc("a method goes", "rpc Old(A) returns (B);", ""),
  rpc("a request type changes", "rpc R(A) returns (A);", "rpc R(B) returns (A);"),
  rpc("a response type changes", "rpc R(A) returns (A);", "rpc R(A) returns (B);"),
  rpc("client streaming starts", "rpc R(A) returns (A);", "rpc R(stream A) returns (A);"),
  rpc("server streaming stops", "rpc R(A) returns (stream A);", "rpc R(A) returns (A);"),
  rpc(
    "a method becomes idempotent",
    "rpc R(A) returns (A);",
    "rpc R(A) returns (A) { option idempotency_level = IDEMPOTENT; }",
  ),
];

/** Every case in a package of its own, so that one run of buf judges all of them. */
function withPackage(text: string, index: number): string {
  return text.replace(/^([^;]*;)/, `$1 package c${index};`);
}

describe("breakingChanges", () => {
  let ours: string[][];
  let theirs: string[][];
  let oursBySide: readonly (readonly [FileIndex, FileIndex])[];

  before(() => {
    const folder = mkdtempSync(join(tmpdir(), "collector-breaking-"));
    try {
      const files = (["before", "after"] as const).map((side) => {
        const root = mkdtempSync(join(folder, side));
        const config = "version: v2\nbreaking:\n  use: [WIRE_JSON]\n";
        writeFileSync(join(root, "buf.yaml"), config);
        for (const [index, item] of cases.entries()) {
          writeFileSync(join(root, `c${index}.proto`), withPackage(item[side], index));
        }
        const built = spawnSync(buf, ["build", root, "-o", "-", "--as-file-descriptor-set"]);
        assert.equal(built.status, 0, built.stderr.toString());
        const set = fromBinary(FileDescriptorSetSchema, built.stdout);
        return { root, files: new Map(set.file.map((file) => [file.name, file])) };
      });
      const [old, now] = files;
      assert.ok(old !== undefined && now !== undefined);
      oursBySide = cases.map((_, index) => {
        const pair = [old, now].map((side) => {
          const file = side.files.get(`c${index}.proto`);
          assert.ok(file !== undefined);
          return indexFile(canonicalCopy(toBinary(FileDescriptorProtoSchema, file)));
        });
        const [a, b] = pair;
        assert.ok(a !== undefined && b !== undefined);
        return [a, b];
      });
      const run = spawnSync(
        buf,
        ["breaking", now.root, "--against", old.root, "--error-format", "json"],
        { encoding: "utf8" },
      );
      assert.equal(run.status, 100, run.stderr);
      theirs = cases.map(() => []);
      for (const line of run.stdout.trim().split("\n")) {
        const { type, message, ...rest } = JSON.parse(line) as Record<string, string>;
        const index = Number(/c(\d+)\.proto/.exec(JSON.stringify(rest))?.[1]);
        assert.ok(type !== undefined, message);
        theirs[index]?.push(type);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    ours = oursBySide.map(([a, b]) =>
      breakingChanges(a, b, {
        before: (name) => a.types.get(name),
        after: (name) => b.types.get(name),
      }).map(({ rule }) => rule),
    );
  });

  for (const [index, { name }] of cases.entries()) {
    it(`judges like buf: ${name}`, () => {
      assert.deepEqual(rules(ours[index]), rules(theirs[index]));
    });
  }

  it("was asked about changes of every rule but that of packages", () => {
    const seen = new Set(theirs.flat());
    assert.equal(seen.size, 21, [...seen].sort().join());
    assert.ok(theirs.filter((list) => list.length === 0).length >= 20);
  });

  it("names the element and what changed", () => {
    const index = cases.findIndex(({ name }) => name === "a field is renamed");
    const [a, b] = oursBySide[index] ?? [];
    assert.ok(a !== undefined && b !== undefined);
    const around = { before: () => undefined, after: (name: string) => b.types.get(name) };
    const [change] = breakingChanges(a, b, around);
    assert.deepEqual(change, {
      rule: "FIELD_SAME_NAME",
      description: `field c${index}.M.a, number 1, changed its name to b`,
    });
  });

  it("sees a field that a feature makes required, which buf's rule on required fields does not", () => {
    const feature = "[features.field_presence = LEGACY_REQUIRED]";
    const old = compileFile("m.proto", message("int32 a = 1;", edition));
    const now = compileFile("m.proto", message(`int32 a = 1; int32 b = 2 ${feature};`, edition));
    const [a, b] = [old, now].map((file) => indexFile(file));
    assert.ok(a !== undefined && b !== undefined);
    const around = { before: () => undefined, after: (name: string) => b.types.get(name) };
    assert.deepEqual(
      breakingChanges(a, b, around).map(({ rule }) => rule),
      ["MESSAGE_SAME_REQUIRED_FIELDS"],
    );
  });

  it("refuses another package", () => {
    const [a] = oursBySide[0] ?? [];
    assert.ok(a !== undefined);
    const other = indexFile({ ...a.file, package: "other" });
    const none = { before: () => undefined, after: () => undefined };
    assert.deepEqual(
      breakingChanges(a, other, none).map(({ rule }) => rule),
      ["FILE_SAME_PACKAGE"],
    );
  });
});

/** A rule may be reported once per element; which rules there are is the verdict. */
function rules(found: readonly string[] | undefined): string[] {
  return [...new Set(found)].sort();
}
