import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { encodeEcho, openGrpcFixture } from "../support/grpc-fixture.ts";
import { beginCall, callRaw, connectRaw, frame } from "../support/raw-call.ts";
import { waitUntil } from "../support/wait.ts";

const serverStream = "/echo.v1.Echo/ServerStream";
const clientStream = "/echo.v1.Echo/ClientStream";
const mib = 1024 * 1024;
const hello: Buffer = frame(encodeEcho({ text: "hello" }));

describe("flow control of gRPC streams", () => {
  it("asks a stream for no more than a slow reader's window and 1 MiB", async () => {
    const messageBytes = 64 * 1024;
    let pulledBytes = 0;
    await using server = await openGrpcFixture({
      handlers: {
        async *serverStream() {
          const request = { data: new Uint8Array(messageBytes) };
          for (;;) {
            pulledBytes += messageBytes;
            yield { request };
          }
        },
      },
    });
    using connection = connectRaw(server.url);
    const { stream } = beginCall(connection.session, serverStream);
    stream.pause();
    stream.end(hello);
    await waitUntil("the stream begins", 5000, () => pulledBytes > 0);
    await settled(() => pulledBytes);
    // The client's window is 64 KiB, and the sockets between hold some.
    assert.ok(pulledBytes >= mib, `${pulledBytes}`);
    assert.ok(pulledBytes <= 1.5 * mib, `${pulledBytes}`);
    stream.resume();
    await waitUntil("it goes on when the reader does", 5000, () => pulledBytes > 8 * mib);
    stream.close();
    await waitUntil("it ends with the reader", 5000, () => server.handler.callCount === 0);
  });

  it("goes on under a buffer limit below what the engine buffers by itself", async () => {
    await using server = await openGrpcFixture({ limits: { streamBufferBytesMax: 10 } });
    using connection = connectRaw(server.url);
    const body = frame(encodeEcho({ text: "more than ten bytes", count: 50 }));
    assert.equal((await callRaw(connection.session, serverStream, body)).status, 0);
  });

  it("stops reading from a sender whose handler does not keep up", async () => {
    const { promise: permission, resolve: permit } = Promise.withResolvers<void>();
    let received = 0;
    await using server = await openGrpcFixture({
      handlers: {
        async clientStream(requests) {
          for await (const { data } of requests) {
            received += data.length;
            await permission;
          }
          return { request: { count: received } };
        },
      },
    });
    using connection = connectRaw(server.url);
    const { stream, answer } = beginCall(connection.session, clientStream);
    const message = frame(encodeEcho({ data: new Uint8Array(64 * 1024) }));
    const count = 512;
    for (let i = 0; i < count; i += 1) stream.write(message);
    stream.end();
    const sent = (): number => count * message.length - stream.writableLength;
    await settled(sent);
    assert.equal(received, 64 * 1024);
    assert.ok(sent() < 10 * mib, `${sent()} of ${count * message.length} bytes were taken`);
    permit();
    assert.equal((await answer).status, 0);
    assert.equal(received, count * 64 * 1024);
  });

  it("gives up on a request that comes a byte at a time", async () => {
    await using server = await openGrpcFixture({ limits: { streamIdleMs: 200 } });
    using connection = connectRaw(server.url);
    for (const path of ["/echo.v1.Echo/Unary", clientStream, "/echo.v1.Echo/Bidi"]) {
      const { stream, answer } = beginCall(connection.session, path);
      const drip = (async () => {
        for (const byte of hello.subarray(0, -1)) {
          if (stream.destroyed) return;
          stream.write(Buffer.from([byte]));
          await sleep(50);
        }
      })();
      const { status, message } = await answer;
      assert.equal(status, 4, path);
      assert.match(message, /sent no more of its request for 200 ms/);
      await drip;
    }
    await waitUntil("nothing is left of them", 5000, () => server.handler.callCount === 0);
  });

  it("gives up on a reader that never opens its window", async () => {
    const signals: AbortSignal[] = [];
    await using server = await openGrpcFixture({
      limits: { streamIdleMs: 1000 },
      handlers: {
        async *serverStream(_request, { signal }) {
          signals.push(signal);
          for (;;) yield { request: { data: new Uint8Array(mib) } };
        },
        unary: async () => ({ request: { data: new Uint8Array(mib) } }),
      },
    });
    using connection = connectRaw(server.url);
    for (const path of [serverStream, "/echo.v1.Echo/Unary"]) {
      const { stream } = beginCall(connection.session, path);
      stream.pause();
      stream.end(hello);
      await waitUntil("the call begins", 5000, () => server.handler.callCount === 1);
      await waitUntil("the call is given up", 20_000, () => server.handler.callCount === 0);
      stream.resume();
    }
    assert.deepEqual(
      signals.map(({ aborted }) => aborted),
      [true],
    );
  });

  it("leaves a quiet stream alone whose peer owes nothing", async () => {
    await using server = await openGrpcFixture({
      limits: { streamIdleMs: 50 },
      handlers: {
        async *serverStream(_request, { signal }) {
          await sleep(300, undefined, { signal });
          yield { request: { text: "late" } };
        },
      },
    });
    using connection = connectRaw(server.url);
    assert.equal((await callRaw(connection.session, serverStream, hello)).status, 0);
    const { stream, answer } = beginCall(connection.session, "/echo.v1.Echo/Bidi");
    stream.write(hello);
    await sleep(300);
    stream.write(hello);
    stream.end();
    const { status, body } = await answer;
    assert.equal(status, 0);
    assert.ok(body.length > 2 * hello.length);
  });

  it("does not hold it against a reader that the server stood still", async () => {
    await using server = await openGrpcFixture({
      limits: { streamIdleMs: 50 },
      handlers: {
        async *serverStream(_request, { signal }) {
          await sleep(100, undefined, { signal });
          const until = performance.now() + 100;
          while (performance.now() < until);
          yield { request: { text: "late" } };
        },
      },
    });
    using connection = connectRaw(server.url);
    assert.equal((await callRaw(connection.session, serverStream, hello)).status, 0);
  });

  it("sheds requests that would fill the memory for requests", async () => {
    await using server = await openGrpcFixture({ limits: { receiveBufferBytesMax: 3 * mib } });
    using connection = connectRaw(server.url);
    const body = frame(encodeEcho({ data: new Uint8Array(2 * mib) }));
    const first = beginCall(connection.session, "/echo.v1.Echo/Unary");
    first.stream.write(body.subarray(0, -1));
    await sleep(100);
    const second = await callRaw(connection.session, "/echo.v1.Echo/Unary", body);
    assert.equal(second.status, 8);
    first.stream.end(body.subarray(-1));
    assert.equal((await first.answer).status, 0);
    const third = await callRaw(connection.session, "/echo.v1.Echo/Unary", body);
    assert.equal(third.status, 0, "what was held is given back");
  });
});

