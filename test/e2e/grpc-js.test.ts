import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import * as grpc from "@grpc/grpc-js";
import { CollectorError } from "../../src/errors.ts";
import { ErrorInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../src/gen/google/rpc/status_pb.ts";
import { type EchoAnswer, GrpcJsClient, openGrpcFixture } from "../support/grpc-fixture.ts";
import { waitUntil } from "../support/wait.ts";

describe("gRPC for grpc-js", () => {
  it("answers a unary call", async () => {
    await using server = await openGrpcFixture();
    using client = new GrpcJsClient(server.address);
    const { request } = await client.unary("Unary", { text: "grüße", count: -1 }).answer;
    assert.deepEqual([request?.text, request?.count], ["grüße", -1]);
  });

  it("serves streams of all three kinds", async () => {
    await using server = await openGrpcFixture();
    using client = new GrpcJsClient(server.address);

    const downloaded = await texts(client.serverStream({ text: "down", count: 3 }));
    assert.deepEqual(downloaded, ["down", "down", "down"]);
    assert.deepEqual(await texts(client.serverStream({ count: 0 })), []);

    const upload = client.clientStream();
    for (const text of ["a", "b", "c"]) upload.call.write({ text });
    upload.call.end();
    assert.equal((await upload.answer).request?.text, "a b c");

    const talk = client.bidi();
    const answers = talk[Symbol.asyncIterator]();
    for (const text of ["ping", "pong"]) {
      talk.write({ text });
      const { value } = (await answers.next()) as IteratorResult<EchoAnswer, undefined>;
      assert.equal(value?.request?.text, text);
    }
    talk.end();
    assert.equal((await answers.next()).done, true);
  });

  it("carries metadata both ways, bytes included", async () => {
    const bytes = Buffer.from([0, 255, 128, 1]);
    await using server = await openGrpcFixture({
      handlers: {
        unary: async (_request, call) => {
          const entries = [...call.requestMetadata.entries()];
          call.responseHeaders.set("x-head", "h");
          call.responseHeaders.set("x-head-bin", bytes);
          call.responseTrailers.set("x-tail", "t");
          call.responseTrailers.set("x-tail-bin", bytes);
          assert.deepEqual(call.requestMetadata.getBinary("x-raw-bin"), new Uint8Array(bytes));
          assert.equal(call.requestMetadata.get("x-word"), "one");
          return { metadata: Object.fromEntries(entries) };
        },
      },
    });
    using client = new GrpcJsClient(server.address);
    const metadata = new grpc.Metadata();
    metadata.set("x-word", "one");
    metadata.add("x-word", "two");
    metadata.set("x-raw-bin", bytes);
    metadata.set("x-collector-namespace", "shop");
    metadata.set("x-collector-hops", "99");
    const { call, answer } = client.unary("Unary", {}, metadata);
    const head = once(call, "metadata") as Promise<[grpc.Metadata]>;
    const tail = once(call, "status") as Promise<[grpc.StatusObject]>;
    const seen = (await answer).metadata;
    assert.equal(seen["x-collector-namespace"], "shop");
    assert.equal(seen["x-collector-hops"], undefined, "only the namespace passes");
    for (const name of ["content-type", "te", ":path", "grpc-accept-encoding"]) {
      assert.equal(seen[name], undefined, `${name} is the protocol's`);
    }
    const [headers] = await head;
    assert.deepEqual(headers.get("x-head"), ["h"]);
    assert.deepEqual(headers.get("x-head-bin"), [bytes]);
    const [{ metadata: trailers }] = await tail;
    assert.deepEqual(trailers.get("x-tail"), ["t"]);
    assert.deepEqual(trailers.get("x-tail-bin"), [bytes]);
  });

  it("tells code, message and details of a failure", async () => {
    await using server = await openGrpcFixture({
      handlers: {
        unary: () =>
          Promise.reject(
            new CollectorError("RECORD_NOT_FOUND", "no 100 % ☃\nhere", { subject: { id: "x" } }),
          ),
      },
    });
    using client = new GrpcJsClient(server.address);
    const error = await failure(client.unary("Unary", {}).answer);
    assert.equal(error.code, grpc.status.NOT_FOUND);
    assert.equal(error.details, "no 100 % ☃\nhere");
    const [bytes] = error.metadata.get("grpc-status-details-bin");
    assert.ok(bytes instanceof Buffer);
    const [detail] = fromBinary(StatusSchema, bytes).details;
    assert.ok(detail !== undefined);
    assert.equal(anyUnpack(detail, ErrorInfoSchema)?.reason, "RECORD_NOT_FOUND");
    assert.deepEqual(server.logged, []);
  });

  it("fails only the call whose handler has a bug, and keeps the bug to its log", async () => {
    await using server = await openGrpcFixture();
    using client = new GrpcJsClient(server.address);
    const error = await failure(client.unary("Fail", {}).answer);
    assert.equal(error.code, grpc.status.INTERNAL);
    assert.doesNotMatch(error.details, /secret/);
    assert.equal(server.logged.length, 1);
    assert.equal((await client.unary("Unary", { text: "next" }).answer).request?.text, "next");
  });

  it("delivers what a stream sent before it failed", async () => {
    await using server = await openGrpcFixture({
      handlers: {
        async *serverStream() {
          yield { request: { text: "one" } };
          throw new CollectorError("DISK_FULL", "no room");
        },
      },
    });
    using client = new GrpcJsClient(server.address);
    const stream = client.serverStream({});
    const seen: string[] = [];
    const error = await failure(
      (async () => {
        for await (const answer of stream) seen.push((answer as EchoAnswer).request?.text ?? "");
      })(),
    );
    assert.deepEqual(seen, ["one"]);
    assert.equal(error.code, grpc.status.RESOURCE_EXHAUSTED);
  });

  it("reads and writes gzip when the client does", async () => {
    await using server = await openGrpcFixture();
    using client = new GrpcJsClient(server.address, { "grpc.default_compression_algorithm": 2 });
    const text = "compressible ".repeat(10_000);
    assert.equal((await client.unary("Unary", { text }).answer).request?.text, text);
    assert.equal((await client.unary("Unary", { text: "short" }).answer).request?.text, "short");
    assert.deepEqual(await texts(client.serverStream({ text, count: 2 })), [text, text]);
  });

  it("refuses messages over the limit, in and out", async () => {
    await using server = await openGrpcFixture({
      limits: { messageBytesMax: 1000 },
      handlers: {
        unary: async ({ count }) => ({ request: { data: new Uint8Array(count) } }),
        async *serverStream({ count }) {
          yield { request: { data: new Uint8Array(count) } };
        },
      },
    });
    using client = new GrpcJsClient(server.address);
    const calls = [
      client.unary("Unary", { data: new Uint8Array(1001) }).answer,
      client.unary("Unary", { count: 1001 }).answer,
      texts(client.serverStream({ count: 1001 })),
    ];
    for (const call of calls) {
      const error = await failure(call);
      assert.equal(error.code, grpc.status.RESOURCE_EXHAUSTED);
      assert.match(error.details, /limit is 1000 bytes \(messageBytesMax\)/);
    }
  });

  it("tells the handler that the client has cancelled", async () => {
    const signals: AbortSignal[] = [];
    await using server = await openGrpcFixture({
      handlers: {
        wait: (_request, call) => {
          signals.push(call.signal);
          return new Promise(() => undefined);
        },
        async *serverStream(_request, call) {
          signals.push(call.signal);
          yield {};
          await new Promise((resolve) => call.signal.addEventListener("abort", resolve));
        },
      },
    });
    using client = new GrpcJsClient(server.address);
    const waiting = client.unary("Wait", {});
    const streaming = client.serverStream({});
    streaming.on("error", () => undefined);
    await once(streaming, "data");
    await waitUntil("both handlers run", 5000, () => signals.length === 2);
    waiting.call.cancel();
    streaming.cancel();
    assert.equal((await failure(waiting.answer)).code, grpc.status.CANCELLED);
    await waitUntil("both signals fire", 5000, () => signals.every(({ aborted }) => aborted));
    await waitUntil("no call is left", 5000, () => server.handler.callCount === 0);
    assert.deepEqual(server.logged, []);
  });

  it("closes a stream's generator when the client cancels", async () => {
    let isClosed = false;
    await using server = await openGrpcFixture({
      handlers: {
        async *serverStream() {
          try {
            for (;;) yield { request: { data: new Uint8Array(64 * 1024) } };
          } finally {
            isClosed = true;
          }
        },
      },
    });
    using client = new GrpcJsClient(server.address);
    const stream = client.serverStream({});
    stream.on("error", () => undefined);
    await once(stream, "data");
    stream.cancel();
    await waitUntil("the generator is closed", 5000, () => isClosed);
  });

  it("gives the caller's deadline to the handler", async () => {
    const left: (number | undefined)[] = [];
    await using server = await openGrpcFixture({
      limits: { deadlineDefaultMs: 20_000, deadlineMaxMs: 60_000 },
      handlers: {
        unary: async (_request, call) => {
          left.push(
            call.deadlineMs === undefined ? undefined : call.deadlineMs - performance.now(),
          );
          return {};
        },
        async *serverStream(_request, call) {
          left.push(call.deadlineMs);
          yield {};
        },
      },
    });
    using client = new GrpcJsClient(server.address);
    const none = new grpc.Metadata();
    await client.unary("Unary", {}).answer;
    await client.unary("Unary", {}, none, { deadline: Date.now() + 5000 }).answer;
    await client.unary("Unary", {}, none, { deadline: Date.now() + 1e9 }).answer;
    await texts(client.serverStream({}));
    const [byDefault = 0, asked = 0, capped = 0, stream] = left;
    assert.ok(byDefault > 5000 && byDefault <= 20_000, `${byDefault}`);
    assert.ok(asked > 0 && asked <= 5000, `${asked}`);
    assert.ok(capped > 20_000 && capped <= 60_000, `${capped}`);
    assert.equal(stream, undefined, "streams have no deadline of their own");
  });
});

/** The texts of a stream's answers. */
async function texts(stream: AsyncIterable<EchoAnswer>): Promise<string[]> {
  const result: string[] = [];
  for await (const answer of stream) result.push(answer.request?.text ?? "");
  return result;
}

async function failure(call: Promise<unknown>): Promise<grpc.ServiceError> {
  try {
    await call;
  } catch (error) {
    return error as grpc.ServiceError;
  }
  throw new Error("the call succeeded");
}
