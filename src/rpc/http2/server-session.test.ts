import assert from "node:assert/strict";
import { once } from "node:events";
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from "node:http2";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { waitUntil } from "../../../test/support/wait.ts";
import type { HeaderList, StreamListener } from "../grpc/server-stream.ts";
import {
  errorCode,
  frameFlag,
  frameOf,
  frameType,
  goAwayFrame,
  numberFrame,
  preface,
  setting,
  settingsFrame,
} from "./frames.ts";
import type { RequestStream } from "./request-stream.ts";
import {
  blockOf,
  dataFrame,
  type Handler,
  headersFrame,
  requestHeaders,
  resetFrame,
  type ScriptedClient,
  scriptedClient,
  sessionServer,
} from "./testing/server-fixture.ts";

const { endHeaders, endStream, padded, priority } = frameFlag;
const whole = endHeaders | endStream;

/** Takes a request and never answers. */
const silent: Handler = (stream) => stream.listen(listener({}));

/** Answers when the request is whole, with all that came of it. */
const echo: Handler = (stream) => {
  const chunks: Buffer[] = [];
  stream.listen(
    listener({
      onData: (chunk) => chunks.push(Buffer.from(chunk)),
      onEnd: () => {
        const body = Buffer.concat(chunks);
        stream.respondWith([":status", "200"], body, ["x-bytes", String(body.byteLength)]);
      },
    }),
  );
};

function listener(parts: Partial<StreamListener>): StreamListener {
  const ignore = (): void => undefined;
  return { onData: ignore, onEnd: ignore, onDrain: ignore, onClose: ignore, ...parts };
}

describe("the server's side of HTTP/2, with Node's client", () => {
  it("passes headers and trailers as they are, whatever the client's table holds", async () => {
    const names = fc.oneof(
      fc.constantFrom("x-a", "x-trace-id", "cache-control", "link"),
      fc.stringMatching(/^[a-z][a-z0-9_.-]{0,30}$/).map((name) => `x-${name}`),
    );
    const values = fc.oneof(
      fc.constantFrom("", "no-cache", "x".repeat(300)),
      fc.stringMatching(/^[!-~]([ -~]{0,60}[!-~])?$/),
    );
    const lists = fc.uniqueArray(fc.tuple(names, values), {
      maxLength: 12,
      selector: ([name]) => name,
    });
    for (const headerTableSize of [4096, 100, 0]) {
      let seen: HeaderList = [];
      let down: HeaderList = [];
      await using server = await sessionServer((stream, _headers, raw) => {
        seen = raw;
        const end = (): void =>
          stream.respondWith([":status", "200", ...down], hello, ["x-end", "1", ...down]);
        stream.listen(listener({ onEnd: end }));
      });
      const client = connect(`http://127.0.0.1:${server.port}`, { settings: { headerTableSize } });
      try {
        await fc.assert(
          fc.asyncProperty(lists, lists, async (up, answer) => {
            down = answer.flat();
            const { headers, trailers } = await request(client, Object.fromEntries(up));
            for (const [name, value] of up) {
              const at = seen.findIndex((text, i) => i % 2 === 0 && text === name);
              assert.equal(seen[at + 1], value, name);
            }
            for (const [name, value] of answer) {
              assert.equal(headers[name], value, name);
              assert.equal(trailers[name], value, name);
            }
          }),
          { numRuns: 50 },
        );
      } finally {
        client.destroy();
      }
    }
  });

  it("carries bodies of any size, many at a time, through windows of any size", async () => {
    await using server = await sessionServer(echo);
    for (const initialWindowSize of [1, 1000, 65_535, 4 * 1024 * 1024]) {
      const client = connect(`http://127.0.0.1:${server.port}`, {
        settings: { initialWindowSize },
      });
      const sizeMax = initialWindowSize === 1 ? 300 : 600_000;
      try {
        const sizes = fc.array(fc.integer({ min: 0, max: sizeMax }), {
          minLength: 1,
          maxLength: 8,
        });
        await fc.assert(
          fc.asyncProperty(sizes, async (lengths) => {
            const bodies = lengths.map((length, i) => Buffer.alloc(length, i + 1));
            const answers = await Promise.all(bodies.map((body) => request(client, {}, body)));
            for (const [i, { body, trailers }] of answers.entries()) {
              assert.ok(body.equals(bodies[i] ?? hello), `body ${i}`);
              assert.equal(trailers["x-bytes"], String(lengths[i]));
            }
          }),
          { numRuns: 10 },
        );
      } finally {
        client.destroy();
      }
    }
  });

  it("asks a client to leave, and closes when its calls are done", async () => {
    const open: RequestStream[] = [];
    await using server = await sessionServer((stream) => {
      stream.listen(listener({}));
      open.push(stream);
    });
    const client = connect(`http://127.0.0.1:${server.port}`);
    const goneAway = once(client, "goaway");
    const answer = request(client, {});
    await waitUntil("the request is there", 5000, () => open.length === 1);
    server.sessions[0]?.askToLeave();
    await goneAway;
    open[0]?.respondWith([":status", "200"], hello, ["x-end", "1"]);
    assert.equal((await answer).headers[":status"], 200);
    await waitUntil("the connection is closed", 5000, () => server.sessions.length === 0);
    client.destroy();
  });

  it("resets what is still sent when the answer is complete, and no other stream", async () => {
    await using server = await sessionServer((stream, headers) => {
      if (headers[":path"] === "/early") {
        stream.listen(listener({}));
        stream.respondOnly([":status", "413"]);
      } else echo(stream, headers, []);
    });
    const client = connect(`http://127.0.0.1:${server.port}`);
    const early = client.request({ ":method": "POST", ":path": "/early" });
    early.write(Buffer.alloc(1000));
    const [headers] = (await once(early, "response")) as [IncomingHttpHeaders];
    assert.equal(headers[":status"], 413);
    early.resume();
    await once(early, "close");
    assert.equal(early.rstCode, errorCode.none);
    const { body } = await request(client, {}, Buffer.from("still there"));
    assert.equal(body.toString(), "still there");
    client.destroy();
  });
});

