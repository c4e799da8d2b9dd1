import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { DescFile } from "@bufbuild/protobuf";
import { file_collector_collection } from "../../src/gen/collector/collection_pb.ts";
import { file_collector_collection_repo } from "../../src/gen/collector/collection_repo_pb.ts";
import { file_collector_collection_server } from "../../src/gen/collector/collection_server_pb.ts";
import { file_collector_common } from "../../src/gen/collector/common_pb.ts";
import { file_collector_console } from "../../src/gen/collector/console_pb.ts";
import { file_collector_dispatcher } from "../../src/gen/collector/dispatcher_pb.ts";
import { file_collector_registry } from "../../src/gen/collector/registry_pb.ts";
import { file_collector_worker } from "../../src/gen/collector/worker_pb.ts";
import { type Contract, describeFiles, findDifferences, parseContract } from "./contract.ts";

const contractFiles: readonly DescFile[] = [
  file_collector_collection,
  file_collector_collection_repo,
  file_collector_collection_server,
  file_collector_common,
  file_collector_console,
  file_collector_dispatcher,
  file_collector_registry,
  file_collector_worker,
];

const markdown = await readFile(new URL("wire-contract.md", import.meta.url), "utf8");
const root = new URL("../../", import.meta.url);
const run = promisify(execFile);
const buf = fileURLToPath(new URL("node_modules/.bin/buf", root));

describe("the contract's tables", () => {
  it("are read in full", () => {
    const contract = parseContract(markdown);
    const methodCount = [...contract.services.values()].flat().length;
    const fieldRows = markdown.match(/^\| \d+ \| `\w+` \| [^|]+ \| \w+ \|/gm)?.length;
    const fieldCount = [...contract.messages.values()].reduce((sum, m) => sum + m.size, 0);
    assert.equal(contract.services.size, 6);
    assert.equal(methodCount, 38);
    assert.equal(contract.messages.size, markdown.match(/^\*\*`/gm)?.length);
    assert.equal(fieldCount, fieldRows);
    assert.equal(contract.enums.size, 7);
    assert.equal(contract.imports.size, contractFiles.length);
    assert.equal(
      contract.messages.get("CollectionData")?.get(2),
      "data: singular bytes in oneof content, JSON data",
    );
    assert.ok(
      contract.services
        .get("CollectionRepo")
        ?.includes("PullCollection(PullCollectionRequest) returns (stream PullCollectionChunk)"),
    );
  });
});

describe("our descriptors", () => {
  it("hold to the contract: package, services, messages, fields, enums", () => {
    for (const file of contractFiles) {
      assert.equal(file.proto.package, "collector");
      assert.equal(file.proto.syntax, "proto3");
    }
    assert.deepEqual(findDifferences(parseContract(markdown), describeFiles(contractFiles)), []);
  });

  it("stream in exactly two methods", () => {
    const streaming = contractFiles
      .flatMap((file) => file.services)
      .flatMap((service) => service.methods)
      .filter((method) => method.methodKind !== "unary")
      .map((method) => `${method.name} ${method.methodKind}`);
    assert.deepEqual(streaming, [
      "PushCollection client_streaming",
      "PullCollection server_streaming",
    ]);
  });

  it("only grow: buf finds nothing broken since the last released image", async () => {
    const image = fileURLToPath(new URL("released.binpb", import.meta.url));
    await run(buf, ["breaking", "--against", image], { cwd: root });
  });
});

describe("the comparison", () => {
  const breaks: readonly [string, (actual: Contract) => void, RegExp][] = [
    ["a missing service", (c) => c.services.delete("CollectorConsole"), /CollectorConsole/],
    ["a missing method", (c) => c.services.get("CollectionService")?.pop(), /Invoke.*|missing/],
    [
      "a method of ours in a service of the contract",
      (c) => c.services.get("CollectionService")?.push("Watch(A) returns (B)"),
      /Watch.*expected none/,
    ],
    [
      "a method that streams",
      (c) => c.services.get("CollectionService")?.splice(4, 1, "List(A) returns (stream B)"),
      /method 5/,
    ],
    ["a missing message", (c) => c.messages.delete("Filter"), /message Filter is missing/],
    ["a missing field", (c) => c.messages.get("GetRequest")?.delete(3), /GetRequest, number 3/],
    [
      "a renamed field",
      (c) => c.messages.get("GetRequest")?.set(3, "key: singular string, JSON key"),
      /GetRequest, number 3: key/,
    ],
    [
      "a field of ours below 50",
      (c) => c.messages.get("Collection")?.set(7, "x: singular string, JSON x"),
      /Collection, number 7.*from 50 up/,
    ],
    ["a missing enum value", (c) => c.enums.get("Status.Code")?.delete(14), /Status\.Code/],
    ["a moved message", (c) => c.files.set("Filter", "common.proto"), /Filter is in common/],
    ["a lost import", (c) => c.imports.set("common.proto", []), /does not import/],
  ];
  for (const [name, breakIt, expected] of breaks) {
    it(`finds ${name}`, () => {
      const actual = describeFiles(contractFiles);
      breakIt(actual);
      const differences = findDifferences(parseContract(markdown), actual);
      assert.notEqual(differences.length, 0);
      assert.match(differences.join("\n"), expected);
    });
  }

  it("finds a changed type, label, oneof, JSON name and value in the tables", () => {
    const edits: readonly [string, string][] = [
      ["| 7 | `similarity_threshold` | float |", "| 7 | `similarity_threshold` | double |"],
      ["| 5 | `update_mask` | string | repeated |", "| 5 | `update_mask` | string | singular |"],
      ["| bytes | singular | `content` |", "| bytes | singular |  |"],
      ["`serverVersion`", "`version`"],
      ["OP_IN=7", "OP_IN=17"],
      ["| map<string, double> |", "| map<string, float> |"],
    ];
    for (const [from, to] of edits) {
      assert.ok(markdown.includes(from), from);
      const changed = parseContract(markdown.replace(from, to));
      assert.notDeepEqual(findDifferences(changed, describeFiles(contractFiles)), [], to);
    }
  });

  it("lets fields from 50 up, messages and services be added", () => {
    const actual = describeFiles(contractFiles);
    actual.messages.get("Collection")?.set(500, "x: singular string, JSON x");
    actual.messages.set("Ours", new Map([[1, "x: singular string, JSON x"]]));
    actual.services.set("Ours", []);
    assert.deepEqual(findDifferences(parseContract(markdown), actual), []);
  });

  it("of buf finds a field that is gone", async () => {
    const folder = await mkdtemp(join(tmpdir(), "collector-contract-"));
    try {
      await cp(new URL("proto", root), join(folder, "proto"), { recursive: true });
      await cp(new URL("buf.yaml", root), join(folder, "buf.yaml"));
      const path = join(folder, "proto/collector/collection_server.proto");
      const source = await readFile(path, "utf8");
      await writeFile(
        path,
        source.replace("message MetaRequest {}", "message MetaRequest { string gone = 60; }"),
      );
      await run(buf, ["build", "-o", "earlier.binpb"], { cwd: folder });
      await assert.rejects(
        run(buf, ["breaking", "--against", join(folder, "earlier.binpb")], { cwd: root }),
        { code: 100, stdout: /"60".*on message "MetaRequest" was deleted/ },
      );
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
