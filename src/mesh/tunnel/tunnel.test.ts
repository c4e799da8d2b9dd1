import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { windowBytes } from "../../tunnel/frames.ts";
import type { TunnelCall } from "../../tunnel/served-call.ts";
import { StatusError, TunnelPair } from "./testing/tunnel-pair.ts";

const path = "/shop.v1.Shop/Quote";
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

async function textsOf(messages: AsyncIterable<Uint8Array>): Promise<string[]> {
  return await Array.fromAsync(messages, decode);
}

async function* echo({ messages }: TunnelCall): AsyncIterable<Uint8Array> {
  for await (const message of messages) yield message;
}

/** Never answers, until it is told to stop. */
async function* hang({ signal }: TunnelCall): AsyncIterable<Uint8Array> {
  await once(signal, "abort");
  yield encode("too late");
}

/** Lets everything that is ready happen. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await turn();
}

describe("a tunnel", () => {
  it("carries a message for a message", async () => {
    await using pair = new TunnelPair(echo);
    const { message, headers, trailers } = await pair.caller.unary(path, encode("hello"));
    assert.equal(decode(message), "hello");
    assert.deepEqual([headers, trailers], [[], []]);
    assert.equal(pair.caller.callCount, 0);
    assert.equal(pair.server.callCount, 0);
  });

  it("carries streams of either side and of both", async () => {
    await using pair = new TunnelPair(async function* ({ path: called, messages }) {
      if (called.endsWith("Count")) {
        for (let i = 0; i < 1000; i += 1) yield encode(String(i));
      } else if (called.endsWith("Join")) {
        yield encode((await textsOf(messages)).join());
      } else {
        for await (const message of messages) yield encode(`<${decode(message)}>`);
      }
    });
    const count = pair.caller.stream("/a.B/Count", [encode("")]);
    assert.deepEqual(
      await textsOf(count.messages),
      Array.from({ length: 1000 }, (_, i) => String(i)),
    );
    const join = pair.caller.stream("/a.B/Join", [encode("a"), encode("b"), encode("")]);
    assert.deepEqual(await textsOf(join.messages), ["a,b,"]);

    const { promise, resolve } = Promise.withResolvers<Uint8Array>();
    const chat = pair.caller.stream(
      "/a.B/Chat",
      (async function* () {
        yield encode("1");
        yield await promise;
      })(),
    );
    assert.equal(decode((await chat.messages.next()).value ?? encode("")), "<1>");
    resolve(encode("2"));
    assert.deepEqual(await textsOf(chat.messages), ["<2>"]);
    assert.equal((await chat.end).code, 0);
  });

  it("carries metadata both ways, and leaves out what is the protocol's", async () => {
    await using pair = new TunnelPair(async function* (call) {
      call.sendHeaders([
        ["x-from", "worker"],
        ["content-type", "text/html"],
      ]);
      call.setTrailers([
        ["x-cost-bin", "AQI="],
        ["grpc-status", "3"],
      ]);
      yield encode(JSON.stringify(call.metadata));
    });
    const answer = await pair.caller.unary(path, encode(""), {
      metadata: [
        ["x-a", "1"],
        ["x-a", "2"],
        ["te", "trailers"],
        [":path", "/"],
        ["x-b-bin", "AA=="],
      ],
    });
    assert.deepEqual(JSON.parse(decode(answer.message)), [
      ["x-a", "1"],
      ["x-a", "2"],
      ["x-b-bin", "AA=="],
    ]);
    assert.deepEqual(answer.headers, [["x-from", "worker"]]);
    assert.deepEqual(answer.trailers, [["x-cost-bin", "AQI="]]);
  });

  it("carries headers before there is an answer", async () => {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    await using pair = new TunnelPair(async function* (call) {
      call.sendHeaders([["x-from", "worker"]]);
      await promise;
      yield encode("done");
    });
    const { headers, messages } = pair.caller.stream(path, []);
    assert.deepEqual(await headers, [["x-from", "worker"]]);
    resolve(undefined);
    assert.deepEqual(await textsOf(messages), ["done"]);
  });

  it("carries the headers of a call that fails later, unary and streamed", async () => {
    await using pair = new TunnelPair(async function* (call) {
      call.sendHeaders([["x-from", "worker"]]);
      await settle();
      yield* [];
      throw new StatusError({ code: 5, message: "nobody", metadata: [["x-why", "gone"]] });
    });
    await assert.rejects(pair.caller.unary(path, encode("")), {
      code: 5,
      message: "nobody",
      headers: [["x-from", "worker"]],
      trailers: [["x-why", "gone"]],
      mayHaveRun: true,
    });
    const { headers, end } = pair.caller.stream(path, []);
    assert.deepEqual(await headers, [["x-from", "worker"]]);
    const { failure } = await end;
    assert.deepEqual(failure?.headers, [["x-from", "worker"]]);
    assert.equal(pair.caller.callCount, 0);
  });

  it("has no headers once there is a message", async () => {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    await using pair = new TunnelPair(async function* () {
      yield encode("1");
      await promise;
    });
    const { headers, messages } = pair.caller.stream(path, []);
    assert.deepEqual(await headers, []);
    resolve(undefined);
    assert.deepEqual(await textsOf(messages), ["1"]);
  });

  it("carries an error as it is, behind the messages before it", async () => {
    const metadata = [
      ["grpc-status-details-bin", "CAMSA2JhZA"],
      ["x-why", "because"],
    ] as const;
    await using pair = new TunnelPair(async function* () {
      yield encode("first");
      throw new StatusError({ code: 9, message: "not now: ü", metadata });
    });
    const { messages, end } = pair.caller.stream(path, []);
    assert.equal(decode((await messages.next()).value ?? encode("")), "first");
    await assert.rejects(messages.next(), {
      name: "CallFailure",
      code: 9,
      message: "not now: ü",
      trailers: metadata,
      reason: undefined,
      mayHaveRun: true,
    });
    assert.equal((await end).code, 9);
    await assert.rejects(pair.caller.unary(path, encode("")), { code: 9, trailers: metadata });
  });

  it("makes an unknown code UNKNOWN", async () => {
    await using pair = new TunnelPair(async function* () {
      yield encode("");
      throw new StatusError({ code: 77, message: "?", metadata: [] });
    });
    await assert.rejects(pair.caller.unary(path, encode("")), { code: 2 });
  });

  it("carries messages that are larger than a window, up to the limit", async () => {
    const messageBytesMax = 3 * windowBytes + 7;
    await using pair = new TunnelPair(echo, { messageBytesMax });
    for (const bytes of [0, 1, 65_536, 65_537, windowBytes, windowBytes + 1, messageBytesMax]) {
      const sent = new Uint8Array(bytes).map((_, i) => i % 251);
      const { message } = await pair.caller.unary(path, sent);
      assert.ok(Buffer.from(message).equals(sent), `${bytes} bytes`);
    }
    const tooLarge = new Uint8Array(messageBytesMax + 1);
    await assert.rejects(pair.caller.unary(path, tooLarge), {
      reason: "MESSAGE_TOO_LARGE",
      code: 8,
      mayHaveRun: false,
    });
    assert.deepEqual(pair.faults, []);
  });

  it("fails the one call whose answer is too large", async () => {
    await using pair = new TunnelPair(
      async function* () {
        yield new Uint8Array(1025);
      },
      { messageBytesMax: 1024 },
    );
    await assert.rejects(pair.caller.unary(path, encode("")), { code: 8, mayHaveRun: true });
    assert.equal(pair.caller.state, "ready");
  });

  it("fails an answer that is no single message where one is due", async () => {
    await using pair = new TunnelPair(async function* ({ messages }) {
      for await (const message of messages) {
        for (let i = 0; i < (message[0] ?? 0); i += 1) yield message;
      }
    });
    await assert.rejects(pair.caller.unary(path, Uint8Array.of(0)), { code: 12, mayHaveRun: true });
    await assert.rejects(pair.caller.unary(path, Uint8Array.of(2)), { code: 12, mayHaveRun: true });
    assert.equal((await pair.caller.unary(path, Uint8Array.of(1))).message.byteLength, 1);
  });

  it("holds a side back whose messages are not read, and no other call", async () => {
    await using pair = new TunnelPair(async function* (call) {
      if (call.path !== "/a.B/Flood") yield* echo(call);
      else for (;;) yield new Uint8Array(1000);
    });
    const flood = pair.caller.stream("/a.B/Flood", []);
    await settle();
    assert.ok(pair.answeredBytes > windowBytes / 2);
    assert.ok(pair.answeredBytes <= windowBytes);
    const before = pair.answeredBytes;
    assert.equal(decode((await pair.caller.unary(path, encode("hi"))).message), "hi");
    assert.equal(pair.answeredBytes, before + 2);
    for (let i = 0; i < 1000; i += 1) await flood.messages.next();
    await flood.messages.return?.();
    await settle();
    assert.equal(pair.server.callCount, 0);
  });

  it("sends the rest of an answer that is read after its handler has ended", async () => {
    let hasEnded = false;
    await using pair = new TunnelPair(async function* () {
      for (let i = 0; i < 300; i += 1) yield new Uint8Array(1000);
      hasEnded = true;
    });
    const { messages } = pair.caller.stream(path, []);
    const left = pair.caller.stream(path, []);
    await settle();
    assert.ok(hasEnded);
    assert.equal((await Array.fromAsync(messages)).length, 300);
    await left.messages.return?.();
    await settle();
    assert.equal(pair.server.callCount, 0);
  });

  it("holds a caller back whose messages are not read", async () => {
    const read = Promise.withResolvers<undefined>();
    await using pair = new TunnelPair(async function* ({ messages }) {
      await read.promise;
      let bytes = 0;
      for await (const message of messages) bytes += message.byteLength;
      yield encode(String(bytes));
    });
    let sent = 0;
    const { messages } = pair.caller.stream(
      path,
      (function* () {
        for (; sent < 2000; sent += 1) yield new Uint8Array(1000);
      })(),
    );
    await settle();
    assert.ok(sent * 1000 <= windowBytes + 64 * 1024 + 1000, `${sent} messages were taken`);
    read.resolve(undefined);
    assert.deepEqual(await textsOf(messages), ["2000000"]);
  });

  it("tells the other end of a call that is given up, and waits for its end", async () => {
    const stop = Promise.withResolvers<undefined>();
    let reason: unknown;
    await using pair = new TunnelPair(async function* ({ signal }) {
      await once(signal, "abort");
      reason = signal.reason;
      await stop.promise;
      yield encode("nobody reads this");
    });
    const controller = new AbortController();
    const call = pair.caller.unary(path, encode(""), { signal: controller.signal });
    await settle();
    controller.abort();
    await assert.rejects(call, { reason: "CANCELLED", code: 1, mayHaveRun: true });
    await settle();
    assert.ok(reason instanceof Error && "reason" in reason && reason.reason === "CANCELLED");
    assert.equal(pair.caller.callCount, 1);
    stop.resolve(undefined);
    await settle();
    assert.equal(pair.caller.callCount, 0);
  });

  it("cancels a call whose answer is left, and one whose messages fail", async () => {
    const signals: AbortSignal[] = [];
    await using pair = new TunnelPair(async function* ({ signal }) {
      signals.push(signal);
      yield encode("1");
      await once(signal, "abort");
    });
    for await (const message of pair.caller.stream(path, []).messages) {
      assert.equal(decode(message), "1");
      break;
    }
    const failing = pair.caller.stream(
      path,
      (async function* () {
        yield encode("1");
        await settle();
        throw new Error("the disk is gone");
      })(),
    );
    const { code, failure } = await failing.end;
    assert.equal(code, 13);
    assert.equal(failure?.reason, "INTERNAL");
    await settle();
    assert.deepEqual(
      signals.map(({ aborted }) => aborted),
      [true, true],
    );
    assert.equal(pair.server.callCount, 0);
  });

  it("ends a call at its deadline, at both ends", async () => {
    let deadlineMs: number | undefined;
    let reason: unknown;
    await using pair = new TunnelPair(async function* (call) {
      deadlineMs = call.deadlineMs;
      await once(call.signal, "abort");
      reason = call.signal.reason;
      yield encode("");
    });
    const options = { deadlineMs: performance.now() + 60 };
    await assert.rejects(pair.caller.unary(path, encode(""), options), {
      // Either end may be the first to tell, and only this one has a reason for it.
      code: 4,
      mayHaveRun: true,
    });
    assert.ok(deadlineMs !== undefined);
    await settle();
    assert.ok(reason instanceof Error);
    const late = { deadlineMs: performance.now() - 1 };
    await assert.rejects(pair.caller.unary(path, encode(""), late), { code: 4, mayHaveRun: false });
  });

  it("runs no more calls at a time than it may; others wait, and few", async () => {
    let running = 0;
    let most = 0;
    await using pair = new TunnelPair(
      async function* () {
        running += 1;
        most = Math.max(most, running);
        await settle();
        running -= 1;
        yield encode("done");
      },
      { callsMax: 3, waitingMax: 5 },
    );
    const calls = Array.from({ length: 9 }, () => pair.caller.unary(path, encode("")));
    const results = await Promise.allSettled(calls);
    assert.equal(most, 3);
    assert.deepEqual(
      results.map(({ status }) => status),
      [...Array<string>(8).fill("fulfilled"), "rejected"],
    );
    await assert.rejects(calls[8] ?? Promise.resolve(), {
      reason: "OVERLOADED",
      mayHaveRun: false,
    });
  });

  it("lets a call that waits be given up", async () => {
    await using pair = new TunnelPair(hang, { callsMax: 1 });
    const first = new AbortController();
    const one = pair.caller.unary(path, encode(""), { signal: first.signal });
    const second = new AbortController();
    const two = pair.caller.unary(path, encode(""), { signal: second.signal });
    assert.equal(pair.caller.hasRoom, false);
    second.abort();
    await assert.rejects(two, { code: 1, mayHaveRun: false });
    await settle();
    first.abort();
    await assert.rejects(one, { code: 1, mayHaveRun: true });
    await settle();
    assert.equal(pair.caller.hasRoom, true);
  });

  it("tells a refusal from a failure, so that the call can be made elsewhere", async () => {
    await using pair = new TunnelPair(hang, { callsMax: 2, serverCallsMax: 1 });
    const controller = new AbortController();
    const first = pair.caller.unary(path, encode(""), { signal: controller.signal });
    await assert.rejects(pair.caller.unary(path, encode("")), { code: 8, mayHaveRun: false });
    controller.abort();
    await assert.rejects(first, { code: 1 });
    await settle();
    await assert.rejects(pair.caller.unary("/not a path", encode("")), {
      code: 12,
      mayHaveRun: false,
    });
  });

  it("fails every call when the stream ends: those that were sent may have run", async () => {
    await using pair = new TunnelPair(hang, { callsMax: 2 });
    const sent = pair.caller.unary(path, encode(""));
    const stream = pair.caller.stream(path, []);
    const waiting = pair.caller.unary(path, encode(""));
    await settle();
    pair.cut();
    const gone = { reason: "PEER_UNAVAILABLE", code: 14 };
    await assert.rejects(sent, { ...gone, mayHaveRun: true });
    await assert.rejects(stream.messages.next(), { ...gone, mayHaveRun: true });
    assert.equal((await stream.end).code, 14);
    await assert.rejects(waiting, { ...gone, mayHaveRun: false });
    await assert.rejects(pair.caller.unary(path, encode("")), { ...gone, mayHaveRun: false });
    assert.equal(pair.caller.state, "closed");
    assert.equal(pair.caller.callCount, 0);
    assert.equal(pair.server.callCount, 0);
  });

  it("knows that a call was not sent which the stream never took", async () => {
    await using pair = new TunnelPair(hang);
    const call = pair.caller.unary(path, encode(""));
    pair.cut();
    await assert.rejects(call, { reason: "PEER_UNAVAILABLE", mayHaveRun: false });
  });

  it("drains from the end that makes the calls", async () => {
    const finish = Promise.withResolvers<undefined>();
    await using pair = new TunnelPair(async function* () {
      await finish.promise;
      yield encode("done");
    });
    const call = pair.caller.unary(path, encode(""));
    await settle();
    const drained = pair.caller.drain();
    await assert.rejects(pair.caller.unary(path, encode("")), { code: 14, mayHaveRun: false });
    finish.resolve(undefined);
    assert.equal(decode((await call).message), "done");
    await drained;
  });

  it("drains from the end that runs the calls", async () => {
    const finish = Promise.withResolvers<undefined>();
    await using pair = new TunnelPair(async function* () {
      await finish.promise;
      yield encode("done");
    });
    const call = pair.caller.unary(path, encode(""));
    await settle();
    const drained = pair.server.drain();
    await assert.rejects(pair.caller.unary(path, encode("")), { code: 14, mayHaveRun: false });
    finish.resolve(undefined);
    assert.equal(decode((await call).message), "done");
    await drained;
  });
});
