import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { CollectionService } from "../../src/gen/collector/collection_server_pb.ts";
import { CollectorConsole } from "../../src/gen/collector/console_pb.ts";
import { NamespaceSchema } from "../../src/gen/collector/namespaces_pb.ts";
import { CollectiveWorker } from "../../src/gen/collector/worker_pb.ts";
import { createCollector } from "../../src/server.ts";
import { noteItem, noteTypeName } from "../support/notes.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";

const quiet = { port: 0, logLevel: "silent" } as const;

function hasCode(code: Code): (error: unknown) => boolean {
  return (error) => error instanceof ConnectError && error.code === code;
}

describe("createCollector", () => {
  it("refuses an address that others can reach unless it is told that this is meant", async () => {
    await using folder = await tempFolder("exposure");
    for (const host of ["0.0.0.0", "::", "192.0.2.1"]) {
      await assert.rejects(createCollector({ ...quiet, data: folder.path, host }), {
        reason: "ARGUMENT_INVALID",
        message: /insecure/,
      });
    }
    await using server = await createCollector({
      ...quiet,
      data: folder.path,
      host: "0.0.0.0",
      insecure: true,
    });
    assert.match(server.url, /^http:\/\/0\.0\.0\.0:\d+$/);
  });

  it("refuses options as it refuses a configuration, and makes no data folder", async () => {
    await using folder = await tempFolder("options");
    const data = `${folder.path}/data`;
    const options = { ...quiet, data, sharedRegistrations: ["system"] };
    await assert.rejects(createCollector(options), {
      reason: "ARGUMENT_INVALID",
      message: /sharedRegistrations\.0: namespace system/,
    });
    assert.equal(existsSync(data), false);
  });

  it("says that the port is taken and leaves the data folder free", async () => {
    await using folder = await tempFolder("port");
    const other = createServer();
    await new Promise<void>((resolve) => {
      other.listen(0, "127.0.0.1", resolve);
    });
    const address = other.address();
    assert.ok(typeof address === "object" && address !== null);
    try {
      await assert.rejects(createCollector({ ...quiet, data: folder.path, port: address.port }), {
        name: "PortTakenError",
        port: address.port,
      });
    } finally {
      other.close();
    }
    await using server = await createCollector({ ...quiet, data: folder.path });
    assert.notEqual(server.url, "");
  });

  it("refuses a data folder that another collector uses, also one in the same process", async () => {
    await using folder = await tempFolder("lock");
    await using server = await createCollector({ ...quiet, data: folder.path });
    await assert.rejects(createCollector({ ...quiet, data: folder.path }), {
      name: "CollectorError",
      message: /another server/,
    });
    assert.notEqual(server.url, "");
  });

  it("serves calls from inside the process through the same interceptors", async () => {
    await using folder = await tempFolder("local");
    await using server = await createCollector({ ...quiet, data: folder.path });
    const { serverVersion, collectorId } = await server.call(CollectionService.method.meta, {});
    assert.equal(serverVersion, server.version);
    assert.equal(collectorId, server.collectorId);
    await assert.rejects(
      server.call(CollectionService.method.get, { collectionName: "none", id: "x" }),
      hasCode(Code.NotFound),
    );
    await assert.rejects(
      server.call(CollectionService.method.get, { namespace: "a/b", id: "x" }),
      hasCode(Code.InvalidArgument),
    );
  });

  it("keeps its id over restarts", async () => {
    await using folder = await tempFolder("id");
    const ids: string[] = [];
    for (let start = 0; start < 2; start += 1) {
      await using server = await createCollector({ ...quiet, data: folder.path });
      ids.push(server.collectorId);
    }
    assert.equal(ids[0], ids[1]);
  });
});

describe("What a server serves", () => {
  it("answers UNIMPLEMENTED for services that are defined and not served, and does not list them", async () => {
    await using folder = await tempFolder("unserved");
    await using server = await createCollector({ ...quiet, data: folder.path });
    using client = new TestClient(server.url);
    const worker = createClient(CollectiveWorker, client.transport);
    const console = createClient(CollectorConsole, client.transport);
    await assert.rejects(worker.startWorkflow({}), hasCode(Code.Unimplemented));
    await assert.rejects(console.display({}), hasCode(Code.Unimplemented));
    const { services } = await client.registry.listServices({ namespace: "default" });
    const names = services.map((service) => service.serviceName);
    assert.ok(names.includes("collector.CollectionService"), names.join());
    for (const absent of ["collector.CollectiveWorker", "collector.CollectorConsole"]) {
      assert.ok(!names.includes(absent), absent);
      const verdict = await client.registry.validateMethod({
        serviceName: absent,
        methodName: "Display",
      });
      assert.equal(verdict.isValid, false);
    }
  });

  it("refuses a built-in service in a namespace that has switched it off, and only there", async () => {
    await using folder = await tempFolder("disabled");
    await using server = await createCollector({ ...quiet, data: folder.path });
    using client = new TestClient(server.url);
    await client.namespaces.createNamespace({
      namespace: create(NamespaceSchema, {
        name: "quiet",
        disabledServices: ["collector.CollectionService"],
      }),
    });
    const get = { collectionName: "none", id: "x" };
    await assert.rejects(
      client.records.get({ namespace: "quiet", ...get }),
      hasCode(Code.Unimplemented),
    );
    await assert.rejects(client.records.get(get), hasCode(Code.NotFound));
  });

  it("builds and drops the indexes that Modify asks for, as operations", async () => {
    await using folder = await tempFolder("modify");
    await using server = await createCollector({ ...quiet, data: folder.path });
    using client = new TestClient(server.url);
    await client.registerNotes();
    await client.createNotes("notes");
    await client.records.batch({
      collectionName: "notes",
      operations: Array.from({ length: 100 }, (_, index) => ({
        operation: { case: "create", value: { id: `n${index}`, item: noteItem(index) } },
      })),
    });
    const modified = await client.records.modify({
      collectionName: "notes",
      indexedFields: ["price_cents", "author.name"],
    });
    assert.equal(modified.operation?.done, true);
    assert.equal(modified.operation.result.case, "response");
    const { indexes } = await client.records.describe({ collectionName: "notes" });
    assert.deepEqual(
      indexes.map((index) => index.field),
      ["price_cents", "author.name"],
    );
    const { operations } = await client.operations.listOperations({});
    assert.ok(operations.some(({ name }) => name === modified.operation?.name));
    await assert.rejects(
      client.records.modify({ collectionName: "notes", indexedFields: ["prise_cents"] }),
      (error) =>
        error instanceof ConnectError &&
        error.code === Code.InvalidArgument &&
        error.message.includes("price_cents"),
    );
  });

  it("refuses to unregister a type that a collection uses, and lets it go afterwards", async () => {
    await using folder = await tempFolder("usage");
    await using server = await createCollector({ ...quiet, data: folder.path });
    using client = new TestClient(server.url);
    await client.registerNotes();
    await client.createNotes("notes");
    const name = "notes/v1/note.proto";
    await assert.rejects(
      client.types.unregisterFile({ name }),
      (error) =>
        error instanceof ConnectError &&
        error.code === Code.FailedPrecondition &&
        error.message.includes("notes"),
    );
    await client.admin.deleteCollection({ collection: { name: "notes" } });
    const { unregisteredTypes } = await client.types.unregisterFile({ name });
    assert.ok(unregisteredTypes.includes(noteTypeName));
  });
});
