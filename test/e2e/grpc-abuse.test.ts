import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, it } from "node:test";
import * as grpc from "@grpc/grpc-js";
import { encodeEcho, GrpcJsClient, openGrpcFixture } from "../support/grpc-fixture.ts";
import { beginCall, callRaw, connectRaw, frame } from "../support/raw-call.ts";
import { waitUntil } from "../support/wait.ts";

const unary = "/echo.v1.Echo/Unary";
const wait = "/echo.v1.Echo/Wait";
const hello: Buffer = frame(encodeEcho({ text: "hello" }));

const frameType = { headers: 1, resetStream: 3, settings: 4, continuation: 9 } as const;
const endStream = 1;
const endHeaders = 4;

describe("an HTTP/2 connection that misbehaves", () => {
  it("is closed after a flood of streams opened and reset", async () => {
    await using server = await openGrpcFixture();
    using honest = connectRaw(server.url);
    using rogue = await openRogue(server.address);
    for (let id = 1; id < 40_000 && !rogue.isClosed; id += 2) {
      rogue.send(frameType.headers, endHeaders, id, callHeaders(wait));
      rogue.send(frameType.resetStream, 0, id, Buffer.from([0, 0, 0, 8]));
      if (id % 2001 === 0) await new Promise(setImmediate);
    }
    await waitUntil("the connection is closed", 5000, () => rogue.isClosed);
    assert.equal((await callRaw(honest.session, unary, hello)).status, 0);
    await waitUntil("no call is left", 5000, () => server.handler.callCount === 0);
  });

  it("has no more streams open than it may", async () => {
    await using server = await openGrpcFixture({ limits: { streamsPerConnectionMax: 16 } });
    using honest = connectRaw(server.url);
    using rogue = await openRogue(server.address);
    let most = 0;
    for (let id = 1; id < 40_000 && !rogue.isClosed; id += 2) {
      rogue.send(frameType.headers, endHeaders, id, callHeaders(wait));
      if (id % 101 !== 0) continue;
      await new Promise(setImmediate);
      most = Math.max(most, server.handler.callCount);
    }
    const isStopped = (): boolean => rogue.isClosed || rogue.received(frameType.resetStream) > 300;
    await waitUntil("streams are refused, or the connection is", 5000, isStopped);
    assert.ok(most <= 16, `${most} calls`);
    assert.equal((await callRaw(honest.session, unary, hello)).status, 0);
  });

  it("does not keep streams that it opens and leaves open", async () => {
    await using server = await openGrpcFixture({ limits: { streamIdleMs: 1000 } });
    using rogue = await openRogue(server.address);
    for (let id = 1; id < 100; id += 2) {
      rogue.send(frameType.headers, endHeaders, id, callHeaders(wait));
    }
    await waitUntil("the calls begin", 5000, () => server.handler.callCount === 50);
    await waitUntil("the calls are over", 20_000, () => server.handler.callCount === 0);
  });

  it("is closed when its headers never end", async () => {
    await using server = await openGrpcFixture();
    using honest = connectRaw(server.url);
    using rogue = await openRogue(server.address);
    rogue.send(frameType.headers, 0, 1, callHeaders(unary));
    const filler = literal("x-filler", "y".repeat(1000));
    for (let i = 0; i < 10_000 && !rogue.isClosed; i += 1) {
      rogue.send(frameType.continuation, 0, 1, filler);
      if (i % 100 === 0) await new Promise(setImmediate);
    }
    await waitUntil("the connection is closed", 5000, () => rogue.isClosed);
    assert.equal((await callRaw(honest.session, unary, hello)).status, 0);
    assert.equal(server.handler.callCount, 0);
  });

  it("is refused a header list over the limit", async () => {
    await using server = await openGrpcFixture();
    using honest = connectRaw(server.url);
    using rogue = connectRaw(server.url);
    const headers = { "x-long": "y".repeat(20_000) };
    // The first call comes before the client has seen the limit, the second after.
    for (let i = 0; i < 2; i += 1) {
      const answer = await callRaw(rogue.session, unary, hello, headers);
      assert.equal(answer.status, undefined);
    }
    assert.equal((await callRaw(honest.session, unary, hello)).status, 0);
  });

  it("takes nothing but itself along when it breaks in the middle of calls", async () => {
    await using server = await openGrpcFixture();
    using honest = connectRaw(server.url);
    using rogue = await openRogue(server.address);
    for (let id = 1; id < 20; id += 2) {
      rogue.send(frameType.headers, endHeaders, id, callHeaders(wait));
    }
    await waitUntil("its calls begin", 5000, () => server.handler.callCount === 10);
    rogue.socket.write("this is no frame".repeat(100));
    await waitUntil("its calls are over", 5000, () => server.handler.callCount === 0);
    assert.equal((await callRaw(honest.session, unary, hello)).status, 0);
    assert.deepEqual(server.logged, []);
  });
});

