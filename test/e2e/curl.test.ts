import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { toJson } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { createCollector } from "../../src/server.ts";
import { noteFile, noteTypeName } from "../support/notes.ts";
import { tempFolder } from "../support/temp-folder.ts";

const run = promisify(execFile);

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

/** One call as a person at a terminal would make it. */
async function curl(
  url: string,
  method: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const { stdout } = await run("curl", [
    "--silent",
    "--max-time",
    "20",
    "--write-out",
    "\n%{http_code}",
    "--header",
    "content-type: application/json",
    ...Object.entries(headers).flatMap(([name, value]) => ["--header", `${name}: ${value}`]),
    "--data",
    typeof body === "string" ? body : JSON.stringify(body),
    `${url}/${method}`,
  ]);
  const cut = stdout.lastIndexOf("\n");
  return { status: Number(stdout.slice(cut + 1)), body: JSON.parse(stdout.slice(0, cut)) };
}

async function succeed(...call: Parameters<typeof curl>): Promise<Record<string, unknown>> {
  const { status, body } = await curl(...call);
  assert.equal(status, 200, JSON.stringify(body));
  return body;
}

const item = {
  "@type": `type.googleapis.com/${noteTypeName}`,
  title: "Espresso machine",
  author: { name: "Ada", born: 1815 },
  priceCents: "9223372036854775807",
  tags: ["coffee"],
  counters: { sold: "-3" },
};

describe("A server and curl", () => {
  it("registers a type, creates a record and reads it, all in JSON", async () => {
    await using folder = await tempFolder("curl");
    await using server = await createCollector({ port: 0, data: folder.path, logLevel: "silent" });
    const { url } = server;

    const registered = await succeed(url, "collector.CollectorRegistry/RegisterProto", {
      namespace: "shop",
      fileDescriptor: toJson(FileDescriptorProtoSchema, noteFile),
    });
    assert.ok((registered["registeredMessages"] as string[]).includes(noteTypeName));

    await succeed(url, "collector.CollectionRepo/CreateCollection", {
      collection: { namespace: "shop", name: "notes", messageType: { messageName: noteTypeName } },
    });
    const created = await succeed(url, "collector.CollectionService/Create", {
      namespace: "shop",
      collection_name: "notes",
      id: "n1",
      item,
    });
    assert.equal(created["id"], "n1");

    const byField = await succeed(url, "collector.CollectionService/Get", {
      namespace: "shop",
      collectionName: "notes",
      id: "n1",
    });
    assert.deepEqual(byField["item"], item);
    const byHeader = await succeed(
      url,
      "collector.CollectionService/Get",
      { collectionName: "notes", id: "n1" },
      { "x-collector-namespace": "shop" },
    );
    assert.deepEqual(byHeader, byField);
  });

  it("reads an Any by the types of the call's namespace, not by another's", async () => {
    await using folder = await tempFolder("curl");
    await using server = await createCollector({ port: 0, data: folder.path, logLevel: "silent" });
    const { url } = server;
    const fileDescriptor = toJson(FileDescriptorProtoSchema, noteFile);
    await succeed(url, "collector.CollectorRegistry/RegisterProto", {
      namespace: "shop",
      fileDescriptor,
    });
    const { status, body } = await curl(url, "collector.CollectionService/Create", {
      namespace: "other",
      collectionName: "notes",
      item,
    });
    assert.ok(status >= 400 && status < 500, `status ${status}`);
    assert.match(String(body["message"]), /notes\.v1\.Note|notes/);
  });

  it("names the field of a misspelt or missing argument", async () => {
    await using folder = await tempFolder("curl");
    await using server = await createCollector({ port: 0, data: folder.path, logLevel: "silent" });
    const misspelt = await curl(server.url, "collector.CollectionService/Get", {
      colectionName: "notes",
    });
    assert.equal(misspelt.status, 400);
    assert.match(String(misspelt.body["message"]), /colectionName/);
    const missing = await curl(server.url, "collector.CollectionService/Get", {
      collectionName: "notes",
      id: "x",
    });
    assert.equal(missing.status, 404);
    assert.equal(missing.body["code"], "not_found");
  });
});
