import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { connect as connectHttp2, constants } from "node:http2";
import { get } from "node:https";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { gzipSync } from "node:zlib";
import { type Fixture, openFixture } from "../support/http-fixture.ts";
import { dial, received, serves } from "../support/http-socket.ts";
import { selfSignedCertificate } from "../support/tls.ts";

const mib = 1024 * 1024;

function call(
  fixture: Fixture,
  method: string,
  type: string,
  body: NonNullable<RequestInit["body"]>,
  headers = {},
) {
  return fetch(`${fixture.url}/echo.v1.Echo/${method}`, {
    method: "POST",
    headers: { "content-type": type, ...headers },
    body,
    duplex: "half",
  });
}

function envelope(body: Uint8Array, flags = 0): Uint8Array<ArrayBuffer> {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(body.length, 1);
  return new Uint8Array(Buffer.concat([head, body]));
}

describe("A message over the limit", () => {
  const limits = { messageBytesMax: mib };

  it("is refused in Connect and gRPC-Web, in JSON and binary, and the connection lives", async () => {
    await using fixture = await openFixture({ limits });
    const text = `{"text":"${"a".repeat(2 * mib)}"}`;
    const json = await call(fixture, "Unary", "application/json", text);
    assert.equal(json.status, 429);
    assert.match(await json.text(), /"resource_exhausted".*messageBytesMax is 1048576/);

    const proto = await call(fixture, "Unary", "application/proto", Buffer.alloc(2 * mib));
    assert.match(await proto.text(), /resource_exhausted/);

    const web = await call(
      fixture,
      "Unary",
      "application/grpc-web",
      envelope(Buffer.alloc(2 * mib)),
    );
    assert.match(await web.text(), /grpc-status: 8/);

    const stream = await call(
      fixture,
      "ClientStream",
      "application/connect+proto",
      envelope(Buffer.alloc(2 * mib)),
    );
    assert.match(await stream.text(), /resource_exhausted/);
    await serves(fixture);
  });

  it("is refused by its announced length, before its bytes come", async () => {
    await using fixture = await openFixture({ limits });
    const head = new Uint8Array([0, 0xff, 0xff, 0xff, 0xff]);
    const answer = await call(fixture, "ClientStream", "application/connect+proto", head);
    assert.match(await answer.text(), /resource_exhausted.*4294967295 bytes/);
    await serves(fixture);
  });

  it("is refused while it is still being sent over HTTP/2", async () => {
    await using fixture = await openFixture({ limits });
    const session = connectHttp2(fixture.url);
    const stream = session.request({
      ":method": "POST",
      ":path": "/echo.v1.Echo/Unary",
      "content-type": "application/proto",
    });
    let text = "";
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    const closed = once(stream, "close");
    for (let sent = 0; sent < 100 && !stream.closed; sent += 1) {
      stream.write(Buffer.alloc(mib));
      await sleep(2);
    }
    await closed;
    assert.match(text, /resource_exhausted/);
    assert.equal(stream.rstCode, constants.NGHTTP2_NO_ERROR);
    session.destroy();
    await serves(fixture);
  });

  it("is refused if it is one only when unpacked: a gzip bomb costs no memory", async () => {
    await using fixture = await openFixture();
    const bomb = gzipSync(Buffer.alloc(400 * mib), { level: 9 });
    assert.ok(bomb.length < 0.5 * mib);
    const before = process.memoryUsage().rss;
    const unary = await call(fixture, "Unary", "application/proto", bomb, {
      "content-encoding": "gzip",
    });
    assert.match(await unary.text(), /resource_exhausted/);
    const json = await call(fixture, "Unary", "application/json", bomb, {
      "content-encoding": "gzip",
    });
    assert.match(await json.text(), /resource_exhausted/);
    const web = await call(fixture, "Unary", "application/grpc-web", envelope(bomb, 1), {
      "grpc-encoding": "gzip",
    });
    assert.match(await web.text(), /grpc-status: 8/);
    const stream = await call(
      fixture,
      "ClientStream",
      "application/connect+json",
      envelope(bomb, 1),
      { "connect-content-encoding": "gzip" },
    );
    assert.match(await stream.text(), /resource_exhausted/);
    assert.ok(process.memoryUsage().rss - before < 100 * mib);
    await serves(fixture);
  });

  it("is refused if it is an answer", async () => {
    await using fixture = await openFixture({ limits });
    // The echo holds the text once, the request with its Any once more.
    const value = Buffer.alloc(0.4 * mib).toString("base64");
    const body = JSON.stringify({ item: { "@type": "type.googleapis.com/un.Known", value } });
    const answer = await call(fixture, "Unary", "application/json", body);
    assert.match(await answer.text(), /resource_exhausted/);
    await serves(fixture);
  });
});

