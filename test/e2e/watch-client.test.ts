import assert from "node:assert/strict";
import { createServer } from "node:net";
import { describe, it } from "node:test";
import { fromJson, type JsonObject, toJson } from "@bufbuild/protobuf";
import { type Struct, StructSchema } from "@bufbuild/protobuf/wkt";
import { type Client, connect } from "../../src/client/client.ts";
import type { RecordChange, TypedCollection } from "../../src/client/collection.ts";
import { runCli } from "../support/run-cli.ts";
import { ServerProcess } from "../support/server-process.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { waitUntil } from "../support/wait.ts";

/** A port that was free a moment ago, to start a server on again. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("there is no port");
  return address.port;
}

function thing(number: number): Struct {
  return fromJson(StructSchema, { number });
}

async function makeThings(client: Client): Promise<TypedCollection<typeof StructSchema>> {
  await client.services.repo.createCollection({
    collection: { name: "things", messageType: { messageName: StructSchema.typeName } },
  });
  return client.collection("things", StructSchema);
}

describe("TypedCollection.watch", () => {
  it("goes on by itself when the server was killed and when it was stopped, and misses nothing", async () => {
    await using folder = await tempFolder("watch-client");
    const port = await freePort();
    await using servers = new AsyncDisposableStack();
    const args = ["--port", String(port)];
    const start = async (): Promise<ServerProcess> =>
      servers.use(await ServerProcess.start({ dataFolder: folder.path, args }));
    let server = await start();
    await using client = await connect({ url: server.url, env: {} });
    const things = await makeThings(client);

    const seen: RecordChange<Struct>[] = [];
    let begun = 0;
    const stop = new AbortController();
    const onBegin = (): void => {
      begun += 1;
    };
    const watching = (async () => {
      for await (const change of things.watch({ signal: stop.signal, onBegin })) seen.push(change);
    })();
    await waitUntil("the watch begins", 20_000, () => begun === 1);
    await things.create(thing(1), { id: "a" });
    await waitUntil("the first change", 20_000, () => seen.length === 1);

    await server.kill();
    server = await start();
    await things.create(thing(2), { id: "b" });
    await waitUntil("what came after the kill", 30_000, () => seen.length === 2);
    await server.stop();
    server = await start();
    await things.delete("a");
    await waitUntil("what came after the stop", 30_000, () => seen.length === 3);

    assert.deepEqual(
      seen.map(({ kind, id }) => `${kind} ${id}`),
      ["created a", "created b", "deleted a"],
    );
    assert.deepEqual(toJson(StructSchema, seen[1]?.record?.item ?? thing(0)), { number: 2 });
    stop.abort();
    await watching;

    const resumed = things.watch({ resumeToken: seen[0]?.resumeToken ?? "" });
    for await (const change of resumed) {
      assert.equal(change.id, "b");
      break;
    }
  });

  it("throws what cannot pass, and when nobody is there to begin with", async () => {
    await using folder = await tempFolder("watch-client");
    await using server = await ServerProcess.start({ dataFolder: folder.path });
    await using client = await connect({ url: server.url, env: {} });
    const things = await makeThings(client);
    const first = async (options: object): Promise<unknown> => {
      for await (const change of things.watch(options)) return change;
      return undefined;
    };
    await assert.rejects(first({ resumeToken: "garbage" }), { reason: "ARGUMENT_INVALID" });
    await server.kill();
    await assert.rejects(first({}), { reason: "CONNECTION_FAILED" });
  });
});

describe("collector record watch", () => {
  it("prints changes as they come, as lines or as JSON", async () => {
    await using folder = await tempFolder("watch-cli");
    await using server = await ServerProcess.start({ dataFolder: folder.path });
    await using client = await connect({ url: server.url, env: {} });
    const things = await makeThings(client);
    await things.create(thing(0), { id: "z" });
    for (const format of ["table", "jsonl"]) {
      const run = runCli(["record", "watch", "things", "-o", format, "--url", server.url], {
        onOutput: (child, stdout) => {
          if (stdout.split("\n").length > 2) child.kill("SIGINT");
        },
        onNote: (_child, stderr) => {
          if (!stderr.includes("watching things")) return;
          void things.put("a", thing(1)).then(() => things.delete("a"));
        },
      });
      const { stdout } = await run;
      if (format === "table") {
        assert.equal(stdout, 'created  a  {"number":1}\ndeleted  a\n');
        continue;
      }
      const lines = stdout.trim().split("\n");
      const [created, deleted] = lines.map((line) => JSON.parse(line) as JsonObject);
      assert.equal(created?.["change"], "created");
      assert.equal(deleted?.["change"], "deleted");
      assert.equal(typeof deleted?.["resumeToken"], "string");
    }
  });
});
