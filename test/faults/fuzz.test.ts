import assert from "node:assert/strict";
import net from "node:net";
import { describe, it } from "node:test";
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { CollectionAdmin } from "../../src/gen/collector/collection_admin_pb.ts";
import { CollectionRepo } from "../../src/gen/collector/collection_repo_pb.ts";
import { CollectionService } from "../../src/gen/collector/collection_server_pb.ts";
import { CollectiveDispatcher } from "../../src/gen/collector/dispatcher_pb.ts";
import { Namespaces } from "../../src/gen/collector/namespaces_pb.ts";
import { Operations } from "../../src/gen/collector/operations_pb.ts";
import { CollectorRegistry } from "../../src/gen/collector/registry_pb.ts";
import { TypeRegistry } from "../../src/gen/collector/type_registry_pb.ts";
import { faultSeed } from "../support/fault-seed.ts";
import { noteItem } from "../support/notes.ts";
import { Random } from "../support/random.ts";
import { mutated, randomBytes, randomMessage } from "../support/random-message.ts";
import { callRaw, connectRaw, frame, type RawAnswer } from "../support/raw-call.ts";
import { isFitForCallers } from "../support/refusal.ts";
import { ServerProcess } from "../support/server-process.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";

/** Calls of each kind to each method. */
const calls = Number(process.env["COLLECTOR_FUZZ_CALLS"] ?? 40);
const seed = faultSeed();
const inFlight = 16;

const services: readonly DescService[] = [
  CollectionService,
  CollectionRepo,
  CollectionAdmin,
  CollectorRegistry,
  TypeRegistry,
  Namespaces,
  Operations,
  CollectiveDispatcher,
];

interface FuzzCall {
  readonly path: string;
  readonly body: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
}

describe("whatever bytes callers send", () => {
  it("every method answers each of them, fit to be read, and goes on", {
    timeout: 240_000,
  }, async (t) => {
    t.diagnostic(`COLLECTOR_SEED=${seed}`);
    await using folder = await tempFolder("fuzz");
    await using server = await ServerProcess.start({ dataFolder: folder.path });
    using client = new TestClient(server.url);
    await client.registerNotes();
    await client.createNotes("honest", { indexedFields: ["price_cents"] });
    await client.createNotes("notes");
    await client.records.create({ collectionName: "honest", id: "1", item: noteItem(1) });
    using connection = connectRaw(server.url);

    const random = new Random(seed);
    const answered = new Map<number, number>();
    const faults = new Map<string, string>();
    for (const service of services) {
      for (const method of service.methods) {
        const queue = callsTo(method, random);
        const work = async () => {
          for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
            const { path, body, headers } = next;
            const answer = await callRaw(connection.session, path, body, headers);
            const fault = faultOf(answer, next);
            if (fault !== undefined) faults.set(`${path}: ${fault}`, sentOf(next));
            const key = answer.status ?? -(answer.httpStatus ?? 0);
            answered.set(key, (answered.get(key) ?? 0) + 1);
          }
        };
        await Promise.all(Array.from({ length: inFlight }, work));
        assert.ok(server.running, `the server ended at ${method.name}\n${server.log}`);
        const { item } = await client.records.get({ collectionName: "honest", id: "1" });
        assert.deepEqual(Buffer.from(item?.value ?? []), Buffer.from(noteItem(1).value));
      }
    }
    assert.deepEqual([...faults], [], `COLLECTOR_SEED=${seed}\n${errorsIn(server.log)}`);
    const counts = [...answered]
      .sort(([a], [b]) => a - b)
      .map(([key, count]) => `${key}: ${count}`);
    t.diagnostic(`answers by gRPC status (by HTTP status where negative): ${counts.join(", ")}`);
  });

  it("a connection that speaks no HTTP/2 or breaks it disturbs no other", async () => {
    await using folder = await tempFolder("fuzz-bytes");
    await using server = await ServerProcess.start({ dataFolder: folder.path });
    using client = new TestClient(server.url);
    await client.registerNotes();
    const random = new Random(seed);
    const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    for (let round = 0; round < 60; round += 1) {
      const bytes = Buffer.from(randomBytes(random, 2_000));
      await sendAndHangUp(server.url, round % 2 === 0 ? bytes : Buffer.concat([preface, bytes]));
    }
    assert.ok(server.running, server.log);
    await client.records.meta({});
  });
});

function callsTo(method: DescMethod, random: Random): FuzzCall[] {
  const path = `/${method.parent.typeName}/${method.name}`;
  const grpc = { "grpc-timeout": "3S" };
  const json = { "content-type": "application/json", "connect-timeout-ms": "3000" };
  const made: FuzzCall[] = [];
  for (let call = 0; call < calls; call += 1) {
    const message = randomMessage(method.input, random);
    made.push(
      { path, headers: grpc, body: frame(message) },
      { path, headers: grpc, body: frame(mutated(message, random)) },
      { path, headers: grpc, body: frame(randomBytes(random, 200)) },
      { path, headers: grpc, body: mutated(frame(message), random) },
      { path, headers: { ...grpc, "grpc-encoding": "gzip" }, body: flagged(message) },
      { path, headers: json, body: Buffer.from(randomJson(random)) },
    );
  }
  return made;
}

/** A frame that claims to be compressed and is not. */
function flagged(message: Uint8Array): Buffer {
  const framed = frame(message);
  framed[0] = 1;
  return framed;
}

function randomJson(random: Random): string {
  return random.pick([
    "{",
    "null",
    "[]",
    '"x"',
    '{"__proto__":{"x":1}}',
    '{"collectionName":"notes","item":{"@type":"type.googleapis.com/notes.v1.Note","title":7}}',
    '{"collectionName":"notes","item":{"@type":"nothing"}}',
    '{"collectionName":"\\ud800"}',
    `{"filter":${"[".repeat(5_000)}`,
    `{"filter":${'{"a":'.repeat(200)}1${"}".repeat(200)}}`,
    '{"pageSize":1e99}',
    '{"constructor":"x"}',
  ]);
}

/** The first lines of the failures in a server's log. */
function errorsIn(log: string): string {
  const lines = log.split("\n").filter((line) => line.includes('"level":50'));
  return [...new Set(lines.map((line) => line.replace(/^.*?"err":/, "").slice(0, 900)))].join("\n");
}

/** @returns what is wrong with the answer, if anything is. */
function faultOf(answer: RawAnswer, call: FuzzCall): string | undefined {
  const asGrpc = call.headers["content-type"] === undefined;
  if (answer.httpStatus === undefined) return "no answer";
  if (asGrpc && answer.status === undefined) return "an answer without a status";
  const text = `${answer.message}${asGrpc ? "" : answer.body.toString()}`;
  if (text.includes("the server failed")) return "INTERNAL";
  return isFitForCallers(text) ? undefined : `not fit for callers: ${text}`;
}

/** The start of what a call sent; the seed gives the rest again. */
function sentOf({ body }: FuzzCall): string {
  return `${body.length} bytes, ${Buffer.from(body).toString("base64").slice(0, 120)}`;
}

async function sendAndHangUp(url: string, bytes: Uint8Array): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = net.connect(Number(port), hostname);
  socket.on("error", () => undefined);
  socket.resume();
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.end(bytes);
  const timer = setTimeout(() => socket.destroy(), 200);
  await closed;
  clearTimeout(timer);
}