const hello = Buffer.from("hello");

/** What ends a connection, and with which code. */
const endings: readonly [what: string, code: number, frames: readonly Uint8Array[]][] = [
  ["a stream of the server's", errorCode.protocol, [headersFrame(2)]],
  ["headers of stream 0", errorCode.protocol, [headersFrame(0)]],
  ["data of stream 0", errorCode.protocol, [dataFrame(0, hello)]],
  ["data of a stream that was never opened", errorCode.protocol, [dataFrame(1, hello)]],
  ["no data of such a stream", errorCode.protocol, [dataFrame(1, new Uint8Array())]],
  ["a reset of such a stream", errorCode.protocol, [resetFrame(1)]],
  ["a window of such a stream", errorCode.protocol, [numberFrame(frameType.windowUpdate, 1, 1)]],
  ["a frame that is too large", errorCode.frameSize, [frameOf(9, 0, 0, Buffer.alloc(16_385))]],
  ["a ping of 7 bytes", errorCode.frameSize, [frameOf(frameType.ping, 0, 0, Buffer.alloc(7))]],
  ["a ping on a stream", errorCode.protocol, [frameOf(frameType.ping, 0, 1, Buffer.alloc(8))]],
  [
    "settings on a stream",
    errorCode.protocol,
    [frameOf(frameType.settings, 0, 1, Buffer.alloc(0))],
  ],
  [
    "settings of 5 bytes",
    errorCode.frameSize,
    [frameOf(frameType.settings, 0, 0, Buffer.alloc(5))],
  ],
  [
    "an answer to settings that says something",
    errorCode.frameSize,
    [frameOf(frameType.settings, frameFlag.ack, 0, Buffer.alloc(6))],
  ],
  [
    "a window setting over 2^31 - 1",
    errorCode.flowControl,
    [settingsFrame([[setting.initialWindowSize, 2 ** 31]])],
  ],
  ["frames of 100 bytes", errorCode.protocol, [settingsFrame([[setting.maxFrameSize, 100]])]],
  ["half a push", errorCode.protocol, [settingsFrame([[setting.enablePush, 2]])]],
  ["a window of nothing more", errorCode.protocol, [numberFrame(frameType.windowUpdate, 0, 0)]],
  [
    "a window over 2^31 - 1",
    errorCode.flowControl,
    [numberFrame(frameType.windowUpdate, 0, 2 ** 31 - 1)],
  ],
  [
    "a window of 3 bytes",
    errorCode.frameSize,
    [frameOf(frameType.windowUpdate, 0, 0, Buffer.alloc(3))],
  ],
  [
    "windows of streams that become too wide",
    errorCode.flowControl,
    [
      headersFrame(1),
      numberFrame(frameType.windowUpdate, 1, 2 ** 31 - 1 - 65_535),
      settingsFrame([[setting.initialWindowSize, 65_536]]),
    ],
  ],
  [
    "a reset of 3 bytes",
    errorCode.frameSize,
    [headersFrame(1), frameOf(frameType.reset, 0, 1, Buffer.alloc(3))],
  ],
  ["a GOAWAY of 7 bytes", errorCode.frameSize, [frameOf(frameType.goAway, 0, 0, Buffer.alloc(7))]],
  ["a push", errorCode.protocol, [frameOf(frameType.pushPromise, endHeaders, 1, Buffer.alloc(4))]],
  [
    "a continuation of nothing",
    errorCode.protocol,
    [frameOf(frameType.continuation, endHeaders, 1, blockOf(requestHeaders))],
  ],
  [
    "a continuation of another stream",
    errorCode.protocol,
    [
      headersFrame(1, requestHeaders, 0),
      frameOf(frameType.continuation, endHeaders, 3, Buffer.alloc(0)),
    ],
  ],
  [
    "something between headers",
    errorCode.protocol,
    [headersFrame(1, requestHeaders, 0), frameOf(frameType.ping, 0, 0, Buffer.alloc(8))],
  ],
  [
    "data between headers",
    errorCode.protocol,
    [headersFrame(1), headersFrame(3, requestHeaders, 0), dataFrame(1, hello)],
  ],
  [
    "headers that say nothing of the table",
    errorCode.compression,
    [frameOf(frameType.headers, endHeaders, 1, Buffer.from([0xff, 0xff, 0xff, 0x7f]))],
  ],
  [
    "a table of 5000 bytes",
    errorCode.compression,
    [frameOf(frameType.headers, endHeaders, 1, Buffer.from([0x3f, 0xe9, 0x26]))],
  ],
  [
    "a string that is cut",
    errorCode.compression,
    [frameOf(frameType.headers, endHeaders, 1, Buffer.from([0x00, 0x05, 0x61]))],
  ],
  [
    "padding of more than there is",
    errorCode.protocol,
    [headersFrame(1), frameOf(frameType.data, padded, 1, Buffer.from([9, 1, 2]))],
  ],
  [
    "a priority that is cut",
    errorCode.frameSize,
    [frameOf(frameType.headers, endHeaders | priority, 1, Buffer.alloc(4))],
  ],
];

