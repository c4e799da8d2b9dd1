import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, describe, it, type TestContext } from "node:test";
import {
  create,
  type DescMessage,
  fromBinary,
  fromJsonString,
  type Message,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { defaultLimits } from "../../src/lib/limits.ts";
import type { Registry } from "../../src/registry/registry.ts";
import { openRegistry } from "../../src/registry/testing/open-registry.ts";
import { populated } from "./populate.ts";

const root = join(import.meta.dirname, "../../node_modules/google-proto-files");
const buf = join(import.meta.dirname, "../../node_modules/.bin/buf");
const python = "/usr/bin/python3";

/** Folders of the package, chosen for their variety: hundreds of files with all they import. */
const folders = [
  "api",
  "rpc",
  "type",
  "longrunning",
  "iam",
  "logging",
  "monitoring",
  "firestore",
  "datastore",
  "bigtable",
  "spanner",
  "pubsub",
  "chat",
  "container",
  "analytics",
  "storage",
  "devtools",
  "cloud/aiplatform/v1",
  "cloud/dialogflow/cx",
  "cloud/bigquery",
  "cloud/kms",
];

/** More than a namespace may hold by default, so the limits are raised as a configuration would. */
const limits = {
  ...defaultLimits,
  descriptorBytesMax: 4 * 1024 * 1024,
  typesPerNamespaceMax: 20_000,
  fieldsPerNamespaceMax: 100_000,
};

interface Example {
  readonly desc: DescMessage;
  readonly message: Message;
  readonly bytes: Uint8Array;
  readonly json: string;
}

describe("a large body of public schemas", () => {
  let files: readonly FileDescriptorProto[];
  let registry: Registry;
  let examples: readonly Example[];

  before(async () => {
    const paths = folders.flatMap((folder) => ["--path", `google/${folder}`]);
    const built = spawnSync(
      buf,
      ["build", root, ...paths, "--as-file-descriptor-set", "--exclude-source-info", "-o", "-"],
      { cwd: root, maxBuffer: 256 * 1024 * 1024 },
    );
    assert.equal(built.status, 0, built.stderr.toString());
    files = fromBinary(FileDescriptorSetSchema, built.stdout).file;
    ({ registry } = await openRegistry({ limits }));
  });

  it("has what schemas can have", () => {
    const all = files.flatMap((file) => file.messageType);
    const depth = new Map<string, number>();
    for (const file of files) {
      const deepest = Math.max(0, ...file.dependency.map((name) => depth.get(name) ?? 0));
      depth.set(file.name, deepest + 1);
    }
    assert.ok(files.length > 500, `${files.length} files`);
    assert.ok(Math.max(...depth.values()) >= 6, "imports are not deep");
    assert.ok(all.some(({ oneofDecl }) => oneofDecl.length > 0));
    assert.ok(all.some(({ nestedType }) => nestedType.some(({ options }) => options?.mapEntry)));
    assert.ok(
      all.some(({ options }) => (options?.$unknown?.length ?? 0) > 0),
      "custom options",
    );
    assert.ok(files.some(({ syntax }) => syntax === "proto3"));
    assert.ok(files.some(({ syntax }) => syntax === "" || syntax === "proto2"));
  });

  it("registers file by file, each after its imports", async () => {
    for (const file of files) {
      const request = { namespace: "default", file, dependencies: [], validateOnly: false };
      await registry.registerFile(request);
    }
  });

  it("reads back as it went in, byte by byte", () => {
    const { file } = registry.closure("default", [], []);
    const back = new Map(file.map((one) => [one.name, toBinary(FileDescriptorProtoSchema, one)]));
    const ours = files.filter(({ name }) => !registry.getFile("default", name).builtIn);
    assert.ok(files.length - ours.length < 20, "too many are built in");
    for (const one of ours) {
      assert.deepEqual(back.get(one.name), toBinary(FileDescriptorProtoSchema, one), one.name);
    }
    const seen = new Set<string>();
    for (const one of file) {
      assert.ok(
        one.dependency.every((name) => seen.has(name)),
        `${one.name} is before an import`,
      );
      seen.add(one.name);
    }
  });

  it("round-trips every message type with every field set, in binary and in JSON", (context) => {
    const { types } = registry.snapshot("default");
    const found: Example[] = [];
    for (const file of files) {
      for (const desc of messagesOf(registry, file)) {
        for (const message of populated(desc)) {
          const bytes = toBinary(desc, message);
          const json = toJsonString(desc, message, { registry: types });
          assert.deepEqual(toBinary(desc, fromBinary(desc, bytes)), bytes, desc.typeName);
          const parsed = fromJsonString(desc, json, { registry: types });
          assert.deepEqual(toBinary(desc, parsed), bytes, desc.typeName);
          found.push({ desc, message, bytes, json });
        }
      }
    }
    assert.ok(found.length > 5000, `${found.length} messages`);
    const count = new Set(found.map(({ desc }) => desc)).size;
    context.diagnostic(`${files.length} files, ${count} types, ${found.length} messages`);
    examples = found;
  });

  it("means the same to Python's protobuf, in binary and in JSON", (context) => {
    if (!hasPython(context)) return;
    const answers = askPython(registry, examples);
    assert.equal(answers.length, examples.length);
    for (const [index, { desc, bytes, json }] of examples.entries()) {
      const answer = answers[index];
      assert.ok(Array.isArray(answer), `${desc.typeName}: ${String(answer)}\n${json}`);
      const [fromBytes, fromJson, theirs] = answer as [string, string, string];
      // Their bytes may order maps differently, so they are compared as we read them.
      const ours = Buffer.from(bytes).toString("base64");
      for (const other of [fromBytes, fromJson]) {
        const again = toBinary(desc, fromBinary(desc, Buffer.from(other, "base64")));
        assert.equal(
          sameMaps(desc, again),
          sameMaps(desc, Buffer.from(ours, "base64")),
          desc.typeName,
        );
      }
      assert.deepEqual(JSON.parse(theirs), JSON.parse(json), desc.typeName);
    }
  });
});

/** The JSON form with sorted keys, which hides the order of maps and nothing else. */
function sameMaps(desc: DescMessage, bytes: Uint8Array): string {
  return JSON.stringify(sorted(fromBinary(desc, bytes)));
}

function sorted(value: unknown): unknown {
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.entries(value)
    .map(([key, item]) => [key, sorted(item)])
    .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
}

function messagesOf(registry: Registry, file: FileDescriptorProto): DescMessage[] {
  const snapshot = registry.snapshot("default");
  const record = registry.getFile("default", file.name);
  return record.messageNames.map((name) => snapshot.message(name));
}

function hasPython(context: TestContext): boolean {
  const probe = spawnSync(python, ["-c", "import google.protobuf"]);
  if (probe.status === 0) return true;
  const why = "python3-protobuf is not installed";
  if (process.env["CI"] !== undefined) throw new Error(why);
  context.skip(why);
  return false;
}

function askPython(registry: Registry, examples: readonly Example[]): unknown[] {
  const folder = mkdtempSync(join(tmpdir(), "collector-schemas-"));
  try {
    const set = registry.closure("default", [], []);
    const duration = registry.closure("default", ["google/protobuf/duration.proto"], []);
    const names = new Set(set.file.map(({ name }) => name));
    const all = [...set.file, ...duration.file.filter(({ name }) => !names.has(name))];
    const path = join(folder, "files.binpb");
    const value = create(FileDescriptorSetSchema, { file: all });
    writeFileSync(path, toBinary(FileDescriptorSetSchema, value));
    const input = examples
      .map(({ desc, bytes, json }) =>
        JSON.stringify([desc.typeName, Buffer.from(bytes).toString("base64"), json]),
      )
      .join("\n");
    const script = join(import.meta.dirname, "compare.py");
    const run = spawnSync(python, [script, path], {
      input,
      encoding: "utf8",
      maxBuffer: 512 * 1024 * 1024,
      env: { PYTHONIOENCODING: "utf-8" },
    });
    assert.equal(run.status, 0, run.stderr);
    return run.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
