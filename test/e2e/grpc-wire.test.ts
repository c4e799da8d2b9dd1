import assert from "node:assert/strict";
import type { ClientHttp2Session } from "node:http2";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { describe, it } from "node:test";
import { createGzip, gunzipSync, gzipSync } from "node:zlib";
import * as fc from "fast-check";
import { decodeAnswer, encodeEcho, openGrpcFixture } from "../support/grpc-fixture.ts";
import { callRaw, connectRaw, frame, type RawAnswer } from "../support/raw-call.ts";

const unary = "/echo.v1.Echo/Unary";
const hello: Buffer = frame(encodeEcho({ text: "hello" }));

const status = {
  ok: 0,
  invalidArgument: 3,
  deadlineExceeded: 4,
  resourceExhausted: 8,
  unimplemented: 12,
} as const;

describe("gRPC on the wire", () => {
  it("answers UNIMPLEMENTED to paths that name no method", async () => {
    await using server = await openGrpcFixture({ findRaw: () => assert.fail("asked for a path") });
    using connection = connectRaw(server.url);
    const paths = [
      "/echo.v1.Echo/Unary?x=1",
      "/echo.v1.Echo/Unary/",
      "//echo.v1.Echo/Unary",
      "/echo.v1.Echo",
      "/echo.v1.Echo/",
      "/",
      "/../etc/passwd",
      "/echo.v1.Echo/%55nary",
      `/${"x".repeat(5000)}`,
    ];
    for (const path of paths) {
      const answer = await callRaw(connection.session, path, hello);
      assert.equal(answer.httpStatus, 200, path);
      assert.equal(answer.status, status.unimplemented, path);
      assert.ok(answer.message.length < 300, "a path is cut");
    }
    await serves(connection.session);
  });

  it("survives a path without a slash, and an empty one", async () => {
    await using server = await openGrpcFixture();
    for (const path of ["echo.v1.Echo/Unary", "*", ""]) {
      using connection = connectRaw(server.url);
      const answer = await callRaw(connection.session, path, hello);
      // The HTTP/2 engine may refuse these before they are calls.
      assert.ok([status.unimplemented, undefined].includes(answer.status as 12), path);
    }
    using connection = connectRaw(server.url);
    await serves(connection.session);
  });

  it("answers UNIMPLEMENTED to methods that nobody serves", async () => {
    await using server = await openGrpcFixture();
    using connection = connectRaw(server.url);
    for (const path of ["/echo.v1.Echo/Nope", "/nope.Nope/Unary", "/__proto__/constructor"]) {
      const answer = await callRaw(connection.session, path, hello);
      assert.equal(answer.status, status.unimplemented);
      assert.match(answer.message, /this server has no method/);
    }
  });

  it("serves gRPC over protobuf only, by POST only", async () => {
    await using server = await openGrpcFixture();
    using connection = connectRaw(server.url);
    const call = (headers: Record<string, string>) =>
      callRaw(connection.session, unary, hello, headers);
    for (const type of ["application/grpc", "application/grpc+proto", "application/grpc;v=1"]) {
      assert.equal((await call({ "content-type": type })).status, status.ok, type);
    }
    for (const type of ["application/grpc+thrift", "application/grpcx", "text/plain"]) {
      assert.equal((await call({ "content-type": type })).httpStatus, 415, type);
    }
    assert.equal((await call({ ":method": "PUT" })).httpStatus, 405);
  });

  it("takes exactly one message where the method takes one", async () => {
    await using server = await openGrpcFixture();
    using connection = connectRaw(server.url);
    for (const path of [unary, "/echo.v1.Echo/ServerStream"]) {
      const none = await callRaw(connection.session, path, new Uint8Array());
      assert.deepEqual([none.status, /none came/.test(none.message)], [12, true]);
      const two = await callRaw(connection.session, path, Buffer.concat([hello, hello]));
      assert.deepEqual([two.status, /more than one came/.test(two.message)], [12, true]);
    }
  });

  it("takes an empty message", async () => {
    await using server = await openGrpcFixture();
    using connection = connectRaw(server.url);
    assert.equal((await callRaw(connection.session, unary, frame(new Uint8Array()))).status, 0);
  });

  it("refuses malformed frames and messages", async () => {
    await using server = await openGrpcFixture();
    using connection = connectRaw(server.url);
    const bodies: readonly [RegExp, Uint8Array][] = [
      [/middle of a message/, hello.subarray(0, 3)],
      [/middle of a message/, hello.subarray(0, hello.length - 1)],
      [/flag 2/, Buffer.concat([Buffer.from([2]), hello.subarray(1)])],
      [/no valid echo.v1.EchoRequest/, frame(Buffer.from([0x0a, 0xff, 0xff]))],
      [/no grpc-encoding/, Buffer.concat([Buffer.from([1]), hello.subarray(1)])],
    ];
    for (const [message, body] of bodies) {
      for (const path of [unary, "/echo.v1.Echo/ClientStream", "/echo.v1.Echo/Bidi"]) {
        const answer = await callRaw(connection.session, path, body);
        assert.equal(answer.status, status.invalidArgument, `${path} ${message}`);
        assert.match(answer.message, message);
      }
    }
    await serves(connection.session);
  });

  it("refuses a declared length over the limit before its bytes come", async () => {
    await using server = await openGrpcFixture();
    using connection = connectRaw(server.url);
    const prefix = Buffer.from([0, 0xff, 0xff, 0xff, 0xff]);
    for (const path of [unary, "/echo.v1.Echo/ClientStream"]) {
      const answer = await callRaw(connection.session, path, prefix);
      assert.equal(answer.status, status.resourceExhausted);
      assert.match(answer.message, /4294967295 bytes, the limit is 4194304 bytes/);
    }
  });

  it("stops unpacking a gzip bomb at the limit", async () => {
    await using server = await openGrpcFixture();
    using connection = connectRaw(server.url);
    const bomb = await gzipOfZeros(400);
    assert.ok(bomb.length < 450_000);
    const before = process.resourceUsage().maxRSS;
    for (const path of [unary, "/echo.v1.Echo/ClientStream", "/echo.v1.Echo/Bidi"]) {
      const answer = await callRaw(connection.session, path, packed(bomb), gzip);
      assert.equal(answer.status, status.resourceExhausted, path);
      assert.match(answer.message, /more than|limit is 4194304 bytes/);
    }
    const grownKib = process.resourceUsage().maxRSS - before;
    assert.ok(grownKib < 100 * 1024, `memory grew by ${grownKib} KiB`);
    // Small enough to be unpacked on the event loop, and still a bomb.
    const small = gzipSync(Buffer.alloc(480_000), { level: 9 });
    await using strict = await openGrpcFixture({ limits: { messageBytesMax: 1000 } });
    using other = connectRaw(strict.url);
    const answer = await callRaw(other.session, unary, packed(small), gzip);
    assert.equal(answer.status, status.resourceExhausted);
  });

  it("packs answers for who packs requests, where it pays", async () => {
    await using server = await openGrpcFixture();
    using connection = connectRaw(server.url);
    const echo = async (text: string, headers: Record<string, string>): Promise<Buffer> => {
      const body =
        headers["grpc-encoding"] === "gzip"
          ? packed(gzipSync(encodeEcho({ text })))
          : frame(encodeEcho({ text }));
      const answer = await callRaw(connection.session, unary, body, headers);
      assert.equal(answer.status, status.ok, answer.message);
      const message = answer.body.subarray(5);
      const bytes = answer.body[0] === 1 ? gunzipSync(message) : message;
      assert.equal(decodeAnswer(bytes).request?.text, text);
      return answer.body;
    };
    const long = "long ".repeat(1000);
    assert.equal((await echo(long, gzip))[0], 1);
    assert.equal((await echo("short", gzip))[0], 0, "too small to pay");
    assert.equal((await echo(long, {}))[0], 0, "not asked for");
    assert.equal((await echo(long, { ...gzip, "grpc-accept-encoding": "identity" }))[0], 0);
    assert.equal((await echo(long, { "grpc-accept-encoding": "gzip" }))[0], 0);
  });

  it("refuses an unknown grpc-encoding and says which it knows", async () => {
    await using server = await openGrpcFixture();
    using connection = connectRaw(server.url);
    const headers = await new Promise<Record<string, unknown>>((resolve) => {
      const stream = connection.session.request({
        ":method": "POST",
        ":path": unary,
        "content-type": "application/grpc",
        "grpc-encoding": "snappy",
      });
      stream.on("response", resolve);
      stream.end(hello);
    });
    assert.equal(headers["grpc-status"], "12");
    assert.equal(headers["grpc-accept-encoding"], "identity,gzip");
  });

  it("refuses what is no gzip", async () => {
    await using server = await openGrpcFixture();
    using connection = connectRaw(server.url);
    for (const bytes of [
      Buffer.from("no gzip"),
      Buffer.alloc(2000, 7),
      gzipSync("cut").subarray(0, 15),
    ]) {
      const answer = await callRaw(connection.session, unary, packed(bytes), gzip);
      assert.equal(answer.status, status.invalidArgument);
    }
  });

  it("takes grpc-timeout in every unit and refuses malformed ones", async () => {
    await using server = await openGrpcFixture();
    using connection = connectRaw(server.url);
    const call = (timeout: string, path = unary): Promise<RawAnswer> =>
      callRaw(connection.session, path, hello, { "grpc-timeout": timeout });
    for (const timeout of ["1H", "1M", "30S", "30000m", "30000000u", "99999999n", "99999999H"]) {
      const answer = await call(timeout, timeout.endsWith("n") ? "/echo.v1.Echo/Wait" : unary);
      const expected = timeout.endsWith("n") ? status.deadlineExceeded : status.ok;
      assert.equal(answer.status, expected, timeout);
    }
    for (const timeout of ["", "1", "S", "-1S", "1.5S", "123456789S", "1s", "1 S", "0x1S"]) {
      const answer = await call(timeout);
      assert.equal(answer.status, status.invalidArgument, timeout);
      assert.match(answer.message, /^grpc-timeout: /);
    }
    assert.equal((await call("0m", "/echo.v1.Echo/Wait")).status, status.deadlineExceeded);
  });

  it("ends calls at the deadline of the server, if the caller has none", async () => {
    const signals: AbortSignal[] = [];
    await using server = await openGrpcFixture({
      limits: { deadlineDefaultMs: 60 },
      handlers: {
        wait: (_request, { signal }) => {
          signals.push(signal);
          return new Promise(() => undefined);
        },
      },
    });
    using connection = connectRaw(server.url);
    const answer = await callRaw(connection.session, "/echo.v1.Echo/Wait", hello);
    assert.equal(answer.status, status.deadlineExceeded);
    assert.deepEqual(
      signals.map(({ aborted }) => aborted),
      [true],
    );
  });

  it("reads binary metadata with and without padding, alone and in lists", async () => {
    const seen: (readonly [string, string])[] = [];
    const bytes: (Uint8Array | undefined)[] = [];
    await using server = await openGrpcFixture({
      handlers: {
        unary: async (_request, { requestMetadata }) => {
          seen.push(...requestMetadata.entries());
          for (const name of ["a-bin", "b-bin", "c-bin", "d-bin"]) {
            bytes.push(requestMetadata.getBinary(name));
          }
          return {};
        },
      },
    });
    using connection = connectRaw(server.url);
    const answer = await callRaw(connection.session, unary, hello, {
      "a-bin": "AQI=",
      "b-bin": "AQI",
      "c-bin": "AQI,Aw==, BA",
    });
    assert.equal(answer.status, status.ok, answer.message);
    assert.deepEqual(bytes, [
      new Uint8Array([1, 2]),
      new Uint8Array([1, 2]),
      new Uint8Array([1, 2]),
      undefined,
    ]);
    const list = seen.filter(([name]) => name === "c-bin").map(([, value]) => value);
    assert.deepEqual(list, ["AQI", "Aw==", "BA"]);
  });

  it("refuses metadata that is not what its name says, when it is read", async () => {
    await using server = await openGrpcFixture({
      handlers: {
        unary: async (_request, { requestMetadata }) => {
          requestMetadata.getBinary("x-bin");
          requestMetadata.get("x-text");
          return {};
        },
      },
    });
    using connection = connectRaw(server.url);
    for (const headers of [{ "x-bin": "!" }, { "x-text": "\u00e9" }]) {
      const answer = await callRaw(connection.session, unary, hello, headers);
      assert.equal(answer.status, status.invalidArgument);
      assert.match(answer.message, /^x-(bin|text): must be/);
    }
  });

  it("refuses to send metadata that gRPC cannot carry", async () => {
    await using server = await openGrpcFixture({
      handlers: {
        unary: async (_request, { responseHeaders }) => {
          const bytes = new Uint8Array(1);
          const wrong: [string, string | Uint8Array][] = [
            ["grpc-status", "0"],
            ["content-type", "x"],
            [":path", "x"],
            ["Upper", "x"],
            ["x\r\ny", "x"],
            ["x", "a\r\nb"],
            ["x", "é"],
            ["x", bytes],
            ["x-bin", "text"],
          ];
          for (const [name, value] of wrong) {
            assert.throws(() => responseHeaders.set(name, value), TypeError);
          }
          return {};
        },
      },
    });
    using connection = connectRaw(server.url);
    assert.equal((await callRaw(connection.session, unary, hello)).status, status.ok);
  });

  it("outlives any bytes of any caller", async () => {
    await using server = await openGrpcFixture();
    using connection = connectRaw(server.url);
    const path = fc.constantFrom("Unary", "ServerStream", "ClientStream", "Bidi");
    const header = fc.record({
      flag: fc.constantFrom(0, 1, 2, 255),
      length: fc.oneof(fc.nat(20), fc.nat(0xffffffff)),
      payload: fc.uint8Array({ maxLength: 40 }),
    });
    const body = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.array(header, { maxLength: 4 }).map((parts) =>
        Buffer.concat(
          parts.map(({ flag, length, payload }) => {
            const prefix = Buffer.alloc(5);
            prefix[0] = flag;
            prefix.writeUInt32BE(length, 1);
            return Buffer.concat([prefix, payload]);
          }),
        ),
      ),
    );
    const encoding = fc.constantFrom("identity", "gzip");
    await fc.assert(
      fc.asyncProperty(path, body, encoding, async (method, bytes, name) => {
        const answer = await callRaw(connection.session, `/echo.v1.Echo/${method}`, bytes, {
          "grpc-encoding": name,
        });
        assert.ok([0, 3, 8, 12].includes(answer.status ?? -1), `${answer.status}`);
      }),
      { numRuns: 300, seed: 7 },
    );
    await serves(connection.session);
    assert.deepEqual(server.logged, []);
    assert.equal(server.handler.callCount, 0);
  });
});

/** Made piece by piece, so that making it does not take the memory that is measured after. */
async function gzipOfZeros(mebibytes: number): Promise<Buffer> {
  const piece = Buffer.alloc(1024 * 1024);
  const zeros = Readable.from(Array.from({ length: mebibytes }, () => piece));
  return await buffer(zeros.pipe(createGzip({ level: 9 })));
}

const gzip: Readonly<Record<string, string>> = { "grpc-encoding": "gzip" };

function packed(bytes: Uint8Array): Buffer {
  const framed = frame(bytes);
  framed[0] = 1;
  return framed;
}

/** The next honest call is served. */
async function serves(session: ClientHttp2Session): Promise<void> {
  const answer = await callRaw(session, unary, hello);
  assert.equal(answer.status, status.ok, answer.message);
  assert.equal(decodeAnswer(answer.body.subarray(5)).request?.text, "hello");
}