/** What resets a stream, and with which code. */
const resets: readonly [what: string, code: number, frames: readonly Uint8Array[]][] = [
  ["a request without a method", errorCode.protocol, [headersFrame(1, requestHeaders.slice(2))]],
  [
    "a request without a scheme",
    errorCode.protocol,
    [headersFrame(1, [":method", "GET", ":path", "/"])],
  ],
  ["a request without a path", errorCode.protocol, [headersFrame(1, requestHeaders.slice(0, 4))]],
  ["a second method", errorCode.protocol, [headersFrame(1, [":method", "GET", ...requestHeaders])]],
  ["a status", errorCode.protocol, [headersFrame(1, [":status", "200", ...requestHeaders])]],
  [
    "a pseudo-header behind headers",
    errorCode.protocol,
    [headersFrame(1, ["x-a", "b", ...requestHeaders])],
  ],
  ["an upper-case name", errorCode.protocol, [headersFrame(1, [...requestHeaders, "X-A", "b"])]],
  ["a name with a space", errorCode.protocol, [headersFrame(1, [...requestHeaders, "x a", "b"])]],
  ["an empty name", errorCode.protocol, [headersFrame(1, [...requestHeaders, "", "b"])]],
  [
    "a line break in a value",
    errorCode.protocol,
    [headersFrame(1, [...requestHeaders, "x-a", "b\r\nc: d"])],
  ],
  ["a NUL in a value", errorCode.protocol, [headersFrame(1, [...requestHeaders, "x-a", "\0"])]],
  [
    "a header of HTTP/1.1",
    errorCode.protocol,
    [headersFrame(1, [...requestHeaders, "transfer-encoding", "chunked"])],
  ],
  [
    "te that is not for trailers",
    errorCode.protocol,
    [headersFrame(1, [...requestHeaders, "te", "gzip"])],
  ],
  [
    "a length that is no number",
    errorCode.protocol,
    [headersFrame(1, [...requestHeaders, "content-length", "-1"])],
  ],
  [
    "two lengths",
    errorCode.protocol,
    [headersFrame(1, [...requestHeaders, "content-length", "1", "content-length", "2"])],
  ],
  [
    "more than its length",
    errorCode.protocol,
    [headersFrame(1, [...requestHeaders, "content-length", "4"]), dataFrame(1, hello)],
  ],
  [
    "less than its length",
    errorCode.protocol,
    [headersFrame(1, [...requestHeaders, "content-length", "6"]), dataFrame(1, hello, endStream)],
  ],
  [
    "nothing instead of its length",
    errorCode.protocol,
    [headersFrame(1, [...requestHeaders, "content-length", "6"], whole)],
  ],
  [
    "headers over the limit",
    errorCode.enhanceYourCalm,
    [headersFrame(1, [...requestHeaders, "x-a", "b".repeat(16_200)])],
  ],
  [
    "data behind the end",
    errorCode.streamClosed,
    [headersFrame(1, requestHeaders, whole), dataFrame(1, hello)],
  ],
  [
    "trailers behind the end",
    errorCode.streamClosed,
    [headersFrame(1, requestHeaders, whole), headersFrame(1, ["x-a", "b"], whole)],
  ],
  [
    "trailers that are not the end",
    errorCode.protocol,
    [headersFrame(1), headersFrame(1, ["x-a", "b"])],
  ],
  [
    "trailers with a pseudo-header",
    errorCode.protocol,
    [headersFrame(1), headersFrame(1, [":path", "/"], whole)],
  ],
  [
    "a window of nothing more",
    errorCode.protocol,
    [headersFrame(1), numberFrame(frameType.windowUpdate, 1, 0)],
  ],
  [
    "a window over 2^31 - 1",
    errorCode.flowControl,
    [headersFrame(1), numberFrame(frameType.windowUpdate, 1, 2 ** 31 - 1)],
  ],
];

