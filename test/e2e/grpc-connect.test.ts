import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { compressionGzip, createGrpcTransport } from "@connectrpc/connect-node";
import { CollectorError } from "../../src/errors.ts";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../src/gen/google/rpc/error_details_pb.ts";
import { type Echo, type EchoAnswer, openGrpcFixture } from "../support/grpc-fixture.ts";
import { echoService } from "../support/http-fixture.ts";

type Fields = Partial<Pick<Echo, "text" | "count">>;

/** A client of `echo.v1.Echo`, whose descriptor is only known at run time. */
interface EchoClient {
  unary(request: Fields, options?: object): Promise<EchoAnswer>;
  serverStream(request: Fields): AsyncIterable<EchoAnswer>;
  clientStream(requests: AsyncIterable<Fields>): Promise<EchoAnswer>;
  bidi(requests: AsyncIterable<Fields>): AsyncIterable<EchoAnswer>;
}

function connect(baseUrl: string, options: object = {}): EchoClient {
  const transport = createGrpcTransport({ baseUrl, ...options });
  return createClient<DescService & { method: Record<string, DescMethod> }>(
    echoService,
    transport,
  ) as unknown as EchoClient;
}

describe("gRPC for connect-node", () => {
  it("serves methods of all four kinds, plain and packed", async () => {
    await using server = await openGrpcFixture();
    const packing = { sendCompression: compressionGzip, compressMinBytes: 0 };
    for (const options of [{}, packing]) {
      const client = connect(server.url, options);
      const text = "word ".repeat(1000);
      assert.equal((await client.unary({ text })).request?.text, text);
      assert.deepEqual(await counts(client.serverStream({ count: 3 })), [0, 1, 2]);
      const uploaded = await client.clientStream(each({ text: "a" }, { text: "b" }));
      assert.equal(uploaded.request?.text, "a b");
      assert.deepEqual(await counts(client.bidi(each({ count: 5 }, { count: 6 }))), [5, 6]);
    }
  });

  it("tells the details of a failure", async () => {
    const violations = [{ field: "item.price", description: "must be positive" }];
    await using server = await openGrpcFixture({
      handlers: {
        unary: () =>
          Promise.reject(
            new CollectorError("OVERLOADED", "later", { violations, retryAfterMs: 1500 }),
          ),
      },
    });
    const error = await connect(server.url).unary({}).then(unexpected, asConnectError);
    assert.equal(error.code, Code.ResourceExhausted);
    assert.equal(error.rawMessage, "later");
    assert.equal(error.findDetails(ErrorInfoSchema)[0]?.reason, "OVERLOADED");
    assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, "item.price");
    assert.equal(error.findDetails(RetryInfoSchema)[0]?.retryDelay?.seconds, 1n);
  });

  it("sends a status that clients can take, however long the failure tells", async () => {
    const long = "☃".repeat(20_000);
    await using server = await openGrpcFixture({
      handlers: {
        unary: () =>
          Promise.reject(
            new CollectorError("ARGUMENT_INVALID", long, {
              violations: [{ field: "text", description: long }],
            }),
          ),
      },
    });
    const error = await connect(server.url).unary({}).then(unexpected, asConnectError);
    assert.equal(error.code, Code.InvalidArgument);
    assert.match(error.rawMessage, /^☃{300,}…$/u);
    assert.equal(error.findDetails(ErrorInfoSchema)[0]?.reason, "ARGUMENT_INVALID");
  });

  it("passes the metadata of a ConnectError on", async () => {
    await using server = await openGrpcFixture({
      handlers: {
        unary: () =>
          Promise.reject(new ConnectError("no", Code.Aborted, { "x-why": "so", "grpc-x": "1" })),
      },
    });
    const error = await connect(server.url).unary({}).then(unexpected, asConnectError);
    assert.equal(error.code, Code.Aborted);
    assert.equal(error.metadata.get("x-why"), "so");
    assert.equal(error.metadata.get("grpc-x"), null);
  });

  it("keeps the caller's deadline and cancellation", async () => {
    await using server = await openGrpcFixture({
      handlers: { unary: (_request, { signal }) => rejectOn(signal) },
    });
    const client = connect(server.url);
    const late = await client.unary({}, { timeoutMs: 50 }).then(unexpected, asConnectError);
    assert.equal(late.code, Code.DeadlineExceeded);
    const gone = AbortSignal.timeout(50);
    const cancelled = await client.unary({}, { signal: gone }).then(unexpected, asConnectError);
    assert.ok([Code.Canceled, Code.DeadlineExceeded].includes(cancelled.code));
  });
});

function asConnectError(error: unknown): ConnectError {
  return ConnectError.from(error);
}

function unexpected(): never {
  assert.fail("the call succeeded");
}

function rejectOn(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}

async function* each(...requests: Fields[]): AsyncIterable<Fields> {
  yield* requests;
}

async function counts(answers: AsyncIterable<EchoAnswer>): Promise<(number | undefined)[]> {
  const result: (number | undefined)[] = [];
  for await (const { request } of answers) result.push(request?.count);
  return result;
}
