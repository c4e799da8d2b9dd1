import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { waitUntil } from "../../../test/support/wait.ts";
import {
  errorCode,
  frameFlag,
  frameOf,
  frameType,
  numberFrame,
  preface,
  setting,
  settingsFrame,
} from "./frames.ts";
import {
  blockOf,
  dataFrame,
  headersFrame,
  requestHeaders,
  resetFrame,
  scriptedClient,
  sessionServer,
} from "./testing/server-fixture.ts";
import { echo, silent } from "./testing/server-handlers.ts";

const { endHeaders, endStream, padded, priority } = frameFlag;
const whole = endHeaders | endStream;

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
