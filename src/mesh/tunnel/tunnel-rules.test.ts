import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { CollectorError } from "../../errors.ts";
import type { TunnelFrame, TunnelFrames } from "../../gen/collector/tunnel_pb.ts";
import { costOf, type FrameBody, partBytesMax, windowBytes } from "../../tunnel/frames.ts";
import { Outbox } from "../../tunnel/outbox.ts";
import type { TunnelCall } from "../../tunnel/served-call.ts";
import { TunnelServer } from "../../tunnel/tunnel-server.ts";
import { codeOf, toEnd } from "./testing/tunnel-pair.ts";
import { TunnelCaller } from "./tunnel-caller.ts";

const callsMax = 3;
const messageBytesMax = 200_000;
const metadataBytesMax = 1024;

const wrap = (frames: TunnelFrames): TunnelFrames => frames;

function frameOf(callId: bigint, frame: FrameBody): TunnelFrame {
  return { $typeName: "collector.TunnelFrame", callId, frame };
}

const bodies = {
  open: {
    case: "open",
    value: { $typeName: "collector.TunnelOpen", path: "/a.B/C", metadata: [], timeoutMs: 0n },
  },
  badOpen: {
    case: "open",
    value: { $typeName: "collector.TunnelOpen", path: "nonsense", metadata: [], timeoutMs: 0n },
  },
  emptyMessage: { case: "message", value: new Uint8Array(0) },
  message: { case: "message", value: new Uint8Array(60_000) },
  largeMessage: { case: "message", value: new Uint8Array(65_537) },
  largePart: { case: "part", value: new Uint8Array(65_537) },
  part: { case: "part", value: new Uint8Array(65_536) },
  emptyPart: { case: "part", value: new Uint8Array(0) },
  halfClose: { case: "halfClose", value: { $typeName: "collector.TunnelHalfClose" } },
  headers: { case: "headers", value: { $typeName: "collector.TunnelHeaders", metadata: [] } },
  trailers: { case: "trailers", value: trailers(0) },
  badTrailers: { case: "trailers", value: trailers(5) },
  cancel: { case: "cancel", value: { $typeName: "collector.TunnelCancel" } },
  noWindow: { case: "window", value: 0 },
  window: { case: "window", value: 1000 },
  largeWindow: { case: "window", value: 2 ** 32 - 1 },
  nothing: { case: undefined },
} as const satisfies Record<string, FrameBody>;

type BodyName = keyof typeof bodies;
const bodyNames = Object.keys(bodies) as BodyName[];

function trailers(code: number): Extract<FrameBody, { case: "trailers" }>["value"] {
  return {
    $typeName: "collector.TunnelTrailers",
    code,
    message: "",
    metadata: [],
    notRun: false,
  };
}

/** Most of them of calls that are there, and most of them of a kind that may come. */
function frames(likely: readonly BodyName[]): fc.Arbitrary<(readonly [bigint, BodyName])[]> {
  const name = fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(...likely) },
    { weight: 1, arbitrary: fc.constantFrom(...bodyNames) },
  );
  const callId = fc.oneof(
    { weight: 12, arbitrary: fc.bigInt(1n, 4n) },
    { weight: 1, arbitrary: fc.constantFrom(0n, 5n, 9n, 2n ** 64n - 1n) },
  );
  return fc.array(fc.tuple(callId, name), { maxLength: 40, size: "max" });
}

/** Whether the rules allow a frame; told them one after the other. */
type Oracle = (frame: TunnelFrame) => boolean;

interface Received {
  held: number;
  isAmid: boolean;
  /** Bytes of the message that has begun; negative once it is too large and the rest does not count. */
  bytes: number;
}

function receives(call: Received, frame: FrameBody): boolean {
  if (frame.case !== "message" && frame.case !== "part") return false;
  if (frame.value.byteLength > partBytesMax) return false;
  call.held += costOf(frame.value.byteLength);
  if (call.held > windowBytes) return false;
  if (call.bytes < 0) return true;
  call.bytes += frame.value.byteLength;
  if (call.bytes > messageBytesMax) {
    call.bytes = -1;
    call.isAmid = false;
    return true;
  }
  call.isAmid = frame.case === "part";
  if (!call.isAmid) call.bytes = 0;
  return true;
}

/** Of an end that runs calls, whose handlers read nothing and do not end. */
function serverOracle(): Oracle {
  let lastId = 0n;
  let running = 0;
  const calls = new Map<bigint, Received & { isHalfClosed: boolean; isCancelled: boolean }>();
  const refused = new Set<bigint>();
  return ({ callId, frame }) => {
    if (frame.case === "open") {
      if (callId <= lastId || calls.size + refused.size >= 2 * callsMax) return false;
      lastId = callId;
      if (running >= callsMax || frame.value.path === "nonsense") {
        refused.add(callId);
        return true;
      }
      running += 1;
      calls.set(callId, {
        held: 0,
        isAmid: false,
        bytes: 0,
        isHalfClosed: false,
        isCancelled: false,
      });
      return true;
    }
    const call = calls.get(callId);
    if (call === undefined) return callId > 0n && callId <= lastId;
    if (call.isCancelled) return false;
    if (frame.case === "cancel") return (call.isCancelled = true);
    if (frame.case === "halfClose") {
      if (call.isHalfClosed || call.isAmid) return false;
      return (call.isHalfClosed = true);
    }
    return !call.isHalfClosed && receives(call, frame);
  };
}

/**
 * Of an end that has made calls with these ids, whose answers nobody reads.
 *
 * @param cancelled was given up: what comes of it is not looked at
 */