describe("a client of HTTP/2 that breaks the rules", () => {
  for (const [what, code, frames] of endings) {
    it(`loses its connection for ${what}`, async () => {
      await using server = await sessionServer(silent);
      using client = await scriptedClient(server.port);
      using other = await scriptedClient(server.port);
      client.send(...frames);
      assert.equal(await client.closed(), code);
      assert.equal(await other.isServed(), true);
    });
  }

  for (const [what, code, frames] of resets) {
    it(`loses its stream for ${what}`, async () => {
      await using server = await sessionServer(silent);
      using client = await scriptedClient(server.port);
      client.send(...frames);
      const { payload } = await client.expect(frameType.reset, 1);
      assert.equal(payload.readUInt32BE(0), code);
      client.send(headersFrame(5));
      assert.equal(await client.isServed(), true);
      assert.equal(client.frames.filter(({ type }) => type === frameType.reset).length, 1);
    });
  }

  it("is not served if it does not begin as HTTP/2 does", async () => {
    await using server = await sessionServer(silent);
    for (const greeting of [
      [Buffer.from("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")],
      [preface, frameOf(frameType.ping, 0, 0, Buffer.alloc(8))],
      [preface, frameOf(frameType.settings, frameFlag.ack, 0, Buffer.alloc(0))],
      [preface, headersFrame(1)],
    ]) {
      using client = await scriptedClient(server.port, greeting);
      assert.equal(await client.closed(), errorCode.protocol);
    }
  });

  it("has its beginning in pieces, and still is served", async () => {
    await using server = await sessionServer(echo);
    using client = await scriptedClient(server.port, []);
    const bytes = Buffer.concat([
      preface,
      settingsFrame([]),
      headersFrame(1),
      dataFrame(1, hello, 1),
    ]);
    for (const byte of bytes) {
      client.socket.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    assert.equal((await client.expect(frameType.data, 1)).payload.toString(), "hello");
  });

  it("may send frames that HTTP/2 lets it, known here or not", async () => {
    await using server = await sessionServer(echo);
    using client = await scriptedClient(server.port);
    const padding = Buffer.from([3, 1, 2, 3, 4, 0, 0, 0]);
    const block = Buffer.concat([
      Buffer.from([2, 0, 0, 0, 0, 9]),
      blockOf(requestHeaders),
      Buffer.alloc(2),
    ]);
    client.send(
      frameOf(frameType.priority, 0, 1, Buffer.alloc(5)),
      frameOf(0x42, 0xff, 7, hello),
      settingsFrame([[0x99, 1]]),
      frameOf(frameType.headers, endHeaders | priority | padded, 1, block),
      frameOf(frameType.data, padded, 1, padding),
      frameOf(frameType.data, padded, 1, Buffer.from([0, 5])),
      frameOf(frameType.data, padded | endStream, 1, Buffer.from([1, 6, 0])),
    );
    assert.deepEqual([...(await client.expect(frameType.data, 1)).payload], [1, 2, 3, 4, 5, 6]);
  });

  it("may end its request by trailers", async () => {
    await using server = await sessionServer(echo);
    using client = await scriptedClient(server.port);
    client.send(headersFrame(1), dataFrame(1, hello), headersFrame(1, ["x-a", "b"], whole));
    assert.equal((await client.expect(frameType.data, 1)).payload.toString(), "hello");
  });

  it("may still send on a stream that was reset", async () => {
    await using server = await sessionServer(silent);
    using client = await scriptedClient(server.port);
    const late = [dataFrame(1, hello), numberFrame(frameType.windowUpdate, 1, 1), resetFrame(1)];
    client.send(
      headersFrame(1, requestHeaders.slice(2)),
      ...late,
      headersFrame(1, ["x-a", "b"], whole),
    );
    assert.equal(await client.isServed(), true);
  });

  it("is served whatever frames came before, or its connection ends", async () => {
    await using server = await sessionServer(echo);
    const frame = fc.tuple(
      fc.oneof(fc.integer({ min: 0, max: 10 }), fc.integer({ min: 0, max: 255 })),
      fc.oneof(fc.constantFrom(0, 1, 4, 5, 8, 0x2d), fc.integer({ min: 0, max: 255 })),
      fc.oneof(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 2 ** 31 - 1 })),
      fc.oneof(
        fc.constantFrom(blockOf(requestHeaders), Buffer.alloc(0), Buffer.alloc(4), Buffer.alloc(8)),
        fc.uint8Array({ maxLength: 64 }),
      ),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { maxLength: 30 }), async (frames) => {
        using client = await scriptedClient(server.port);
        client.send(
          ...frames.map(([type, flags, id, payload]) => frameOf(type, flags, id, payload)),
        );
        // What has begun in the middle of headers, or of a frame, is ended by that.
        client.send(Buffer.alloc(64, 0xff));
        await client.closed();
        await waitUntil("nothing is left", 5000, () => server.sessions.length === 0);
      }),
      { numRuns: 200 },
    );
    using client = await scriptedClient(server.port);
    client.send(headersFrame(1), dataFrame(1, hello, endStream));
    assert.equal((await client.expect(frameType.data, 1)).payload.toString(), "hello");
  });
});