describe("Memory for requests being received", () => {
  it("is bounded over all connections, with a hint when to come again", async () => {
    await using fixture = await openFixture({ limits: { receiveBufferBytesMax: mib } });
    const held = dial(fixture);
    const head = [
      "POST /echo.v1.Echo/Unary HTTP/1.1",
      "host: localhost",
      "content-type: application/proto",
      "content-length: 900000",
    ];
    held.write(`${head.join("\r\n")}\r\n\r\n`);
    held.write(Buffer.alloc(800_000));
    let text = "";
    while (!text.includes("resource_exhausted")) {
      const answer = await call(fixture, "Unary", "application/proto", Buffer.alloc(500_000));
      text = await answer.text();
    }
    assert.match(text, /receiveBufferBytesMax/);
    assert.match(text, /google\.rpc\.RetryInfo/);
    held.destroy();
    await once(held, "close");
    await serves(fixture);
  });
});

describe("A slow caller", () => {
  it("that sends nothing is closed", async () => {
    await using fixture = await openFixture({ limits: { streamIdleMs: 50 } });
    assert.equal(await received(dial(fixture)), "");
    const halfway = dial(fixture);
    halfway.write("PR");
    assert.equal(await received(halfway), "");
  });

  it("that never ends its headers is closed", async () => {
    await using fixture = await openFixture({ limits: { streamIdleMs: 50 } });
    const socket = dial(fixture);
    socket.write("GET / HTTP/1.1\r\nhost: localhost\r\nx-a: ");
    assert.match(await received(socket), /^HTTP\/1.1 408|^$/);
  });

  it("that stops in the middle of a message gets DEADLINE_EXCEEDED", async () => {
    await using fixture = await openFixture({ limits: { streamIdleMs: 100 } });
    for (const [method, type] of [
      ["Unary", "application/json"],
      ["ClientStream", "application/connect+json"],
    ] as const) {
      const body = new ReadableStream({
        start: (controller) => {
          controller.enqueue(new Uint8Array([0, 0, 0, 0, 99, 1]));
        },
      });
      const answer = await call(fixture, method, type, body);
      assert.match(await answer.text(), /deadline_exceeded.*streamIdleMs/, method);
    }
    await serves(fixture);
  });

  it("that streams its request may pause between messages, but not for longer than the limit", async () => {
    const pausing = (pauseMs: number) =>
      new ReadableStream({
        start: async (controller) => {
          controller.enqueue(envelope(Buffer.from('{"text":"a"}')));
          await sleep(pauseMs);
          controller.enqueue(envelope(Buffer.from('{"text":"b"}')));
          controller.close();
        },
      });
    const type = "application/connect+json";
    await using patient = await openFixture({ limits: { streamIdleMs: 5000 } });
    const answer = await call(patient, "ClientStream", type, pausing(200));
    assert.match(await answer.text(), /"count":2/);
    await using strict = await openFixture({ limits: { streamIdleMs: 50 } });
    const refusal = await call(strict, "ClientStream", type, pausing(500));
    assert.match(await refusal.text(), /deadline_exceeded.*streamIdleMs/);
    await serves(strict);
  });

  it("that sends a message a byte at a time makes no progress", async () => {
    await using fixture = await openFixture({ limits: { streamIdleMs: 100 } });
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(new Uint8Array([0, 0, 0, 0, 99])),
      pull: async (controller) => {
        await sleep(20);
        controller.enqueue(new Uint8Array([1]));
      },
    });
    const answer = await call(fixture, "ClientStream", "application/connect+json", body);
    assert.match(await answer.text(), /deadline_exceeded.*streamIdleMs/);
    await serves(fixture);
  });

  it("that drips a byte at a time runs into the deadline of the call", async () => {
    await using fixture = await openFixture({
      limits: { streamIdleMs: 1000, deadlineDefaultMs: 150 },
    });
    let dripping = true;
    const body = new ReadableStream({
      pull: async (controller) => {
        await sleep(20);
        if (dripping) controller.enqueue(new Uint8Array([0x20]));
        else controller.close();
      },
    });
    const answer = await call(fixture, "Unary", "application/json", body);
    dripping = false;
    assert.match(await answer.text(), /deadline_exceeded/);
    await serves(fixture);
  });

  it("that does not read its answer is cut off, and holds little memory until then", async () => {
    await using fixture = await openFixture({ limits: { streamIdleMs: 200 } });
    const before = process.memoryUsage().rss;
    const socket = dial(fixture);
    const text = "a".repeat(mib);
    const body = envelope(Buffer.from(JSON.stringify({ count: 500, text })));
    socket.pause();
    socket.write(
      `POST /echo.v1.Echo/ServerStream HTTP/1.1\r\nhost: localhost\r\n` +
        `content-type: application/connect+json\r\ncontent-length: ${body.length}\r\n\r\n`,
    );
    socket.write(body);
    await sleep(600);
    assert.ok(process.memoryUsage().rss - before < 100 * mib);
    const answer = await received(socket.resume());
    assert.ok(answer.length < 100 * mib);
    await serves(fixture);
  });
});

