import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { CollectorError } from "../../src/errors.ts";
import { CallFailure } from "../../src/mesh/channel.ts";
import { encodeFrame } from "../../src/rpc/grpc/frame.ts";
import { toConnectError } from "../../src/rpc/status.ts";
import { decodeAnswer, encodeEcho, openGrpcFixture } from "../support/grpc-fixture.ts";
import { collect, each, openDialer, openRawServer } from "../support/outbound.ts";
import { waitUntil } from "../support/wait.ts";

const unaryPath = "/echo.v1.Echo/Unary";
const bidiPath = "/echo.v1.Echo/Bidi";

describe("a channel", () => {
  it("makes all four kinds of calls, with metadata both ways", async () => {
    await using server = await openGrpcFixture({
      handlers: {
        unary: (request, call) => {
          call.responseHeaders.set("x-head-bin", new Uint8Array([0, 255]));
          call.responseTrailers.set("x-tail", "t");
          return Promise.resolve({
            request,
            metadata: { words: call.requestMetadata.get("x-word") ?? "" },
          });
        },
      },
    });
    await using dialer = openDialer();
    await using channel = dialer.dial(server.address, "endpoint");
    assert.equal(channel.state, "idle");
    const answer = await channel.unary(unaryPath, encodeEcho({ text: "grüße" }), {
      metadata: [["x-word", "one"]],
    });
    const decoded = decodeAnswer(answer.message);
    assert.equal(decoded.request?.text, "grüße");
    assert.deepEqual(decoded.metadata, { words: "one" });
    assert.deepEqual(answer.headers, [["x-head-bin", "AP8"]]);
    assert.deepEqual(answer.trailers, [["x-tail", "t"]]);
    assert.equal(channel.state, "ready");

    const counted = channel.stream("/echo.v1.Echo/ServerStream", [encodeEcho({ count: 3 })]);
    const counts = (await collect(counted.messages)).map((m) => decodeAnswer(m).request?.count);
    assert.deepEqual(counts, [0, 1, 2]);
    assert.equal((await counted.end).code, 0);

    const texts = ["a", "b", "c"].map((text) => encodeEcho({ text }));
    const joined = channel.stream("/echo.v1.Echo/ClientStream", each(texts));
    const [one] = await collect(joined.messages);
    assert.equal(decodeAnswer(one ?? new Uint8Array()).request?.text, "a b c");

    const echoed = channel.stream(bidiPath, each(texts));
    const back = (await collect(echoed.messages)).map((m) => decodeAnswer(m).request?.text);
    assert.deepEqual(back, ["a", "b", "c"]);
  });

  it("talks to grpc-js, with packed answers", async () => {
    const server = new Server({ "grpc.default_compression_algorithm": 2 });
    const identity = (value: Buffer): Buffer => value;
    server.addService(
      {
        unary: {
          path: "/any.Service/Unary",
          requestStream: false,
          responseStream: false,
          requestSerialize: identity,
          requestDeserialize: identity,
          responseSerialize: identity,
          responseDeserialize: identity,
        },
      },
      {
        unary: (call: { request: Buffer }, done: (e: null, v: Buffer) => void) =>
          done(null, Buffer.concat([call.request, Buffer.alloc(100_000, 7)])),
      },
    );
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    try {
      await using dialer = openDialer();
      await using channel = dialer.dial(`127.0.0.1:${port}`, "endpoint");
      const { message } = await channel.unary("/any.Service/Unary", Buffer.from("x"));
      assert.equal(message.byteLength, 100_001);
    } finally {
      server.forceShutdown();
    }
  });

  it("passes on the status of the other server, with its details", async () => {
    await using server = await openGrpcFixture({
      handlers: {
        unary: () =>
          Promise.reject(
            new CollectorError("RECORD_EXISTS", "50 % taken", { subject: { id: "a" } }),
          ),
      },
    });
    await using dialer = openDialer();
    await using channel = dialer.dial(server.address, "endpoint");
    const failure = await failureOf(channel.unary(unaryPath, encodeEcho({})));
    assert.deepEqual(
      [failure.code, failure.message, failure.isRemote, failure.mayHaveRun],
      [6, "50 % taken", true, true],
    );
    const status = toConnectError(failure);
    assert.equal(status.rawMessage, "50 % taken");
    const types = status.details.map((detail) => ("type" in detail ? detail.type : ""));
    assert.deepEqual(types, ["google.rpc.ErrorInfo", "google.rpc.ResourceInfo"]);
  });

  it("cancels what its caller cancels, and what runs past its deadline", async () => {
    let cancelled = 0;
    await using server = await openGrpcFixture({
      handlers: {
        wait: (_request, call) =>
          new Promise((_resolve, reject) => {
            call.signal.addEventListener("abort", () => {
              cancelled += 1;
              reject(call.signal.reason);
            });
          }),
      },
    });
    await using dialer = openDialer();
    await using channel = dialer.dial(server.address, "endpoint");
    const controller = new AbortController();
    const call = channel.unary("/echo.v1.Echo/Wait", encodeEcho({}), { signal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    const failure = await failureOf(call);
    assert.deepEqual([failure.code, failure.reason], [1, "CANCELLED"]);
    await waitUntil("it comes", 5_000, () => cancelled === 1);

    const late = await failureOf(
      channel.unary("/echo.v1.Echo/Wait", encodeEcho({}), { deadlineMs: performance.now() + 100 }),
    );
    assert.equal(late.code, 4);
    await waitUntil("it comes", 5_000, () => cancelled === 2);
    const never = await failureOf(
      channel.unary(unaryPath, encodeEcho({}), { deadlineMs: performance.now() - 1 }),
    );
    assert.deepEqual([never.code, never.mayHaveRun], [4, false]);
  });

  it("cancels when the reader of an answer leaves early", async () => {
    let left = false;
    await using server = await openGrpcFixture({
      handlers: {
        async *serverStream() {
          try {
            for (;;) {
              yield { request: { data: new Uint8Array(1000) } };
              await sleep(1);
            }
          } finally {
            left = true;
          }
        },
      },
    });
    await using dialer = openDialer();
    await using channel = dialer.dial(server.address, "endpoint");
    const answer = channel.stream("/echo.v1.Echo/ServerStream", [encodeEcho({})]);
    for await (const _message of answer.messages) break;
    await waitUntil("it comes", 5_000, () => left);
    assert.equal((await answer.end).code, 1);
  });

  it("delivers what came before a failure, and then the failure", async () => {
    await using server = await openGrpcFixture({
      handlers: {
        async *serverStream() {
          yield { request: { text: "one" } };
          throw new CollectorError("OVERLOADED", "enough");
        },
      },
    });
    await using dialer = openDialer();
    await using channel = dialer.dial(server.address, "endpoint");
    const answer = channel.stream("/echo.v1.Echo/ServerStream", [encodeEcho({})]);
    assert.equal((await answer.end).code, 8);
    const seen: number[] = [];
    await assert.rejects(async () => {
      for await (const message of answer.messages) seen.push(message.byteLength);
    }, CallFailure);
    assert.equal(seen.length, 1);
  });

  it("takes the status of a server that answers before the request is whole", async () => {
    await using server = await openGrpcFixture({
      handlers: {
        clientStream: () => Promise.resolve({ request: { text: "enough" } }),
      },
    });
    await using dialer = openDialer();
    await using channel = dialer.dial(server.address, "endpoint");
    let stopped = false;
    async function* endless(): AsyncIterable<Uint8Array> {
      try {
        for (;;) {
          yield encodeEcho({ data: new Uint8Array(100_000) });
          await sleep(1);
        }
      } finally {
        stopped = true;
      }
    }
    const answer = channel.stream("/echo.v1.Echo/ClientStream", endless());
    const [message] = await collect(answer.messages);
    assert.equal(decodeAnswer(message ?? new Uint8Array()).request?.text, "enough");
    await waitUntil("it comes", 5_000, () => stopped);
  });

  it("holds back whoever sends more than the other side takes, in both directions", async () => {
    let release: (() => void) | undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    let taken = 0;
    let given = 0;
    await using server = await openGrpcFixture({
      handlers: {
        async *bidi(requests) {
          await gate;
          for await (const _request of requests) taken += 1;
          yield { request: { count: taken } };
        },
        async *serverStream() {
          for (; given < 60; given += 1) yield { request: { data: new Uint8Array(1_000_000) } };
        },
      },
    });
    await using dialer = openDialer();
    await using channel = dialer.dial(server.address, "endpoint");
    let sent = 0;
    async function* many(): AsyncIterable<Uint8Array> {
      const message = encodeEcho({ data: new Uint8Array(1_000_000) });
      for (; sent < 40; sent += 1) yield message;
    }
    const up = channel.stream(bidiPath, many());
    const reading = collect(up.messages);
    await sleep(300);
    // A window of 8 MiB, a megabyte in the stream, and what is on its way.
    assert.ok(sent < 14, `${sent} MB sent`);
    release?.();
    assert.equal((await reading).length, 1);
    assert.equal(taken, 40);
    const down = channel.stream("/echo.v1.Echo/ServerStream", [encodeEcho({})]);
    await sleep(300);
    assert.ok(given < 14, `${given} MB taken in`);
    assert.equal((await collect(down.messages)).length, 60);
  });

  it("carries much in both directions at once", async () => {
    await using server = await openGrpcFixture({
      handlers: {
        async *serverStream() {
          for (let i = 0; i < 30; i += 1) yield { request: { data: new Uint8Array(1_000_000) } };
        },
      },
    });
    await using dialer = openDialer();
    await using channel = dialer.dial(server.address, "endpoint");
    const message = encodeEcho({ data: new Uint8Array(1_000_000) });
    const many = Array.from({ length: 20 }, () => message);
    const answers = [
      channel.stream(bidiPath, many),
      channel.stream("/echo.v1.Echo/ServerStream", [encodeEcho({})]),
      channel.stream(bidiPath, many),
    ];
    const counts = answers.map(async ({ messages }) => (await collect(messages)).length);
    assert.deepEqual(await Promise.all(counts), [20, 30, 20]);
  });

  it("refuses an answer over the limit before it takes it in, packed or not", async () => {
    await using server = await openRawServer((stream, path) => {
      stream.respond({
        ":status": 200,
        "content-type": "application/grpc",
        "grpc-encoding": "gzip",
      });
      const prefix = Buffer.from([0, 0x7f, 0xff, 0xff, 0xff]);
      const bomb = gzipSync(Buffer.alloc(100_000));
      stream.write(path === "/a/Packed" ? encodeFrame(bomb, true) : prefix);
    });
    await using dialer = openDialer({ messageBytesMax: 1000 });
    await using channel = dialer.dial(server.url, "endpoint");
    const failure = await failureOf(channel.unary("/a/Plain", new Uint8Array()));
    assert.deepEqual([failure.code, failure.reason], [8, "MESSAGE_TOO_LARGE"]);
    const packed = channel.stream("/a/Packed", []);
    await assert.rejects(collect(packed.messages), { reason: "MESSAGE_TOO_LARGE" });
    const own = await failureOf(channel.unary("/a/Plain", new Uint8Array(2000)));
    assert.deepEqual([own.reason, own.mayHaveRun], ["MESSAGE_TOO_LARGE", false]);
  });
});

describe("a channel's connection", () => {
  it("is shared, made again when the server went away, and closed when nobody uses it", async () => {
    await using dialer = openDialer();
    let server = await openRawServer(answerOk);
    const { port } = server;
    const first = dialer.dial(`127.0.0.1:${port}`, "endpoint");
    const second = dialer.dial(`http://127.0.0.1:${port}`, "endpoint");
    await Promise.all([first, second].map((c) => c.unary("/a/B", new Uint8Array())));
    assert.equal(server.sessions.length, 1);
    await server[Symbol.asyncDispose]();
    await waitUntil("it comes", 5_000, () => first.state === "idle");
    const gone = await failureOf(first.unary("/a/B", new Uint8Array()));
    assert.deepEqual([gone.code, gone.reason, gone.mayHaveRun], [14, "PEER_UNAVAILABLE", false]);

    server = await openRawServer(answerOk, {}, port);
    await using _server = server;
    await waitUntil("it comes", 5_000, () =>
      first.unary("/a/B", new Uint8Array()).then(Boolean, () => false),
    );
    await first[Symbol.asyncDispose]();
    assert.equal(second.state, "ready");
    await second[Symbol.asyncDispose]();
    await waitUntil("it comes", 5_000, () => server.sessions.every(({ closed }) => closed));
    const closed = await failureOf(second.unary("/a/B", new Uint8Array()));
    assert.equal(closed.mayHaveRun, false);
  });

  it("knows which calls have not run: refused streams, and those after a GOAWAY", async () => {
    let calls = 0;
    await using server = await openRawServer((stream, path) => {
      calls += 1;
      if (path === "/a/Refuse") stream.close(7);
      else if (path === "/a/Cancel") stream.close(8);
      else if (path === "/a/Break") stream.session?.destroy();
      else if (path === "/a/Ok") answerOk(stream);
      else if (path === "/a/Leave") stream.session?.goaway(0, (stream.id ?? 0) - 2);
    });
    await using dialer = openDialer();
    await using channel = dialer.dial(server.url, "endpoint");
    const seen: unknown[] = [];
    for (const name of ["Refuse", "Cancel", "Break", "Leave"]) {
      if (name === "Leave") await channel.unary("/a/Ok", new Uint8Array());
      const failure = await failureOf(channel.unary(`/a/${name}`, new Uint8Array()));
      seen.push([name, failure.code, failure.mayHaveRun]);
    }
    assert.deepEqual(seen, [
      ["Refuse", 14, false],
      ["Cancel", 1, true],
      ["Break", 14, true],
      ["Leave", 14, false],
    ]);
    assert.equal(calls, 5);
  });

  it("is left for another one when the server asks, without losing a call", async () => {
    const open: (() => void)[] = [];
    await using server = await openRawServer((stream, path) => {
      if (path === "/a/Slow") {
        open.push(() => answerOk(stream));
        stream.session?.goaway(0, 2 ** 31 - 1);
      } else answerOk(stream);
    });
    await using dialer = openDialer();
    await using channel = dialer.dial(server.url, "endpoint");
    const slow = channel.unary("/a/Slow", new Uint8Array());
    await waitUntil("it comes", 5_000, () => open.length === 1);
    await sleep(20);
    await channel.unary("/a/B", new Uint8Array());
    assert.equal(server.sessions.length, 2);
    for (const answer of open) answer();
    await slow;
  });

  it("has as many streams as the server takes; more calls wait, within bounds", async () => {
    let open = 0;
    let most = 0;
    const held: (() => void)[] = [];
    await using server = await openRawServer(
      (stream) => {
        open += 1;
        most = Math.max(most, open);
        held.push(() => {
          open -= 1;
          answerOk(stream);
        });
      },
      { maxConcurrentStreams: 2 },
    );
    await using dialer = openDialer({ peerConnectionsMax: 2, peerQueueMax: 3 });
    await using channel = dialer.dial(server.url, "endpoint");
    const first = Array.from({ length: 3 }, () => channel.unary("/a/B", new Uint8Array()));
    await waitUntil("it comes", 5_000, () => held.length === 3);
    const more = Array.from({ length: 5 }, () => channel.unary("/a/B", new Uint8Array()));
    const failure = await failureOf(more[4] ?? Promise.reject(new Error("no call")));
    assert.deepEqual([failure.reason, failure.mayHaveRun], ["OVERLOADED", false]);
    const pump = setInterval(() => held.shift()?.(), 1);
    await Promise.all([...first, ...more.slice(0, 4)]);
    clearInterval(pump);
    assert.ok(most <= 4, `${most} streams at a time`);
    assert.equal(server.sessions.length, 2);
  });

  it("is given up when nothing answers to a ping", async () => {
    await using server = await openRawServer(() => undefined);
    await using dialer = openDialer({ peerKeepAliveMs: 30 });
    await using channel = dialer.dial(server.url, "endpoint");
    // A server that lives is only asked.
    const call = channel.unary("/a/B", new Uint8Array(), { deadlineMs: performance.now() + 300 });
    assert.equal((await failureOf(call)).code, 4);
    assert.equal(channel.state, "ready");
  });

  it("is closed after a while without calls", async () => {
    await using server = await openRawServer(answerOk);
    await using dialer = openDialer({ peerIdleMs: 50 });
    await using channel = dialer.dial(server.url, "endpoint");
    await channel.unary("/a/B", new Uint8Array());
    await waitUntil("it comes", 5_000, () => channel.state === "idle");
    await channel.unary("/a/B", new Uint8Array());
    assert.equal(server.sessions.length, 2);
  });

  it("is not taken for one if the other side speaks something else", async () => {
    await using server = await openRawServer((stream) => {
      stream.respond({ ":status": 503 });
      stream.end("down");
    });
    await using dialer = openDialer();
    await using channel = dialer.dial(server.url, "endpoint");
    assert.equal((await failureOf(channel.unary("/a/B", new Uint8Array()))).code, 14);
  });
});

function answerOk(stream: Parameters<Parameters<typeof openRawServer>[0]>[0]): void {
  stream.resume();
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.end(encodeFrame(new Uint8Array([1])));
}

async function failureOf(call: Promise<unknown>): Promise<CallFailure> {
  try {
    await call;
  } catch (error) {
    assert.ok(error instanceof CallFailure, String(error));
    return error;
  }
  throw new Error("the call succeeded");
}
