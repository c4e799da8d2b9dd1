import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { createFileRegistry, fromBinary, toJson } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type FieldDescriptorProto,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  type FileDescriptorSet,
  FileDescriptorSetSchema,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { type CompiledFile, compileProtos } from "./compiler.ts";
import { ProtoCompileError } from "./problem.ts";

const fixtures = join(import.meta.dirname, "fixtures");
const repository = join(import.meta.dirname, "../../..");

/** What buf makes of the files in a folder, or of those below some paths in it. */
function buildWithBuf(folder: string, paths: readonly string[]): FileDescriptorSet {
  const out = mkdtempSync(join(tmpdir(), "collector-buf-"));
  try {
    const file = join(out, "set.binpb");
    const buf = join(repository, "node_modules/.bin/buf");
    const only = paths.flatMap((path) => ["--path", path]);
    const how = ["--as-file-descriptor-set", "--exclude-source-info"];
    execFileSync(buf, ["build", ".", ...only, ...how, "-o", file], { cwd: folder });
    return fromBinary(FileDescriptorSetSchema, readFileSync(file));
  } finally {
    rmSync(out, { recursive: true });
  }
}

function compileFolder(folder: string, files: readonly string[]): Promise<CompiledFile[]> {
  return compileProtos({
    files,
    find: async (name) =>
      files.includes(name) ? { text: await readFile(join(folder, name), "utf8") } : undefined,
  });
}

function compileText(
  text: string,
  others: Readonly<Record<string, string>> = {},
): Promise<CompiledFile[]> {
  const sources: Readonly<Record<string, string>> = { ...others, "shop.proto": text };
  return compileProtos({
    files: ["shop.proto"],
    find: async (name) => {
      const source = sources[name];
      return source === undefined ? undefined : { text: source };
    },
  });
}

/** buf writes the default of a float with the digits of a double, protoc and we with those needed. */
function roundDefaults(file: FileDescriptorProto): void {
  const round = (field: FieldDescriptorProto): void => {
    if (field.defaultValue === "" || (field.type !== Type.FLOAT && field.type !== Type.DOUBLE))
      return;
    const value = Number(field.defaultValue.replace("inf", "Infinity"));
    field.defaultValue = String(field.type === Type.FLOAT ? Math.fround(value) : value);
  };
  const visit = (message: DescriptorProto): void => {
    [...message.field, ...message.extension].forEach(round);
    message.nestedType.forEach(visit);
  };
  file.extension.forEach(round);
  file.messageType.forEach(visit);
}

/** Compares as JSON, with custom options resolved, for buf orders those as they come. */
async function assertSameAsBuf(folder: string, paths: readonly string[] = []): Promise<number> {
  const expected = buildWithBuf(folder, paths);
  const registry = createFileRegistry(expected);
  const names = expected.file
    .map(({ name }) => name)
    .filter((name) => !name.startsWith("google/protobuf/"));
  const actual = new Map(
    (await compileFolder(folder, names)).map(({ proto }) => [proto.name, proto]),
  );
  for (const want of expected.file) {
    if (!names.includes(want.name)) continue;
    const got = actual.get(want.name);
    assert.ok(got !== undefined, want.name);
    roundDefaults(want);
    roundDefaults(got);
    assert.deepEqual(
      toJson(FileDescriptorProtoSchema, got, { registry }),
      toJson(FileDescriptorProtoSchema, want, { registry }),
    );
  }
  return names.length;
}

async function problemsOf(
  text: string,
  others?: Readonly<Record<string, string>>,
): Promise<string> {
  try {
    await compileText(text, others);
  } catch (error) {
    if (error instanceof ProtoCompileError) return error.message;
    throw error;
  }
  return "";
}