describe("A deadline", () => {
  it("of a year is cut to the longest allowed, and a malformed one refused", async () => {
    await using fixture = await openFixture({ limits: { deadlineMaxMs: 100 } });
    const connect = (value: string): Promise<Response> =>
      call(fixture, "Wait", "application/json", "{}", { "connect-timeout-ms": value });
    const web = (value: string): Promise<Response> =>
      call(fixture, "Wait", "application/grpc-web", envelope(new Uint8Array()), {
        "grpc-timeout": value,
      });
    assert.match(await (await connect("9999999999")).text(), /deadline_exceeded/);
    assert.match(await (await web("99999999H")).text(), /grpc-status: 4/);
    assert.match(await (await connect("1e9")).text(), /invalid_argument/);
    assert.match(await (await web("soon")).text(), /grpc-status: 3/);
  });

  it("that nobody sets is the default for a unary call, and there is none for a stream", async () => {
    await using fixture = await openFixture({ limits: { deadlineDefaultMs: 100 } });
    const unary = await call(fixture, "Wait", "application/json", "{}");
    assert.match(await unary.text(), /deadline_exceeded/);
    const body = new ReadableStream({
      start: async (controller) => {
        await sleep(300);
        controller.enqueue(envelope(Buffer.from('{"text":"a"}')));
        controller.close();
      },
    });
    const stream = await call(fixture, "ClientStream", "application/connect+json", body);
    assert.match(await stream.text(), /"count":1/);
  });

  it("of the server may be lifted from a method that takes long", async () => {
    await using fixture = await openFixture({
      limits: { deadlineDefaultMs: 50 },
      port: { isUnlimited: ({ name }) => name === "Wait" },
    });
    const stop = AbortSignal.timeout(300);
    const url = `${fixture.url}/echo.v1.Echo/Wait`;
    const headers = { "content-type": "application/json" };
    await assert.rejects(fetch(url, { method: "POST", headers, body: "{}", signal: stop }), {
      name: "TimeoutError",
    });
  });
});

