import assert from "node:assert/strict";
import { connect } from "node:http2";
import { describe, it } from "node:test";
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
import type { RequestStream } from "./request-stream.ts";
import {
  dataFrame,
  type Handler,
  headersFrame,
  requestHeaders,
  resetFrame,
  scriptedClient,
  sessionServer,
} from "./testing/server-fixture.ts";
import { echo, listener, request, silent } from "./testing/server-handlers.ts";

const { endHeaders, endStream } = frameFlag;
const whole = endHeaders | endStream;

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
    const check = (): void => {
      for (const session of server.sessions.toReversed()) session.check(2);
    };
    check();
    check();
    assert.equal(server.sessions.length, 3);
    check();
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
    // What the kernel takes first is as good as taken.
    for (let looks = 0; server.sessions.length > 0 && looks < 200; looks += 1) {
      session.check(4);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.equal(server.sessions.length, 0);
  });
});
