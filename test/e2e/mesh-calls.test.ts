import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { CallFailure, type Channel } from "../../src/mesh/channel.ts";
import { linkHeader } from "../../src/mesh/links/link-channel.ts";
import { echoRequest, openLinkFixture, textOf } from "../support/link-fixture.ts";
import { callRaw, connectRaw, frame } from "../support/raw-call.ts";
import { waitUntil } from "../support/wait.ts";

/** Both ends of a link; `b` was told to Connect, so `a` is the end that has to dial back. */
async function linked(options: { readonly advertise?: string } = {}) {
  await using parts = new AsyncDisposableStack();
  const a = parts.use(await openLinkFixture("a"));
  const b = parts.use(await openLinkFixture("b", options));
  const link = await b.links.connect({ address: a.address, namespaces: [], labels: {} });
  const dials = options.advertise === undefined;
  await waitUntil("a has a way to b", 10_000, () => {
    const status = a.links.table.byPeer("b")?.toStatus();
    return status?.dials === dials && a.links.table.byPeer("b")?.isUp === true;
  });
  const all = parts.move();
  return { a, b, link, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

async function all(messages: AsyncIterable<Uint8Array>): Promise<string[]> {
  const texts: string[] = [];
  for await (const message of messages) texts.push(textOf(message));
  return texts;
}

const path = (method: string): string => `/echo.v1.Echo/${method}`;

for (const [how, options] of [
  ["dialled", {}],
  ["back over the stream", { advertise: "" }],
] as const) {
  describe(`Calls over a link, ${how}`, () => {
    it("are of all four kinds, and say which link they came over and by which way", async () => {
      await using pair = await linked(options);
      const { a, b, link } = pair;
      const channel: Channel = a.channelTo("b");
      const metadata = [
        ["x-collector-route", "z,a"],
        ["x-note", "hello"],
      ] as const;
      const answer = await channel.unary(path("Unary"), echoRequest({ text: "one" }), { metadata });
      assert.equal(textOf(answer.message), "one");
      assert.deepEqual(Object.fromEntries(answer.headers)["x-echo"], "header");
      assert.deepEqual(Object.fromEntries(answer.trailers)["x-echo-bin"], "AQID");
      const three = [1, 2, 3].map((n) => echoRequest({ text: `${n}` }));
      const stream = async (method: string, messages: Uint8Array[]) =>
        await all(channel.stream(path(method), messages).messages);
      assert.deepEqual(await stream("ServerStream", [echoRequest({ text: "x", count: 2 })]), [
        "x",
        "x",
      ]);
      assert.deepEqual(await stream("ClientStream", three), ["1 2 3"]);
      assert.deepEqual(await stream("Bidi", three), ["1", "2", "3"]);
      const [seen] = b.calls;
      assert.deepEqual(seen?.via, { connectionId: link.id, collectorId: "a" });
      assert.deepEqual(seen?.metadata, { "x-collector-route": "z,a", "x-note": "hello" });
      assert.equal(b.calls.length, 4);
    });

    it("fail with the status of the other end, and what it does not tell stays there", async () => {
      await using pair = await linked(options);
      const channel = pair.a.channelTo("b");
      const failed = channel.unary(path("Fail"), echoRequest({}));
      await assert.rejects(failed, (error: CallFailure) => {
        assert.equal(error.code, 13);
        assert.doesNotMatch(error.message, /secret/);
        return error.isRemote;
      });
      const unknown = channel.unary("/echo.v1.Echo/Nothing", echoRequest({}));
      await assert.rejects(unknown, { code: 12 });
    });

    it("end at the other end when they are cancelled, or their time is up", async () => {
      await using pair = await linked(options);
      const channel = pair.a.channelTo("b");
      const controller = new AbortController();
      const waiting = channel.unary(path("Wait"), echoRequest({}), { signal: controller.signal });
      await waitUntil("it is there", 5000, () => pair.b.calls.length === 1);
      controller.abort();
      await assert.rejects(waiting, { code: 1 });
      const deadlineMs = performance.now() + 200;
      const late = channel.unary(path("Wait"), echoRequest({}), { deadlineMs });
      await assert.rejects(late, { code: 4 });
    });
  });
}

describe("Headers in our name", () => {
  it("are believed of no one who does not know the secret of a link", async () => {
    await using pair = await linked();
    const { a, b, link } = pair;
    const secret = Buffer.from(link.live?.secret ?? []).toString("hex");
    using raw = connectRaw(b.url);
    const forged = [
      undefined,
      "",
      link.id,
      `${link.id}.`,
      `${link.id}.${randomBytes(32).toString("hex")}`,
      `${link.id}.${secret.slice(0, -1)}`,
      `${link.id}.${secret}00`,
      `.${secret}`,
      `x.${secret}`,
    ];
    for (const credential of forged) {
      const headers = {
        "x-collector-route": "a,b,c,d,e",
        "x-collector-hops": "9",
        "x-note": "hello",
        ...(credential === undefined ? {} : { [linkHeader]: credential }),
      };
      const answer = await callRaw(
        raw.session,
        path("Unary"),
        frame(echoRequest({ text: "x" })),
        headers,
      );
      assert.equal(answer.status, 0);
      const seen = b.calls.at(-1);
      assert.equal(seen?.via, undefined);
      assert.deepEqual(seen?.metadata, { "x-note": "hello" });
    }
    await a.channelTo("b").unary(path("Unary"), echoRequest({}), {
      metadata: [["x-collector-route", "a"]],
    });
    assert.deepEqual(b.calls.at(-1)?.metadata, { "x-collector-route": "a" });
  });
});

describe("The limits of streams and connections", () => {
  it("do not count links", async () => {
    const limits = { streamsPerConnectionMax: 4, connectionsPerAddressMax: 2, connectionsMax: 2 };
    await using hub = await openLinkFixture("hub", { limits });
    await using parts = new AsyncDisposableStack();
    for (let i = 0; i < 4; i += 1) {
      const peer = parts.use(await openLinkFixture(`peer-${i}`));
      await peer.links.connect({ address: hub.address, namespaces: [], labels: {} });
    }
    using first = connectRaw(hub.url);
    using second = connectRaw(hub.url);
    for (const { session } of [first, second]) {
      assert.equal((await callRaw(session, path("Unary"), frame(echoRequest({})))).status, 0);
    }
    using third = connectRaw(hub.url);
    const refused = await callRaw(third.session, path("Unary"), frame(echoRequest({})));
    assert.equal(refused.status, undefined);
  });

  it("let a linked collector make more calls at a time than a client", async () => {
    const limits = { streamsPerConnectionMax: 4, peerConnectionsMax: 1 };
    await using a = await openLinkFixture("a", { limits });
    await using b = await openLinkFixture("b", { limits });
    await a.links.connect({ address: b.address, namespaces: [], labels: {} });
    const controller = new AbortController();
    const { signal } = controller;
    const calls = Array.from({ length: 20 }, () =>
      a.channelTo("b").unary(path("Wait"), echoRequest({}), { signal }),
    );
    for (const call of calls) call.catch(() => undefined);
    await waitUntil("all are there", 10_000, () => b.calls.length === 20);
    controller.abort();
    for (const call of calls) await assert.rejects(call, CallFailure);
  });
});