describe("A port with TLS", () => {
  it("survives cleartext, noise and a handshake that never ends", async () => {
    const certificate = selfSignedCertificate();
    await using fixture = await openFixture({
      limits: { streamIdleMs: 100 },
      port: { tls: certificate },
    });
    for (const bytes of [
      "GET / HTTP/1.1\r\n\r\n",
      "PRI * HTTP/2.0\r\n\r\n",
      "\x16\x03\x01\x02",
      "",
    ]) {
      const socket = dial(fixture);
      socket.write(bytes, "latin1");
      await received(socket);
    }
    const request = get(`${fixture.url}/healthz`, { ca: certificate.cert });
    const [response] = (await once(request, "response")) as [IncomingMessage];
    assert.equal(response.statusCode, 200);
    response.resume();
  });

  it("serves a client that agrees on no protocol by its first bytes", async () => {
    const { cert, key } = selfSignedCertificate();
    await using fixture = await openFixture({ port: { tls: { cert, key } } });
    const socket = connectTls({ port: fixture.port.port, host: "127.0.0.1", ca: cert });
    socket.write("GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert.match(await received(socket), /200 OK.*ok\n$/s);
  });
});

describe("Connections", () => {
  it("are bounded per address", async () => {
    await using fixture = await openFixture({ limits: { connectionsPerAddressMax: 3 } });
    const sockets = [dial(fixture), dial(fixture), dial(fixture)];
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    const fourth = dial(fixture);
    assert.equal(await received(fourth), "");
    for (const socket of sockets) socket.destroy();
    await Promise.all(sockets.map((socket) => once(socket, "close")));
    // The server hears of it a moment later.
    for (let served = false; !served; ) {
      served = await serves(fixture).then(
        () => true,
        () => false,
      );
    }
    assert.match(fixture.logged[0]?.message ?? "", /connectionsPerAddressMax/);
  });

  it("of HTTP/2 bound their streams and survive a flood of resets", async () => {
    await using fixture = await openFixture({ limits: { streamsPerConnectionMax: 8 } });
    const session = connectHttp2(fixture.url);
    session.on("error", () => undefined);
    const [settings] = (await once(session, "remoteSettings")) as [
      { maxConcurrentStreams: number },
    ];
    assert.equal(settings.maxConcurrentStreams, 8);
    for (let i = 0; i < 20_000 && !session.destroyed; i += 1) {
      const stream = session.request({
        ":method": "POST",
        ":path": "/echo.v1.Echo/Wait",
        "content-type": "application/json",
      });
      stream.on("error", () => undefined);
      stream.close(constants.NGHTTP2_CANCEL);
      if (i % 500 === 0) await sleep(1);
    }
    await serves(fixture);
    session.destroy();
  });
});

describe("Headers", () => {
  it("over the limit end the request in HTTP/1.1", async () => {
    await using fixture = await openFixture();
    const response = await fetch(`${fixture.url}/healthz`, {
      headers: { "x-a": "a".repeat(20_000) },
    });
    assert.equal(response.status, 431);
    await serves(fixture);
  });

  it("without an end close the connection in HTTP/2", async () => {
    await using fixture = await openFixture();
    const socket = dial(fixture);
    const closed = received(socket);
    socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    socket.write(frame(4, 0, 0, Buffer.alloc(0)));
    // A header field of 16 KiB that is not indexed, then the same again and again.
    socket.write(frame(1, 0, 1, Buffer.from([0x82, 0x86, 0x84, 0x41, 1, 0x61])));
    const field = Buffer.concat([
      Buffer.from([0x00, 1, 0x78, 0x7f, 0x81, 0x7e]),
      Buffer.alloc(16_256, 97),
    ]);
    for (let i = 0; i < 1000 && !socket.destroyed; i += 1) {
      socket.write(frame(9, 0, 1, field));
      if (i % 20 === 0) await sleep(1);
    }
    await closed;
    await serves(fixture);
  });
});

/** A frame of HTTP/2. */
function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}