describe("a server that stops", () => {
  it("asks clients to leave, and lets calls in flight finish", async () => {
    const { promise: permission, resolve: permit } = Promise.withResolvers<void>();
    await using server = await openGrpcFixture({
      handlers: {
        unary: async (request) => {
          await permission;
          return { request };
        },
        async *serverStream(request) {
          yield { request };
          await permission;
          yield { request };
        },
      },
    });
    using client = new GrpcJsClient(server.address);
    using raw = connectRaw(server.url);
    const goneAway = once(raw.session, "goaway");
    const inFlight = client.unary("Unary", { text: "in flight" }).answer;
    const streaming = client.serverStream({ text: "stream" });
    const seen: unknown[] = [];
    streaming.on("data", (answer) => seen.push(answer));
    const streamed = once(streaming, "end");
    const held = callRaw(raw.session, unary, hello);
    await waitUntil("the calls begin", 5000, () => server.handler.callCount === 3);

    const closed = server.close(30_000);
    await goneAway;
    permit();
    assert.equal((await inFlight).request?.text, "in flight");
    await streamed;
    assert.equal(seen.length, 2);
    assert.equal((await held).status, 0);
    await closed;
    const refused = client.unary("Unary", {}).answer;
    await assert.rejects(refused, { code: grpc.status.UNAVAILABLE });
  });

  it("cancels what is still in flight when it has waited enough", async () => {
    const signals: AbortSignal[] = [];
    await using server = await openGrpcFixture({
      handlers: {
        wait: (_request, { signal }) => {
          signals.push(signal);
          return new Promise(() => undefined);
        },
      },
    });
    using client = new GrpcJsClient(server.address);
    const call = client.unary("Wait", {}).answer;
    const failed = assert.rejects(call, { code: grpc.status.UNAVAILABLE });
    await waitUntil("the call begins", 5000, () => signals.length === 1);
    await server.close(50);
    await failed;
    assert.equal(signals[0]?.aborted, true);
  });

  it("refuses new calls while its handler drains", async () => {
    await using server = await openGrpcFixture();
    using connection = connectRaw(server.url);
    const { answer } = (() => {
      const call = beginCall(connection.session, wait);
      call.stream.end(hello);
      return call;
    })();
    await waitUntil("the call begins", 5000, () => server.handler.callCount === 1);
    const drained = server.handler.drain();
    assert.equal((await callRaw(connection.session, unary, hello)).status, 14);
    server.handler.abort();
    assert.equal((await answer).status, 14);
    await drained;
  });
});

/** A connection whose frames the test writes itself. */
interface Rogue extends Disposable {
  readonly socket: Socket;
  readonly isClosed: boolean;
  /** How many frames of a type have come in. */
  received(type: number): number;
  send(type: number, flags: number, streamId: number, payload: Buffer): void;
}

async function openRogue(address: string): Promise<Rogue> {
  const { hostname, port } = new URL(`http://${address}`);
  const socket = connect(Number(port), hostname);
  const counts = new Map<number, number>();
  let pending = Buffer.alloc(0);
  socket.on("error", () => undefined);
  socket.on("data", (chunk) => {
    pending = Buffer.concat([pending, chunk]);
    while (pending.length >= 9 && pending.length >= 9 + pending.readUIntBE(0, 3)) {
      const type = pending[3] ?? 0;
      counts.set(type, (counts.get(type) ?? 0) + 1);
      pending = pending.subarray(9 + pending.readUIntBE(0, 3));
    }
  });
  await once(socket, "connect");
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  const rogue: Rogue = {
    socket,
    get isClosed() {
      return socket.destroyed || socket.readableEnded;
    },
    received: (type) => counts.get(type) ?? 0,
    send(type, flags, streamId, payload) {
      const head = Buffer.alloc(9);
      head.writeUIntBE(payload.length, 0, 3);
      head[3] = type;
      head[4] = flags;
      head.writeUInt32BE(streamId, 5);
      socket.write(Buffer.concat([head, payload]));
    },
    [Symbol.dispose]: () => {
      socket.destroy();
    },
  };
  rogue.send(frameType.settings, 0, 0, Buffer.alloc(0));
  rogue.send(frameType.settings, endStream, 0, Buffer.alloc(0));
  return rogue;
}

/** A header block for a gRPC call, in literals without indexing. */
function callHeaders(path: string): Buffer {
  return Buffer.concat([
    literal(":method", "POST"),
    literal(":scheme", "http"),
    literal(":path", path),
    literal(":authority", "localhost"),
    literal("content-type", "application/grpc"),
  ]);
}

function literal(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0]), hpackString(name), hpackString(value)]);
}

/** A string of HPACK, not Huffman-coded. */
function hpackString(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest >>>= 7) length.push((rest & 127) | 128);
  return Buffer.concat([Buffer.from([...length, rest]), bytes]);
}
