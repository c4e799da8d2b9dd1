import assert from "node:assert/strict";
import { createServer } from "node:http2";
import { type AddressInfo } from "node:net";
import { describe, it } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import {
  type LinkOffer,
  LinkOfferSchema,
  type LinkRequestSchema,
  type LinkResponse,
  LinkState,
  Mesh,
} from "../../src/gen/collector/mesh_pb.ts";
import { MeshNode } from "../support/mesh-node.ts";
import { refusalOf } from "../support/refusal.ts";
import { waitUntil } from "../support/wait.ts";

describe("A link between two collectors", () => {
  it("is made by one Connect, and both ends list it and can dial the other", async () => {
    await using a = await MeshNode.start("a");
    await using b = await MeshNode.start("b");
    const answer = await a.client.dispatcher.connect({
      address: b.address,
      metadata: { note: "first" },
    });
    assert.equal(answer.targetCollectorId, "b");
    assert.deepEqual(answer.sharedNamespaces, ["default"]);
    assert.ok(answer.roundTripUs > 0n);
    const [atA] = await a.linkedTo("b");
    const [atB] = await b.linkedTo("a");
    for (const link of [atA, atB]) {
      assert.equal(link?.connection?.id, answer.connectionId);
      assert.equal(link?.connection?.sourceCollectorId, "a");
      assert.equal(link?.connection?.targetCollectorId, "b");
      assert.deepEqual(link?.connection?.sharedNamespaces, ["default"]);
    }
    assert.deepEqual(atA?.connection?.metadata?.labels, { note: "first" });
    assert.equal(atA?.connection?.address, b.address);
    assert.equal(atB?.connection?.address, a.address);
    assert.equal(atA?.dials, true);
    await waitUntil("b dials back", 10_000, async () => (await b.links())[0]?.dials === true);
  });

  it("is the same for every Connect, from either end, at once or later, by any name", async () => {
    await using a = await MeshNode.start("a");
    await using b = await MeshNode.start("b");
    const aliasOfB = b.address.replace("127.0.0.1", "localhost");
    const aliasOfA = a.address.replace("127.0.0.1", "localhost");
    const ids = await Promise.all([
      a.connect(b.address),
      a.connect(b.address),
      a.connect(aliasOfB),
      b.connect(a.address),
      b.connect(aliasOfA),
    ]);
    const [atA] = await a.linkedTo("b");
    const [atB] = await b.linkedTo("a");
    const id = atA?.connection?.id;
    assert.equal(atB?.connection?.id, id);
    assert.deepEqual(atB?.connection?.sourceCollectorId, atA?.connection?.sourceCollectorId);
    const later = [
      await a.connect(aliasOfB),
      await b.connect(a.address),
      await b.connect(aliasOfA),
    ];
    assert.deepEqual(later, [id, id, id]);
    // What was answered while it was not settled which one stays is one that was there at that time.
    assert.ok(ids.includes(id ?? ""));
    await a.linkedTo("b");
    await b.linkedTo("a");
  });

  it("shares what both have, and both learn of changes without connecting again", async () => {
    await using a = await MeshNode.start("a");
    await using b = await MeshNode.start("b");
    await a.client.namespaces.createNamespace({ namespace: { name: "shop" } });
    await a.client.namespaces.createNamespace({ namespace: { name: "mine" } });
    const { sharedNamespaces } = await a.client.dispatcher.connect({
      address: b.address,
      namespaces: ["shop", "default"],
    });
    assert.deepEqual(sharedNamespaces, ["default"]);
    await b.client.namespaces.createNamespace({ namespace: { name: "shop" } });
    await b.client.namespaces.createNamespace({ namespace: { name: "mine" } });
    const shares = async (node: MeshNode): Promise<string> =>
      (await node.links())[0]?.connection?.sharedNamespaces.join() ?? "";
    for (const node of [a, b]) {
      await waitUntil(
        "shop is shared",
        10_000,
        async () => (await shares(node)) === "default,shop",
      );
    }
    await b.client.namespaces.deleteNamespace({ name: "shop" });
    for (const node of [a, b]) {
      await waitUntil("shop is gone", 10_000, async () => (await shares(node)) === "default");
    }
    const records = await a.client.records.list({
      namespace: "system",
      collectionName: "connections",
    });
    assert.equal(records.items.length, 1);
  });

  it("is up again after a restart of either end, or of both", async () => {
    await using a = await MeshNode.start("a");
    await using b = await MeshNode.start("b");
    const id = await a.connect(b.address);
    for (const restarted of [[b], [a], [a, b]]) {
      await Promise.all(restarted.map((node) => node.stop()));
      for (const node of [a, b].filter((other) => !restarted.includes(other))) {
        await waitUntil("the link is down", 10_000, async () => {
          const [link] = await node.links();
          return link?.state === LinkState.DOWN && link.problem !== "";
        });
      }
      await Promise.all(restarted.map((node) => node.start()));
      const [atA] = await a.linkedTo("b");
      const [atB] = await b.linkedTo("a");
      assert.equal(atA?.connection?.id, id);
      assert.equal(atB?.connection?.id, id);
    }
  });

  it("is removed at both ends by Disconnect at either", async () => {
    await using a = await MeshNode.start("a");
    await using b = await MeshNode.start("b");
    for (const node of [a, b]) {
      const connectionId = await a.connect(b.address);
      await b.linkedTo("a");
      await node.client.mesh.disconnect({ connectionId });
      await a.linkedTo();
      await b.linkedTo();
      const refusal = await refusalOf(node.client.mesh.disconnect({ connectionId }));
      assert.deepEqual([refusal.code, refusal.reason], ["NotFound", "LINK_NOT_FOUND"]);
      await node.client.mesh.disconnect({ connectionId, allowMissing: true });
    }
  });

  it("is removed at an end that was down, once it is back", async () => {
    await using a = await MeshNode.start("a");
    await using b = await MeshNode.start("b");
    for (const [remover, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const connectionId = await a.connect(b.address);
      await b.linkedTo("a");
      await other.stop();
      await remover.client.mesh.disconnect({ connectionId });
      await remover.linkedTo();
      // The other one does not hear of it while this one is away either.
      await remover.stop();
      await remover.start();
      await other.start();
      await other.linkedTo();
      await remover.linkedTo();
      await waitUntil("nothing is left of it", 10_000, async () => {
        const list = { namespace: "system", collectionName: "connections" };
        const kept = await Promise.all([a, b].map((node) => node.client.records.list(list)));
        return kept.every(({ items }) => items.length === 0);
      });
    }
  });
});

describe("Connect refuses", () => {
  it("what is no collector, is not allowed, is away, or is this one", async () => {
    await using a = await MeshNode.start("a");
    await using elsewhere = await MeshNode.start("elsewhere", { peers: ["192.0.2.1:1"] });
    const connect = (address: string, namespaces: string[] = []) =>
      refusalOf(a.client.dispatcher.connect({ address, namespaces }));

    for (const own of [a.address, a.address.replace("127.0.0.1", "localhost")]) {
      const self = await connect(own);
      assert.deepEqual(
        [self.code, self.reason, self.fields],
        ["InvalidArgument", "ARGUMENT_INVALID", ["address"]],
      );
      assert.match(self.message, /id of this one, a/);
    }
    const denied = await connect("192.0.2.7:50051");
    assert.deepEqual([denied.code, denied.reason], ["PermissionDenied", "PEER_DENIED"]);
    const unreadable = await connect("unix:///run/x.sock");
    assert.deepEqual(unreadable, denied);
    const missing = await connect("");
    assert.deepEqual([missing.code, missing.fields], ["InvalidArgument", ["address"]]);
    const named = await connect(elsewhere.address, ["ok", "a/b"]);
    assert.deepEqual([named.code, named.fields], ["InvalidArgument", ["namespaces[1]"]]);
    const system = await connect(elsewhere.address, ["system"]);
    assert.deepEqual([system.code, system.fields], ["InvalidArgument", ["namespaces[0]"]]);
    const away = await connect("127.0.0.1:9");
    assert.deepEqual([away.code, away.reason], ["Unavailable", "PEER_UNAVAILABLE"]);

    const foreign = createServer((_request, response) => response.end("hello"));
    await new Promise<void>((resolve) => foreign.listen(0, "127.0.0.1", resolve));
    const { port } = foreign.address() as AddressInfo;
    const other = await connect(`127.0.0.1:${port}`);
    assert.deepEqual([other.code, other.reason], ["FailedPrecondition", "PEER_NOT_COLLECTOR"]);
    foreign.close();
    await a.linkedTo();
  });

  it("another version of the protocol, at either end", async () => {
    await using a = await MeshNode.start("a");
    const { id } = a;
    const first = create(LinkOfferSchema, {
      collectorId: "later",
      protocolVersion: 2,
      serverVersion: "9.9.9",
      connectionId: "x",
      secret: new Uint8Array(32),
    });
    const refusal = await refusalOf(firstOf(a.client.mesh.link(say(first))));
    assert.deepEqual([refusal.code, refusal.reason], ["FailedPrecondition", "LINK_INCOMPATIBLE"]);
    assert.match(refusal.message, /version 2 .*9\.9\.9.* version 1 /);
    await a.linkedTo();

    // One that answers with an offer of its own.
    const routes = (router: ConnectRouter) =>
      router.rpc(Mesh.method.link, async function* (requests) {
        for await (const _request of requests) yield { step: { case: "offer", value: first } };
      });
    const later = createServer(connectNodeAdapter({ routes }));
    await new Promise<void>((resolve) => later.listen(0, "127.0.0.1", resolve));
    const { port } = later.address() as AddressInfo;
    const other = await refusalOf(a.client.dispatcher.connect({ address: `127.0.0.1:${port}` }));
    assert.deepEqual([other.code, other.reason], ["FailedPrecondition", "LINK_INCOMPATIBLE"]);
    assert.match(other.message, /version 2 .* version 1 /);
    later.close();
    await a.linkedTo();
    assert.equal(a.id, id);
  });

  it("offers that are none, naming what is wrong", async () => {
    await using a = await MeshNode.start("a");
    const good = {
      collectorId: "x",
      protocolVersion: 1,
      connectionId: "x",
      secret: new Uint8Array(32),
    };
    const cases: readonly [MessageInitShape<typeof LinkOfferSchema>, RegExp][] = [
      [{ ...good, collectorId: "a/b" }, /offer\.collector_id/],
      [{ ...good, connectionId: "" }, /offer\.connection_id/],
      [{ ...good, secret: new Uint8Array(31) }, /offer\.secret/],
      [{ ...good, address: "x".repeat(300) }, /offer\.address/],
      [{ ...good, namespaces: [{ name: "ok" }, { name: ".." }] }, /offer\.namespaces\[1\]\.name/],
      [{ ...good, namespaces: [{ name: "system" }] }, /offer\.namespaces\[0\]\.name/],
      [
        { ...good, namespaces: [{ name: "ok", services: [{ name: "a b" }] }] },
        /offer\.namespaces\[0\]\.services\[0\]\.name/,
      ],
    ];
    for (const [offer, message] of cases) {
      const said = say(create(LinkOfferSchema, offer));
      const refusal = await refusalOf(firstOf(a.client.mesh.link(said)));
      assert.equal(refusal.code, "InvalidArgument");
      assert.match(refusal.message, message);
    }
    const silent = await refusalOf(firstOf(a.client.mesh.link(say(undefined))));
    assert.equal(silent.code, "InvalidArgument");
    await a.linkedTo();
    const forged = await refusalOf(
      a.client.mesh.identify({ connectionId: "x", nonce: new Uint8Array(32) }),
    );
    assert.equal(forged.reason, "LINK_NOT_FOUND");
  });

  it("one link too many, at either end", async () => {
    await using hub = await MeshNode.start("hub", { limits: { meshPeersMax: 1 } });
    await using a = await MeshNode.start("a");
    await using b = await MeshNode.start("b");
    await hub.connect(a.address);
    const own = await refusalOf(hub.client.dispatcher.connect({ address: b.address }));
    assert.deepEqual([own.code, own.reason], ["ResourceExhausted", "LINK_LIMIT_EXCEEDED"]);
    const theirs = await refusalOf(b.client.dispatcher.connect({ address: hub.address }));
    assert.deepEqual([theirs.code, theirs.reason], ["ResourceExhausted", "LINK_LIMIT_EXCEEDED"]);
    assert.match(theirs.message, /refuses the link.*limit is 1/);
    await hub.linkedTo("a");
    await b.linkedTo();
  });
});

async function* say(offer: LinkOffer | undefined): AsyncGenerator<LinkRequestInit> {
  if (offer !== undefined) yield { step: { case: "offer", value: offer } };
}

type LinkRequestInit = MessageInitShape<typeof LinkRequestSchema>;

async function firstOf(answers: AsyncIterable<LinkResponse>): Promise<LinkResponse | undefined> {
  for await (const answer of answers) return answer;
  return undefined;
}

describe("ListCollectors", () => {
  it("tells of this one, its peers, and theirs", async () => {
    await using a = await MeshNode.start("a");
    await using b = await MeshNode.start("b");
    await using c = await MeshNode.start("c");
    await a.connect(b.address);
    await b.connect(c.address);
    await waitUntil("a knows c", 10_000, async () => {
      const { collectors } = await a.client.mesh.listCollectors({});
      return collectors.length === 3;
    });
    const page = await a.client.mesh.listCollectors({ pageSize: 2 });
    const rest = await a.client.mesh.listCollectors({
      pageSize: 2,
      pageToken: page.nextPageToken,
    });
    const known = [...page.collectors, ...rest.collectors];
    assert.deepEqual(
      known.map(({ id, address, isDirectPeer }) => [id, address, isDirectPeer]),
      [
        ["a", a.address, false],
        ["b", b.address, true],
        ["c", "", false],
      ],
    );
    assert.equal(rest.nextPageToken, "");
    assert.ok(known[1]?.capabilities.includes("batch"));
  });
});