function callerOracle(ids: Iterable<bigint>, cancelled: bigint): Oracle {
  const calls = new Map(
    Array.from(ids, (id) => [
      id,
      { held: 0, isAmid: false, bytes: 0, hasHeaders: false, hasMessages: false },
    ]),
  );
  return ({ callId, frame }) => {
    const call = calls.get(callId);
    if (call === undefined) return false;
    if (frame.case === "trailers") {
      if (frame.value.code === 0 && call.isAmid && callId !== cancelled) return false;
      return calls.delete(callId);
    }
    if (frame.case === "headers") {
      if (call.hasHeaders || call.hasMessages) return false;
      return (call.hasHeaders = true);
    }
    if (frame.case === "message" || frame.case === "part") call.hasMessages = true;
    return receives(call, frame);
  };
}

/** @returns whether it was taken; anything but a clear refusal is thrown on */
function isTaken(end: { accept(frame: TunnelFrame): void }, frame: TunnelFrame): boolean {
  try {
    end.accept(frame);
    return true;
  } catch (error) {
    assert.ok(error instanceof CollectorError, String(error));
    assert.equal(error.reason, "ARGUMENT_INVALID");
    assert.match(error.message, new RegExp(`^a frame of call ${frame.callId}: .+`));
    return false;
  }
}

async function* hang({ signal }: TunnelCall): AsyncIterable<Uint8Array> {
  if (!signal.aborted) await once(signal, "abort");
  yield* [];
}

describe("the rules of a tunnel", () => {
  it("are held up by the end that runs the calls, whatever comes", async () => {
    const likely: BodyName[] = [
      "open",
      "badOpen",
      "emptyMessage",
      "message",
      "part",
      "emptyPart",
      "halfClose",
      "cancel",
    ];
    await fc.assert(
      fc.asyncProperty(frames(likely), async (given) => {
        const outbox = new Outbox({ wrap });
        let begun = 0;
        let ended = 0;
        const server = new TunnelServer({
          outlet: outbox,
          handler: async function* (call) {
            begun += 1;
            yield* hang(call);
            ended += 1;
          },
          toEnd,
          callsMax,
          messageBytesMax,
          metadataBytesMax,
        });
        const isAllowed = serverOracle();
        for (const [callId, name] of given) {
          const frame = frameOf(callId, bodies[name]);
          const expected = isAllowed(frame);
          assert.equal(isTaken(server, frame), expected, name);
          if (!expected) break;
        }
        server.close();
        assert.equal(server.callCount, 0);
        outbox.end();
        assert.deepEqual(await Array.fromAsync(outbox), []);
        await new Promise(setImmediate);
        assert.equal(ended, begun);
      }),
    );
  });

  it("are held up by the end that makes the calls, whatever comes", async () => {
    const likely: BodyName[] = [
      "emptyMessage",
      "message",
      "part",
      "emptyPart",
      "headers",
      "trailers",
      "badTrailers",
    ];
    await fc.assert(
      fc.asyncProperty(frames(likely), async (given) => {
        const outbox = new Outbox({ wrap });
        const caller = new TunnelCaller({
          outlet: outbox,
          endpoint: "the worker",
          callsMax,
          waitingMax: 1,
          messageBytesMax,
          metadataBytesMax,
          codeOf,
        });
        const controller = new AbortController();
        const cancelled = caller.stream("/a.B/C", [], { signal: controller.signal });
        const calls = [cancelled, caller.stream("/a.B/C", []), caller.stream("/a.B/C", [])];
        const sent = await outbox.next();
        assert.equal(sent.value?.frames.length, 6);
        controller.abort();
        const isAllowed = callerOracle([1n, 2n, 3n], 1n);
        for (const [callId, name] of given) {
          const frame = frameOf(callId, bodies[name]);
          const expected = isAllowed(frame);
          assert.equal(isTaken(caller, frame), expected, name);
          if (!expected) break;
        }
        caller.close();
        assert.equal(caller.callCount, 0);
        const ends = await Promise.all(calls.map(({ end }) => end));
        assert.equal(ends[0]?.code, 1);
        await Promise.all(calls.map(({ headers }) => headers));
        outbox.end();
        for await (const { frames: late } of outbox) {
          for (const { frame } of late) assert.equal(frame.case, "cancel");
        }
      }),
    );
  });

  it("allow no metadata that gRPC could not carry on, and this call alone fails", async () => {
    const pair = (name: string, value: string) =>
      ({ $typeName: "collector.TunnelMetadatum", name, value }) as const;
    const bad = [
      [pair("X-Upper", "1")],
      [pair("x a", "1")],
      [pair("x", "a\nb")],
      [pair("x", "ü")],
      [pair("x-bin", "?")],
      Array.from({ length: 30 }, () => pair("x", "y".repeat(10))),
    ];
    for (const metadata of bad) {
      const outbox = new Outbox({ wrap });
      const caller = new TunnelCaller({
        outlet: outbox,
        endpoint: "the worker",
        callsMax,
        waitingMax: 1,
        messageBytesMax,
        metadataBytesMax,
        codeOf,
      });
      const call = caller.unary("/a.B/C", new Uint8Array(1));
      await outbox.next();
      caller.accept(
        frameOf(1n, { case: "headers", value: { $typeName: "collector.TunnelHeaders", metadata } }),
      );
      await assert.rejects(call, { code: 13, reason: "INTERNAL" });
      assert.equal(caller.callCount, 1);
      caller.accept(frameOf(1n, { case: "trailers", value: trailers(0) }));
      assert.equal(caller.callCount, 0);
      assert.equal(caller.state, "ready");
    }
  });
});
