import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { openRawServer } from "../../../test/support/outbound.ts";
import { waitUntil } from "../../../test/support/wait.ts";
import { FrameParser } from "./frame-parser.ts";
import {
  errorCode,
  frameFlag,
  frameOf,
  frameType,
  goAwayFrame,
  numberFrame,
  settingsFrame,
} from "./frames.ts";
import {
  call,
  openSession,
  recorder,
  scriptedServer,
  windowBytes,
} from "./testing/client-fixture.ts";

const ok = Buffer.from([0x88]);
const hello = [settingsFrame([])];

/** A server that answers each request with these frames. */
const answering = (answer: (streamId: number) => readonly Uint8Array[], greeting = hello) =>
  scriptedServer((type, id) => (type === frameType.headers ? answer(id) : undefined), greeting);

describe("the parser of frames", () => {
  it("finds the same however the bytes are cut", () => {
    const frame = fc.tuple(
      fc.constantFrom(frameType.data, frameType.headers, frameType.ping, 99),
      fc.constantFrom(0, 1, 4),
      fc.integer({ min: 0, max: 9 }),
      fc.uint8Array({ maxLength: 200 }),
    );
    const parse = (chunks: readonly Buffer[]): string => {
      let seen = "";
      let data = "";
      const parser = new FrameParser({
        onFrame: (type, flags, id, payload) => {
          seen += `${type} ${flags} ${id} ${payload.toString("hex")}\n`;
        },
        onData: (id, chunk, isLast) => {
          data += chunk.toString("hex");
          seen += isLast ? `end of ${id}: ${data}\n` : "";
        },
      });
      for (const chunk of chunks) parser.push(chunk);
      return `${seen}${data}`;
    };
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 12 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 150 })),
        (frames, sizes) => {
          const bytes = Buffer.concat(
            frames.map(([type, flags, id, payload]) => frameOf(type, flags, id, payload)),
          );
          const cuts: Buffer[] = [];
          for (let at = 0; at < bytes.length; ) {
            const size = Number(sizes.next().value);
            cuts.push(Buffer.from(bytes.subarray(at, at + size)));
            at += size;
          }
          assert.equal(parse(cuts), parse([bytes]));
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("a session", () => {
  it("carries answers with interim headers, padding, priorities, cut header blocks and trailers", async () => {
    await using server = await answering((id) => [
      // 103 and nothing else, then 200 in two parts behind padding and a priority.
      frameOf(frameType.headers, frameFlag.endHeaders, id, Buffer.from("\x48\x03103", "latin1")),
      frameOf(
        frameType.headers,
        frameFlag.padded | frameFlag.priority,
        id,
        Buffer.from([2, 0, 0, 0, 0, 1, 0x88, 0, 1, 0, 0]),
      ),
      frameOf(frameType.continuation, frameFlag.endHeaders, id, Buffer.from([0x61, 1, 0x62])),
      frameOf(frameType.data, frameFlag.padded, id, Buffer.from("\x02hi\x00\x00", "latin1")),
      frameOf(200, 0, id, Buffer.from("what is not known means nothing")),
      frameOf(frameType.data, 0, id, Buffer.from(" there")),
      frameOf(
        frameType.headers,
        frameFlag.endHeaders | frameFlag.endStream,
        id,
        Buffer.from("\x00\x01c\x01d", "latin1"),
      ),
    ]);
    await using open = await openSession(server.port);
    await open.ready;
    const got = await call(open.session, "/a/B");
    assert.deepEqual(got.headers, [[":status", "200", "a", "b"]]);
    assert.equal(Buffer.concat(got.chunks).toString(), "hi there");
    assert.deepEqual(got.trailers, [["c", "d"]]);
    assert.deepEqual(got.events, ["headers", "data", "trailers", "end", "close"]);
  });

  it("is closed by a peer that breaks the rules, and its streams with it", async () => {
    const data = (bytes: number, id: number) => frameOf(frameType.data, 0, id, Buffer.alloc(bytes));
    const headers = (id: number) => frameOf(frameType.headers, frameFlag.endHeaders, id, ok);
    const cases: Record<string, (id: number) => readonly Uint8Array[]> = {
      "a frame that is too large": (id) => [
        frameOf(frameType.headers, 4, id, Buffer.alloc(16_385)),
      ],
      "a push": (id) => [frameOf(frameType.pushPromise, 4, id, Buffer.from([0, 0, 0, 2, 0x88]))],
      "a stream that was never opened": (id) => [headers(id + 2)],
      "a stream of the server's": () => [headers(2)],
      "a header block that is not whole": (id) => [
        frameOf(frameType.headers, 0, id, ok),
        data(1, id),
      ],
      "header blocks without end": (id) => [
        frameOf(frameType.headers, 0, id, ok),
        ...Array.from({ length: 8000 }, () =>
          frameOf(frameType.continuation, 0, id, Buffer.alloc(0)),
        ),
      ],
      "a broken header block": (id) => [frameOf(frameType.headers, 4, id, Buffer.from([0xff]))],
      "more padding than there is": (id) => [frameOf(frameType.data, 8, id, Buffer.from([9, 0]))],
      "a window of nothing": () => [numberFrame(frameType.windowUpdate, 0, 0)],
      "a window that is too large": () => [numberFrame(frameType.windowUpdate, 0, 2 ** 31 - 1)],
      "a setting out of range": () => [settingsFrame([[4, 2 ** 31]])],
      "half a setting": () => [frameOf(frameType.settings, 0, 0, Buffer.alloc(5))],
      "a short ping": () => [frameOf(frameType.ping, 0, 0, Buffer.alloc(7))],
    };
    for (const [name, answer] of Object.entries(cases)) {
      await using server = await answering(answer);
      await using open = await openSession(server.port);
      await open.ready;
      const got = await call(open.session, "/a/B");
      await open.closed;
      assert.equal(got.events.at(-1), "close", name);
      assert.equal(open.session.isClosed, true, name);
    }
  });

  it("is none without SETTINGS first", async () => {
    for (const greeting of [
      [Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")],
      [goAwayFrame(0, 0)],
    ]) {
      await using server = await answering(() => [], greeting);
      await using open = await openSession(server.port);
      await open.closed;
    }
  });

  it("resets a stream whose headers cannot be used, and goes on with the others", async () => {
    // A value of 1000 bytes.
    const large = Buffer.concat([
      ok,
      Buffer.from([0, 1, 0x61, 0x7f, 0xe9, 6]),
      Buffer.alloc(1000, "b"),
    ]);
    const answers: Record<number, Buffer> = {
      1: Buffer.from([0x88, 0, 1, 0x41, 1, 0x62]),
      3: Buffer.from([0, 1, 0x61, 1, 0x62]),
      5: large,
      7: ok,
    };
    await using server = await answering((id) => [
      frameOf(frameType.headers, frameFlag.endHeaders | frameFlag.endStream, id, answers[id] ?? ok),
    ]);
    await using open = await openSession(server.port, 1000);
    await open.ready;
    assert.equal((await call(open.session, "/a/B")).stream.problem, "malformed");
    assert.equal((await call(open.session, "/a/B")).stream.problem, "malformed");
    assert.equal((await call(open.session, "/a/B")).stream.problem, "too large");
    const got = await call(open.session, "/a/B");
    assert.deepEqual(got.events, ["headers", "end", "close"]);
    assert.equal(open.session.isClosed, false);
  });

  it("takes no more than its windows from a peer that sends without asking", async () => {
    await using server = await answering((id) => [
      frameOf(frameType.headers, frameFlag.endHeaders, id, ok),
      ...Array.from({ length: windowBytes / 16_384 + 1 }, () =>
        frameOf(frameType.data, 0, id, Buffer.alloc(16_384)),
      ),
    ]);
    await using open = await openSession(server.port);
    await open.ready;
    const recorded = recorder();
    const stream = open.session.open("/a/B", [], recorded, new Uint8Array());
    stream.pause();
    await recorded.closed;
    assert.equal(recorded.chunks.length, 0);
    await waitUntil("the reset", 5000, () =>
      server.received.some(({ type }) => type === frameType.reset),
    );
  });

  it("holds what comes while it is paused, and then goes on in order", async () => {
    const sent = Buffer.alloc(3 * windowBytes, "abcdefgh");
    await using server = await openRawServer((stream) => {
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(sent);
    });
    await using open = await openSession(server.port);
    await open.ready;
    const recorded = recorder();
    const stream = open.session.open("/a/B", [], recorded, new Uint8Array());
    const onData = recorded.onData.bind(recorded);
    let paused = 0;
    recorded.onData = (chunk) => {
      onData(chunk);
      if (recorded.chunks.length % 20 !== 0) return;
      paused += 1;
      stream.pause();
      setTimeout(() => stream.resume(), 2);
    };
    await recorded.closed;
    assert.ok(paused > 3);
    assert.ok(Buffer.concat(recorded.chunks).equals(sent));
    assert.deepEqual(recorded.events.slice(-2), ["end", "close"]);
  });

  it("sends within the peer's windows, also when they shrink", async () => {
    const sent = Buffer.alloc(700_000, "12345678");
    const received: Buffer[] = [];
    await using server = await openRawServer(
      (stream) => {
        stream.on("data", (chunk: Buffer) => {
          if (received.push(chunk) === 3) stream.session?.settings({ initialWindowSize: 100 });
        });
        stream.on("end", () => {
          stream.respond({ ":status": 200 }, { endStream: true });
        });
      },
      { initialWindowSize: 10_000 },
    );
    await using open = await openSession(server.port);
    await open.ready;
    const recorded = recorder();
    const stream = open.session.open("/a/B", [], recorded);
    for (let at = 0; at < sent.length; at += 70_000) stream.write(sent.subarray(at, at + 70_000));
    stream.end();
    await recorded.closed;
    assert.ok(Buffer.concat(received).equals(sent));
    assert.equal(stream.queuedBytes, 0);
    assert.ok(recorded.events.includes("drain"));
  });

  it("knows which streams the peer has not taken when it goes away", async () => {
    await using server = await scriptedServer((type, id) => {
      if (type !== frameType.headers || id !== 3) return undefined;
      const last = frameFlag.endHeaders | frameFlag.endStream;
      return [goAwayFrame(1, errorCode.enhanceYourCalm), frameOf(frameType.headers, last, 1, ok)];
    }, hello);
    await using open = await openSession(server.port);
    await open.ready;
    const [first, second] = await Promise.all([
      call(open.session, "/a/B"),
      call(open.session, "/a/B"),
    ]);
    assert.deepEqual(first.events, ["headers", "end", "close"]);
    assert.deepEqual(second.events, ["close"]);
    assert.equal(open.session.neverSaw(first.stream), false);
    assert.equal(open.session.neverSaw(second.stream), true);
    assert.deepEqual(open.goAways, [errorCode.enhanceYourCalm]);
    await open.closed;
  });

  it("delivers what came before a reset, and answers pings", async () => {
    let pongs = 0;
    await using server = await scriptedServer((type, id, payload) => {
      if (type === frameType.ping && payload.toString() === "12345678") pongs += 1;
      if (type !== frameType.headers) return undefined;
      return [
        frameOf(frameType.ping, 0, 0, Buffer.from("12345678")),
        frameOf(frameType.headers, frameFlag.endHeaders, id, ok),
        frameOf(frameType.data, 0, id, Buffer.from("so far")),
        numberFrame(frameType.reset, id, errorCode.cancel),
      ];
    }, hello);
    await using open = await openSession(server.port);
    await open.ready;
    const got = await call(open.session, "/a/B");
    assert.equal(Buffer.concat(got.chunks).toString(), "so far");
    assert.deepEqual(got.events, ["headers", "data", "close"]);
    assert.equal(got.stream.resetCode, errorCode.cancel);
    await waitUntil("the answer", 5000, () => pongs === 1);
  });
});