describe("calls that are passed on as bytes", () => {
  it("hands over messages as they came and writes what it is given", async () => {
    const seen: string[] = [];
    await using server = await openGrpcFixture({
      findRaw: (serviceName, methodName) => {
        if (serviceName !== "shop.v1.Shop") return undefined;
        return async function* (input, call) {
          seen.push(`${serviceName}/${methodName} ${call.methodName}`);
          call.responseHeaders.set("x-head", "1");
          for await (const message of input) yield Buffer.from(message).toReversed();
          call.responseTrailers.set("x-tail", "1");
        };
      },
    });
    using connection = connectRaw(server.url);
    const bodies = [Buffer.from("abc"), Buffer.alloc(0), Buffer.alloc(100_000, "xy")];
    const answer = await callRaw(
      connection.session,
      "/shop.v1.Shop/Quote",
      Buffer.concat(bodies.map(frame)),
    );
    assert.equal(answer.status, 0);
    const expected = bodies.map((body) => frame(Buffer.from(body).toReversed()));
    assert.deepEqual(answer.body, Buffer.concat(expected));
    assert.deepEqual(seen, ["shop.v1.Shop/Quote Quote"]);
    assert.equal((await callRaw(connection.session, "/other.v1.Shop/Quote", hello)).status, 12);
  });

  it("holds the sender back as long as the receiver takes nothing", async () => {
    let passed = 0;
    await using server = await openGrpcFixture({
      findRaw: () =>
        async function* (input) {
          for await (const message of input) {
            passed += message.length;
            yield message;
          }
        },
    });
    using connection = connectRaw(server.url);
    const { stream, answer } = beginCall(connection.session, "/shop.v1.Shop/Talk");
    stream.pause();
    const message = frame(new Uint8Array(64 * 1024));
    const count = 512;
    let written = 0;
    const sending = (async () => {
      for (; written < count; written += 1) {
        if (!stream.write(message)) await once(stream, "drain");
      }
      stream.end();
    })();
    await settled(() => passed + written);
    assert.ok(passed < 2 * mib, `${passed}`);
    assert.ok(written * message.length < 12 * mib, `${written}`);
    stream.resume();
    await sending;
    assert.equal((await answer).status, 0);
    assert.equal(passed, count * 64 * 1024);
  });
});

/** Waits until a figure has not moved for 300 ms. */
async function settled(figure: () => number): Promise<void> {
  let before: number;
  do {
    before = figure();
    await sleep(300);
  } while (figure() !== before);
}