describe("a client of HTTP/2 that makes work", () => {
  const floods: readonly [what: string, flood: (at: number) => readonly Uint8Array[]][] = [
    ["opens and resets streams", (at) => [headersFrame(2 * at + 1), resetFrame(2 * at + 1)]],
    ["has its requests refused", (at) => [headersFrame(2 * at + 1, ["x-a", "b"])]],
    [
      "has its streams reset",
      (at) => [headersFrame(2 * at + 1), numberFrame(frameType.windowUpdate, 2 * at + 1, 0)],
    ],
    ["sends settings", () => [settingsFrame([[setting.initialWindowSize, 70_000]])]],
    ["sends priorities", () => [frameOf(frameType.priority, 0, 1, Buffer.alloc(5))]],
    ["sends empty data", (at) => (at === 0 ? [headersFrame(1)] : [dataFrame(1, new Uint8Array())])],
    ["sends what is unknown", () => [frameOf(0x42, 0, 0, Buffer.alloc(0))]],
    [
      "never ends its headers",
      (at) => [
        at === 0
          ? headersFrame(1, requestHeaders, 0)
          : frameOf(frameType.continuation, 0, 1, Buffer.alloc(0)),
      ],
    ],
  ];
  for (const [what, flood] of floods) {
    it(`is cut off when it ${what} all the time`, async () => {
      let isOpen = 0;
      await using server = await sessionServer((stream) => {
        isOpen += 1;
        stream.listen(listener({ onClose: () => void (isOpen -= 1) }));
      });
      using client = await scriptedClient(server.port);
      for (let at = 0; at < 40_000 && !client.isClosed; at += 1) {
        client.send(...flood(at));
        if (at % 500 === 0) await new Promise(setImmediate);
      }
      assert.equal(await client.closed(), errorCode.enhanceYourCalm);
      assert.equal(isOpen, 0);
    });
  }

  it("may ping as often as it reads the answers, and no more", async () => {
    await using server = await sessionServer(silent);
    using client = await scriptedClient(server.port);
    const pings = Buffer.concat(
      Array.from({ length: 1000 }, () => frameOf(frameType.ping, 0, 0, Buffer.alloc(8))),
    );
    for (let at = 0; at < 30; at += 1) {
      client.send(pings);
      assert.equal(await client.isServed(), true);
    }
    client.socket.pause();
    for (let at = 0; at < 5000 && server.sessions.length > 0; at += 1) {
      client.send(pings);
      await new Promise(setImmediate);
    }
    await waitUntil("it is cut off", 10_000, () => server.sessions.length === 0);
  });

  it("has no more streams at a time than it may, until it may have more", async () => {
    const open: RequestStream[] = [];
    const take: Handler = (stream) => {
      stream.listen(listener({}));
      open.push(stream);
    };
    await using server = await sessionServer(take, { streamsMax: 2 });
    using client = await scriptedClient(server.port);
    client.send(headersFrame(1), headersFrame(3), headersFrame(5));
    const { payload } = await client.expect(frameType.reset, 5);
    assert.equal(payload.readUInt32BE(0), errorCode.refusedStream);
    server.sessions[0]?.allowStreams(3);
    client.send(headersFrame(7), headersFrame(9));
    await client.expect(frameType.reset, 9);
    assert.equal(open.length, 3);
  });

  it("may not send more than its windows", async () => {
    await using server = await sessionServer(
      (stream) => {
        stream.listen(listener({}));
        stream.pause();
      },
      { windowBytes: 100_000 },
    );
    using client = await scriptedClient(server.port);
    const data = Buffer.alloc(16_000);
    client.send(
      headersFrame(1),
      headersFrame(3),
      ...Array.from({ length: 6 }, () => dataFrame(1, data)),
    );
    assert.equal(await client.isServed(), true);
    // 96,000 bytes are held, and there is room for 4,000 more on all streams.
    client.send(dataFrame(3, Buffer.alloc(4000)));
    assert.equal(await client.isServed(), true);
    client.send(dataFrame(3, Buffer.alloc(1)));
    assert.equal(await client.closed(), errorCode.flowControl);
  });

  it("goes on with other streams while one is held back", async () => {
    const paused: RequestStream[] = [];
    await using server = await sessionServer(
      (stream, headers, raw) => {
        if (headers["x-slow"] === undefined) {
          echo(stream, headers, raw);
          return;
        }
        paused.push(stream);
        const end = (): void => stream.respondOnly([":status", "200"]);
        stream.listen(listener({ onEnd: end }));
        stream.pause();
      },
      { windowBytes: 100_000 },
    );
    const client = connect(`http://127.0.0.1:${server.port}`);
    const slow = request(client, { "x-slow": "1" }, Buffer.alloc(90_000));
    await waitUntil("it is held", 5000, () => paused[0]?.heldBytes === 90_000);
    for (let at = 0; at < 20; at += 1) {
      const { body } = await request(client, {}, Buffer.alloc(20_000, at));
      assert.equal(body.byteLength, 20_000);
    }
    paused[0]?.resume();
    assert.equal((await slow).headers[":status"], 200);
    client.destroy();
  });

  it("is cut off when it does not say what it wants, in time", async () => {
    await using server = await sessionServer(silent);
    using mute = await scriptedClient(server.port, [preface]);
    using slow = await scriptedClient(server.port);
    using well = await scriptedClient(server.port);
    slow.send(headersFrame(1, requestHeaders, 0));
    well.send(headersFrame(1));
    await waitUntil("all are there", 5000, () => server.sessions.length === 3);
    await well.isServed();
    const check = (nowMs: number): void => {
      for (const session of [...server.sessions]) session.check(nowMs, 1000);
    };
    check(5000);
    check(5999);
    assert.equal(server.sessions.length, 3);
    check(6000);
    assert.equal(await mute.closed(), errorCode.enhanceYourCalm);
    assert.equal(await slow.closed(), errorCode.enhanceYourCalm);
    assert.equal(await well.isServed(), true);
  });

  it("is cut off when it takes none of what waits for it", async () => {
    await using server = await sessionServer((stream) => {
      stream.listen(
        listener({
          onEnd: () => stream.respondWith([":status", "200"], Buffer.alloc(4 * 1024 * 1024), []),
        }),
      );
    });
    using client = await scriptedClient(server.port, [
      preface,
      settingsFrame([[setting.initialWindowSize, 2 ** 31 - 1]]),
      numberFrame(frameType.windowUpdate, 0, 2 ** 30),
    ]);
    client.socket.pause();
    for (let id = 1; id < 20; id += 2) client.send(headersFrame(id, requestHeaders, whole));
    const [session] = server.sessions;
    assert.ok(session !== undefined);
    const at = performance.now();
    // What the kernel takes first is as good as taken.
    for (let nowMs = at; server.sessions.length > 0 && nowMs < at + 100_000; nowMs += 500) {
      session.check(nowMs, 2000);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.equal(server.sessions.length, 0);
  });
});

describe("a client of HTTP/2 that leaves", () => {
  const noteClose = (): { readonly handler: Handler; readonly closed: () => number } => {
    let closed = 0;
    const handler: Handler = (stream) =>
      stream.listen(listener({ onClose: () => void (closed += 1) }));
    return { handler, closed: () => closed };
  };

  it("takes its requests along", async () => {
    for (const leave of [
      (client: ScriptedClient) => client.socket.destroy(),
      (client: ScriptedClient) => client.socket.end(),
      (client: ScriptedClient) => client.send(Buffer.alloc(64, 0xff)),
    ]) {
      const { handler, closed } = noteClose();
      await using server = await sessionServer(handler);
      using client = await scriptedClient(server.port);
      client.send(headersFrame(1), headersFrame(3), headersFrame(5));
      await client.isServed();
      leave(client);
      await waitUntil("they are gone", 5000, () => closed() === 3 && server.sessions.length === 0);
    }
  });

  it("is served to the end if it says that it goes", async () => {
    const open: RequestStream[] = [];
    await using server = await sessionServer((stream) => {
      stream.listen(listener({}));
      open.push(stream);
    });
    using client = await scriptedClient(server.port);
    client.send(headersFrame(1, requestHeaders, whole), goAwayFrame(0, errorCode.none));
    await client.isServed();
    open[0]?.respondWith([":status", "200"], hello, ["x-end", "1"]);
    assert.equal(await client.closed(), errorCode.none);
    assert.deepEqual(await client.headersOf(1), [":status", "200"]);
  });

  it("makes what is still said to its streams nothing", async () => {
    const open: RequestStream[] = [];
    let events = "";
    await using server = await sessionServer((stream) => {
      stream.listen(
        listener({
          onClose: () => void (events += "close "),
          onEnd: () => void (events += "end "),
        }),
      );
      open.push(stream);
    });
    using client = await scriptedClient(server.port);
    client.send(headersFrame(1), resetFrame(1));
    await client.isServed();
    const [stream] = open;
    assert.ok(stream?.isClosed);
    stream.respond([":status", "200"]);
    assert.equal(stream.write(hello), false);
    stream.end(["x-end", "1"]);
    stream.respondWith([":status", "200"], hello, []);
    stream.respondOnly([":status", "200"]);
    stream.cancel();
    stream.resume();
    assert.equal(await client.isServed(), true);
    assert.equal(
      client.frames.some(({ streamId }) => streamId === 1),
      false,
    );
    assert.equal(events, "close ");
  });
});

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
}

async function request(
  client: ClientHttp2Session,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array = new Uint8Array(),
): Promise<Answer> {
  const stream = client.request({ ":method": "POST", ":path": "/a/B", ...headers });
  let trailers: IncomingHttpHeaders = {};
  stream.on("trailers", (list: IncomingHttpHeaders) => {
    trailers = list;
  });
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  const ended = once(stream, "end");
  const responded = once(stream, "response");
  stream.end(body);
  const [answer] = (await responded) as [IncomingHttpHeaders];
  await ended;
  return { headers: answer, trailers, body: Buffer.concat(chunks) };
}
