import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { CreateRequestSchema } from "../../src/gen/collector/collection_server_pb.ts";
import { noteItem } from "../support/notes.ts";
import { beginCall, connectRaw, frame } from "../support/raw-call.ts";
import { ServerProcess } from "../support/server-process.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";
import { waitUntil } from "../support/wait.ts";
import { Workload } from "./workload.ts";

/** The `HealthCheckResponse` of each state, framed. */
const serving = frame(Uint8Array.of(8, 1));
const notServing = frame(Uint8Array.of(8, 2));

it("finishes calls in flight and says NOT_SERVING before it ends with code 0 on SIGTERM", {
  timeout: 60_000,
}, async () => {
  await using folder = await tempFolder("drain");
  await using server = await ServerProcess.start({ dataFolder: folder.path });
  using client = new TestClient(server.url);
  await client.registerNotes();
  await client.createNotes("notes");

  using connection = connectRaw(server.url);
  const health = beginCall(connection.session, "/grpc.health.v1.Health/Watch");
  const said: Buffer[] = [];
  health.stream.on("data", (chunk: Buffer) => said.push(chunk));
  health.stream.end(frame(new Uint8Array()));
  await waitUntil("health is known", 5_000, () => Buffer.concat(said).equals(serving));

  // A call whose request has begun and is not complete.
  const request = create(CreateRequestSchema, { collectionName: "notes", item: noteItem(1) });
  const body = frame(toBinary(CreateRequestSchema, request));
  const call = beginCall(connection.session, "/collector.CollectionService/Create");
  call.stream.write(body.subarray(0, 40));
  await sleep(200);

  server.signal("SIGTERM");
  await waitUntil("health says NOT_SERVING", 5_000, () =>
    Buffer.concat(said).subarray(serving.length).equals(notServing),
  );
  assert.ok(server.running, "the server did not wait for the call in flight");
  call.stream.end(body.subarray(40));
  const answer = await call.answer;
  assert.equal(answer.status, 0, answer.message);
  assert.deepEqual(await server.exited, { code: 0, signal: null });

  await using again = await ServerProcess.start({ dataFolder: folder.path });
  using checker = new TestClient(again.url);
  const { items } = await checker.records.list({ collectionName: "notes" });
  assert.equal(items.length, 1);
});

it("loses nothing acknowledged when it is told to end under load", {
  timeout: 60_000,
}, async () => {
  await using folder = await tempFolder("drain-load");
  const load = new Workload({ collectionName: "notes", seed: 3, writers: 8 });
  for (let round = 0; round < 3; round += 1) {
    await using server = await ServerProcess.start({ dataFolder: folder.path });
    using client = new TestClient(server.url);
    if (round === 0) {
      await client.registerNotes();
      await client.createNotes("notes");
    } else assert.deepEqual(await load.check(client), []);
    const writing = new AbortController();
    const running = load.run(client, { signal: writing.signal });
    await sleep(300);
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
    writing.abort();
    await running;
  }
  assert.ok(load.oracle.acknowledged > 50, "the writers hardly wrote");
});

it("refuses a second server on one data folder and leaves the first alone", {
  timeout: 60_000,
}, async () => {
  await using folder = await tempFolder("second");
  await using server = await ServerProcess.start({ dataFolder: folder.path });
  await using second = new ServerProcess({ dataFolder: folder.path });
  await assert.rejects(second.ready);
  assert.notEqual((await second.exited).code, 0);
  assert.match(second.log, new RegExp(`${folder.path}.*(in use|another|locked)`, "is"));
  using client = new TestClient(server.url);
  await client.registerNotes();
});

it("starts again at once after a crash: a dead server's lock does not stay", {
  timeout: 60_000,
}, async () => {
  await using folder = await tempFolder("stale");
  for (let round = 0; round < 3; round += 1) {
    await using server = await ServerProcess.start({ dataFolder: folder.path });
    await server.kill();
  }
});

it("refuses a data folder of a newer format and leaves it as it is", {
  timeout: 60_000,
}, async () => {
  await using folder = await tempFolder("newer");
  const path = join(folder.path, "collector.json");
  {
    await using server = await ServerProcess.start({ dataFolder: folder.path });
    await server.stop();
  }
  const known = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
  const newer = JSON.stringify({ ...known, format: 999 });
  await writeFile(path, newer);
  await using server = new ServerProcess({ dataFolder: folder.path });
  await assert.rejects(server.ready);
  assert.notEqual((await server.exited).code, 0);
  assert.match(server.log, /format 999/);
  assert.equal(await readFile(path, "utf8"), newer);
});
