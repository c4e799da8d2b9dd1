import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { callUnary } from "../executor.ts";
import { LinkNet } from "./testing/link-net.ts";

const quote = "/shop.v1.Shop/Quote";

describe("Links", () => {
  it("are up at both ends after one Connect, and dial back once the other end has proved who it is", async () => {
    await using net = new LinkNet();
    const a = await net.add("a");
    const b = await net.add("b");
    const id = await a.connect("b");
    await net.scheduler.advance(100);
    assert.deepEqual([a.list(), b.list()], [["b up"], ["a up"]]);
    assert.equal(b.links.table.byId(id)?.toStatus().dials, true);
    assert.deepEqual(a.records.ids, [id]);
    assert.deepEqual(b.records.ids, [id]);
  });

  it("carry calls back over the stream where the end that was dialled cannot dial", async () => {
    await using net = new LinkNet();
    const a = await net.add("a");
    const b = await net.add("b");
    net.wall("b", "a");
    a.services.set("default", [
      { name: "shop.v1.Shop", executors: [], idempotentMethods: new Set() },
    ]);
    await a.connect("b");
    await net.scheduler.advance(100);
    const [executor] = b.links.executors.executorsOf("default", "shop.v1.Shop");
    assert.ok(executor !== undefined);
    assert.equal(b.links.table.byPeer("a")?.toStatus().dials, false);
    const message = Buffer.from("hello");
    const answer = await callUnary(executor, quote, message);
    assert.equal(Buffer.from(answer.message).toString(), "hello");
    assert.deepEqual(a.calls, [`b ${quote}`]);
    assert.equal(executor.inFlight, 0);
  });

  it("does not dial an address where another collector answers", async () => {
    await using net = new LinkNet();
    await net.add("c");
    const a = await net.add("a", { advertise: "c" });
    const b = await net.add("b");
    await a.connect("b");
    await net.scheduler.advance(5000);
    assert.deepEqual(b.list(), ["a up"]);
    assert.equal(b.links.table.byPeer("a")?.toStatus().dials, false);
  });

  it("go down at both ends when nothing gets through, and heal", async () => {
    await using net = new LinkNet();
    const a = await net.add("a");
    const b = await net.add("b");
    const id = await a.connect("b");
    for (const [from, to] of [
      ["a", "b"],
      ["b", "a"],
    ] as const) {
      net.freeze(from, to);
      await net.scheduler.advance(40_000);
      assert.deepEqual([a.list(), b.list()], [["b down"], ["a down"]], `${from} to ${to}`);
      assert.notEqual(a.links.table.byId(id)?.problem, "");
      net.thaw(from, to);
      await net.scheduler.advance(10_000);
      assert.deepEqual([a.list(), b.list()], [["b up"], ["a up"]]);
    }
    assert.equal(a.links.table.byId(id)?.toStatus().reconnects, 2n);
  });

  it("tells the other end what can be run, with its labels, and when that changes", async () => {
    await using net = new LinkNet();
    const a = await net.add("a");
    const b = await net.add("b");
    await a.connect("b");
    const names = () =>
      [...a.links.executors.all()].map(
        ({ serviceName, labels, ready, collectorId }) =>
          `${collectorId} ${serviceName} ${JSON.stringify(labels)} ${ready}`,
      );
    assert.deepEqual(names(), []);
    b.services.set("default", [
      {
        name: "shop.v1.Shop",
        executors: [{ zone: "1" }, { zone: "2" }],
        idempotentMethods: new Set(["Quote"]),
      },
    ]);
    b.links.offersChanged();
    await net.scheduler.advance(200);
    assert.deepEqual(names(), [
      'b shop.v1.Shop {"zone":"1"} true',
      'b shop.v1.Shop {"zone":"2"} true',
    ]);
    const [executor] = a.links.executors.executorsOf("default", "shop.v1.Shop");
    assert.ok(executor !== undefined);
    assert.equal(a.links.executors.isIdempotent(executor, "Quote"), true);
    assert.equal(a.links.executors.isIdempotent(executor, "Order"), false);
    net.cut("a", "b");
    await net.scheduler.advance(0);
    assert.equal(a.links.executors.executorsOf("default", "shop.v1.Shop")[0], executor);
    assert.equal(executor.ready, false);
    await assert.rejects(callUnary(executor, quote, Buffer.from("x")), {
      reason: "PEER_UNAVAILABLE",
      mayHaveRun: false,
    });
    await net.scheduler.advance(5000);
    assert.equal(executor.ready, true);
    b.services.clear();
    b.links.offersChanged();
    await net.scheduler.advance(200);
    assert.deepEqual(names(), []);
  });

  it("converge on one if both ends, or one by two addresses, Connect at once", async () => {
    await using net = new LinkNet();
    const a = await net.add("a");
    const b = await net.add("b");
    const ids = await net.scheduler.until(
      Promise.all([
        a.connect("b"),
        b.connect("a"),
        a.connect("b-alias"),
        b.connect("a-alias"),
        a.connect("b"),
      ]),
    );
    await net.scheduler.advance(3000);
    assert.deepEqual([a.list(), b.list()], [["b up"], ["a up"]]);
    const id = a.links.table.byPeer("b")?.id;
    assert.equal(b.links.table.byPeer("a")?.id, id);
    assert.ok(ids.includes(id ?? ""));
    assert.deepEqual([a.records.ids, b.records.ids], [[id], [id]]);
    assert.equal(net.wireCount, 1);
  });

  it("write no more than once a minute that they were heard of", async () => {
    await using net = new LinkNet();
    const a = await net.add("a");
    await net.add("b");
    const id = await a.connect("b");
    await net.scheduler.advance(1000);
    const before = a.records.writes;
    await net.scheduler.advance(600_000);
    assert.ok(a.records.writes - before <= 10, `${a.records.writes - before} writes`);
    const kept = await a.records.get(id);
    assert.ok(Number(kept?.lastActivity?.seconds) > 500);
  });

  it("are dialled ever more rarely while the other end is away, and at once when it is back", async () => {
    await using net = new LinkNet();
    const a = await net.add("a");
    const b = await net.add("b");
    await a.connect("b");
    await b.stop();
    await net.scheduler.advance(3_600_000);
    assert.match(a.links.table.byPeer("b")?.problem ?? "", /cannot reach b/);
    await b.start();
    await net.scheduler.advance(2500);
    assert.deepEqual([a.list(), b.list()], [["b up"], ["a up"]]);
  });

  it("are dialled by the end that was dialled, if the other one has lost its data", async () => {
    await using net = new LinkNet();
    const a = await net.add("a");
    const b = await net.add("b");
    const id = await a.connect("b");
    await a.crash();
    await a.records.write([{ kind: "delete", id }]);
    await a.start();
    await net.scheduler.advance(1000);
    assert.deepEqual([a.list(), b.list()], [[], ["a down"]]);
    await net.scheduler.advance(65_000);
    assert.deepEqual([a.list(), b.list()], [["b up"], ["a up"]]);
  });
});