describe("compileProtos", () => {
  it("makes the same descriptors as buf of proto2, proto3 and editions with everything in them", async () => {
    assert.equal(await assertSameAsBuf(fixtures), 5);
  });

  it("makes the same descriptors as buf of the contract", async () => {
    assert.ok((await assertSameAsBuf(join(repository, "proto"))) >= 14);
  });

  it("makes the same descriptors as buf of several hundred files of Google's APIs", async () => {
    const apis = join(repository, "node_modules/google-proto-files");
    const paths = [
      "google/pubsub",
      "google/bigtable",
      "google/spanner",
      "google/maps",
      "google/iam",
    ];
    assert.ok((await assertSameAsBuf(apis, paths)) >= 200);
  });

  it("returns each file once, behind what it imports", async () => {
    const compiled = await compileText('syntax = "proto3"; import "a.proto"; import "b.proto";', {
      "a.proto": 'syntax = "proto3"; import "b.proto";',
      "b.proto": 'syntax = "proto3"; import "google/protobuf/any.proto";',
    });
    assert.deepEqual(
      compiled.map(({ proto, origin, requested }) => [proto.name, origin, requested]),
      [
        ["google/protobuf/any.proto", "well-known", false],
        ["b.proto", "text", false],
        ["a.proto", "text", false],
        ["shop.proto", "text", true],
      ],
    );
  });

  const failures: readonly (readonly [string, string, string])[] = [
    [
      "names the place of a misspelt type and the likely one",
      'syntax = "proto3";\nmessage Product {\n  strng title = 1;\n}',
      "shop.proto:3:3 cannot find `strng`; did you mean string?",
    ],
    [
      "reports a missing semicolon where it belongs",
      'syntax = "proto3";\nmessage Product {\n  string title = 1\n}',
      "shop.proto:3:19 expects `;` here",
    ],
    [
      "suggests a free number for one used twice",
      'syntax = "proto3";\nmessage A {\n  string a = 1;\n  string b = 1;\n}',
      "shop.proto:4:14 number 1 of `b` is that of `a` already; 2 is free",
    ],
    [
      "suggests the statement that was meant",
      'syntax = "proto3";\nmesage A {}',
      "shop.proto:2:1 expects a message, enum, service or other definition, not `mesage`; did you mean message?",
    ],
    [
      "reports an unknown option with the likely one",
      'syntax = "proto3";\noption java_pakage = "x";',
      "shop.proto:2:8 `google.protobuf.FileOptions` has no field `java_pakage`; did you mean java_package?",
    ],
    [
      "reports a value of the wrong type for an option",
      'syntax = "proto3";\nmessage A { string a = 1 [deprecated = 1]; }',
      "shop.proto:2:40 `deprecated` expects true or false",
    ],
    [
      "reports an import that is not there",
      'syntax = "proto3";\nimport "google/protobuf/timestmp.proto";',
      'shop.proto:2:8 cannot find import "google/protobuf/timestmp.proto"; did you mean "google/protobuf/timestamp.proto"?',
    ],
    [
      "asks for zero as the first value of an enum",
      'syntax = "proto3";\nenum E {\n  A = 1;\n}',
      "shop.proto:3:7 the first value of enum `E` has to be 0",
    ],
    [
      "reports the same name defined twice",
      'syntax = "proto3";\nmessage A {}\nmessage A {}',
      "shop.proto:3:9 defines `A`, which is a message already",
    ],
    [
      "refuses to nest without end",
      `syntax = "proto3"; ${"message A {".repeat(70)}`,
      "shop.proto:1:735 nests deeper than 64 levels",
    ],
  ];
  for (const [sentence, text, expected] of failures) {
    it(sentence, async () => {
      assert.equal(await problemsOf(text), expected);
    });
  }

  it("says which file has a type that is not imported", async () => {
    const problems = await problemsOf(
      'syntax = "proto3"; import "a.proto";\nmessage P { Price price = 1; }',
      {
        "a.proto": 'syntax = "proto3"; import "b.proto";',
        "b.proto": 'syntax = "proto3"; message Price {}',
      },
    );
    assert.equal(
      problems,
      "shop.proto:2:13 cannot find `Price`: `Price` is in b.proto, which is not imported",
    );
  });

  it("reports imports in a circle", async () => {
    const problems = await problemsOf('syntax = "proto3"; import "a.proto";', {
      "a.proto": 'syntax = "proto3";\nimport "shop.proto";',
    });
    assert.equal(problems, "a.proto:2:8 imports in a circle: shop.proto → a.proto → shop.proto");
  });

  it("knows no types by the names that every JavaScript object has", async () => {
    const text = 'syntax = "proto3"; message A { toString a = 1; constructor b = 2; }';
    assert.match(await problemsOf(text), /cannot find `toString`[^]*cannot find `constructor`/);
  });

  it("reports several problems at once", async () => {
    const problems = await problemsOf('syntax = "proto3"; message A { X x = 1; Y y = 2; }');
    assert.equal(problems.split("\n").length, 2);
  });

  it("answers any text with descriptors or with problems", async () => {
    const words = [
      "message",
      "A",
      "{",
      "}",
      "=",
      "1",
      ";",
      "string",
      '"x"',
      "[",
      "]",
      "option",
      "(",
      ")",
    ];
    const more = [
      "repeated",
      "map",
      "<",
      ">",
      ",",
      ".",
      "-",
      "oneof",
      "enum",
      "rpc",
      "service",
      "to",
      "max",
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string(),
          fc.array(fc.constantFrom(...words, ...more)).map((tokens) => tokens.join(" ")),
        ),
        async (text) => {
          await problemsOf(`syntax = "proto3"; ${text}`);
        },
      ),
      { numRuns: 300 },
    );
  });
});
