import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { clone, create, toBinary } from "@bufbuild/protobuf";
import {
  DescriptorProtoSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { defaultLimits } from "../../lib/limits.ts";
import type { SharedEntry } from "../../registry/exchange.ts";
import { common, shop } from "../../registry/testing/shop.ts";
import { type PullOptions, pull } from "./pull.ts";
import { namespace, SharingNode, settle } from "./testing/sharing-net.ts";

/** A file of package `p` that has these messages, each empty. */
function file(name: string, messages: readonly string[], imports: readonly string[] = []) {
  return create(FileDescriptorProtoSchema, {
    name,
    package: "p",
    syntax: "proto3",
    dependency: [...imports],
    messageType: messages.map((message) => ({ name: message })),
  });
}

async function pair(): Promise<readonly [a: SharingNode, b: SharingNode]> {
  return [await SharingNode.open("a"), await SharingNode.open("b")];
}

function origins(node: SharingNode): string[] {
  const entries = node.registry.exchange.entries(namespace);
  return entries.map(({ name, origin }) => `${name} ${origin}`);
}

/** Lets others ask as often as they can while something goes on. */
async function whilePulling(work: Promise<unknown>, ...all: readonly SharingNode[]): Promise<void> {
  const over = new AbortController();
  const done = work.finally(() => over.abort());
  while (!over.signal.aborted) {
    // What is written takes its turn.
    await new Promise((resolve) => setImmediate(resolve));
    for (const node of all) {
      for (const other of all) if (other !== node) await node.pullFrom(other);
    }
  }
  await done;
}

describe("What a collector takes over", () => {
  it("stays removed, whoever asks while it is being removed", async () => {
    const [a, b] = await pair();
    await a.register(common, shop);
    await a.registerService("shop.Shop");
    await b.pullFrom(a);
    const remove = async (): Promise<void> => {
      await a.registry.unregisterService(namespace, "shop.Shop", false);
      await a.registry.unregisterFile(namespace, "shop/shop.proto", false);
      await a.registry.unregisterFile(namespace, "shop/common.proto", false);
    };
    await whilePulling(remove(), a, b);
    await b.pullFrom(a);
    await a.pullFrom(b);
    assert.deepEqual([a.list(), b.list()], [[], []]);
  });

  it("comes with what it imports, its versions and its services, and once only", async () => {
    const [a, b] = await pair();
    await a.register(common, shop);
    await a.register(withMessage(shop, "Later"));
    await a.registerService("shop.Shop");
    const first = await b.pullFrom(a);
    assert.deepEqual([first.conflicts, first.taken], [[], 3]);
    assert.deepEqual(b.list(), [
      "file shop/common.proto@1",
      "file shop/shop.proto@2",
      "service shop.Shop",
    ]);
    assert.deepEqual(origins(b), ["shop/common.proto a", "shop/shop.proto a", "shop.Shop a"]);
    assert.deepEqual(b.versionsOf("shop/shop.proto"), a.versionsOf("shop/shop.proto"));
    const again = await b.pullFrom(a);
    assert.deepEqual([again.conflicts, again.taken], [[], 0]);
    assert.equal((await a.pullFrom(b)).taken, 0);
    assert.equal(a.registry.exchange.digest(namespace), b.registry.exchange.digest(namespace));
    const { files } = b.registry.listFileVersions(namespace, "shop/shop.proto", {
      pageSize: 0,
      pageToken: "",
    });
    assert.deepEqual(
      files.map(({ version }) => version),
      [2n, 1n],
    );
    const reopened = await b.store.reopen();
    assert.deepEqual(reopened.exchange.entries(namespace), b.registry.exchange.entries(namespace));
  });

  it("keeps the name of the collector where it was registered, however far it came", async () => {
    const [a, b] = await pair();
    const c = await SharingNode.open("c");
    await a.register(file("one.proto", ["One"]));
    await settle([a, b, c]);
    assert.deepEqual(origins(c), ["one.proto a"]);
    assert.deepEqual(origins(a), ["one.proto "]);
  });

  it("may have moved from one file to another", async () => {
    const [a, b] = await pair();
    await a.register(file("one.proto", ["One", "Two"]), file("two.proto", ["Three"]));
    await settle([a, b]);
    await a.register(file("one.proto", ["One"]), file("two.proto", ["Two", "Three"]));
    const result = await b.pullFrom(a);
    assert.deepEqual(result.conflicts, []);
    assert.deepEqual(b.list(), ["file one.proto@2", "file two.proto@2"]);
  });

  it("is all but what is in conflict, with what that is needed for", async () => {
    const [a, b] = await pair();
    await a.register(file("one.proto", ["One"]), file("two.proto", ["Two"], ["one.proto"]));
    await a.register(file("three.proto", ["Three"]));
    await b.register(file("other.proto", ["One"]));
    const { conflicts } = await b.pullFrom(a);
    assert.deepEqual(
      conflicts.map(({ name, reason }) => `${name} ${reason}`),
      ["one.proto SYMBOL_EXISTS", "two.proto DESCRIPTOR_INVALID"],
    );
    assert.deepEqual(b.list(), ["file other.proto@1", "file three.proto@1"]);
    await b.registry.unregisterFile(namespace, "other.proto", false);
    assert.deepEqual((await b.pullFrom(a)).conflicts, []);
    assert.deepEqual(b.list(), ["file one.proto@1", "file three.proto@1", "file two.proto@1"]);
  });

  it("is the version that holds all of the other, if both were registered by themselves", async () => {
    const [a, b] = await pair();
    await a.register(file("one.proto", ["One"]));
    await b.register(file("one.proto", ["One", "Two"]));
    const results = await settle([a, b]);
    for (const { conflicts } of results.values()) assert.deepEqual(conflicts, []);
    assert.deepEqual(a.list(), ["file one.proto@2"]);
    assert.deepEqual(b.list(), ["file one.proto@1"]);
  });

  it("is nothing where neither holds all of the other, until one does", async () => {
    const [a, b] = await pair();
    await a.register(file("one.proto", ["One", "A"]));
    await b.register(file("one.proto", ["One", "B"]));
    const results = await settle([a, b]);
    for (const { conflicts } of results.values()) {
      const [conflict] = conflicts;
      assert.equal(conflict?.reason, "ALTERED_AT_BOTH_ENDS");
      assert.match(conflict?.message ?? "", /message p\.[AB] is not there/);
    }
    await a.register(file("one.proto", ["One", "A", "B"]));
    for (const { conflicts } of (await settle([a, b])).values()) assert.deepEqual(conflicts, []);
    assert.deepEqual(a.contents(), b.contents());
  });

  it("does not take away what is in use here", async () => {
    const [a, b] = await pair();
    await a.register(file("one.proto", ["One", "Two"]));
    await settle([a, b]);
    b.use("twos", "p.Two");
    await a.registry.unregisterType(namespace, "p.Two", false);
    const { conflicts } = await b.pullFrom(a);
    assert.deepEqual(
      conflicts.map(({ name, reason, version, peerVersion }) => [
        name,
        reason,
        version,
        peerVersion,
      ]),
      [["one.proto", "TYPE_IN_USE", 1n, 2n]],
    );
    assert.equal((await a.pullFrom(b)).taken, 0);
    b.disuse("twos");
    assert.deepEqual((await b.pullFrom(a)).conflicts, []);
    assert.deepEqual(b.contents(), a.contents());
  });

  it("does not bring a service whose file is another one here", async () => {
    const [a, b] = await pair();
    await a.register(common, withMessage(shop, "A"));
    await a.registerService("shop.Shop");
    await b.register(common, withMessage(shop, "B"));
    const { conflicts } = await b.pullFrom(a);
    assert.deepEqual(
      conflicts.map(({ kind, name }) => `${kind} ${name}`),
      ["file shop/shop.proto", "service shop.Shop"],
    );
    assert.ok(!b.list().includes("service shop.Shop"));
  });
});

describe("A removal elsewhere", () => {
  it("is followed, importers first, and is no removal of what came later", async () => {
    const [a, b] = await pair();
    await a.register(common, shop);
    await a.registerService("shop.Shop");
    await settle([a, b]);
    await a.registry.unregisterService(namespace, "shop.Shop", false);
    await a.registry.unregisterFile(namespace, "shop/shop.proto", false);
    await a.registry.unregisterFile(namespace, "shop/common.proto", false);
    assert.deepEqual((await b.pullFrom(a)).conflicts, []);
    assert.deepEqual(b.list(), []);
    await b.register(common);
    await settle([a, b]);
    assert.deepEqual(
      [a.list(), b.list()],
      [["file shop/common.proto@1"], ["file shop/common.proto@1"]],
    );
  });

  it("takes nothing that is in use or was registered here too, and says so until that is over", async () => {
    const [a, b] = await pair();
    for (const name of ["One", "Two"]) await a.register(file(`${name}.proto`, [name]));
    await a.register(common, shop);
    await a.registerService("shop.Shop");
    await settle([a, b]);
    b.use("ones", "p.One");
    b.served.add("shop.Shop");
    await b.register(file("Two.proto", ["Two"]));
    await a.registry.unregisterService(namespace, "shop.Shop", false);
    for (const name of ["One.proto", "Two.proto"]) {
      await a.registry.unregisterFile(namespace, name, false);
    }
    const kept = async () => (await b.pullFrom(a)).conflicts.map(({ name }) => name).sort();
    assert.deepEqual(await kept(), ["One.proto", "Two.proto", "shop.Shop"]);
    const before = b.list();
    assert.equal((await a.pullFrom(b)).taken, 0);
    b.disuse("ones");
    b.served.clear();
    assert.deepEqual(await kept(), ["Two.proto"]);
    assert.deepEqual(
      before.filter((entry) => !b.list().includes(entry)),
      ["file One.proto@1", "service shop.Shop"],
    );
    // Whoever registers it again has it come back.
    await b.register(file("Two.proto", ["Two"]));
    await settle([a, b]);
    assert.ok(a.list().includes("file Two.proto@1"));
    assert.deepEqual(await kept(), []);
  });

  it("makes room for what was registered anew under the name", async () => {
    const [a, b] = await pair();
    await a.register(common, shop);
    await a.registerService("shop.Shop");
    await settle([a, b]);
    await a.registry.unregisterService(namespace, "shop.Shop", false);
    await a.registry.unregisterFile(namespace, "shop/shop.proto", false);
    const other = clone(FileDescriptorProtoSchema, shop);
    for (const message of other.messageType) {
      if (message.name === "Unused") message.field = [];
    }
    await a.register(other);
    await a.registerService("shop.Shop");
    for (const { conflicts } of (await settle([a, b])).values()) assert.deepEqual(conflicts, []);
    assert.deepEqual(b.contents(), a.contents());
  });

  it("is forgotten by nobody who restarts", async () => {
    const [a, b] = await pair();
    await a.register(file("one.proto", ["One"]));
    await settle([a, b]);
    await a.registry.unregisterFile(namespace, "one.proto", false);
    const entries = (await a.store.reopen()).exchange.entries(namespace);
    assert.deepEqual(
      entries.map(({ name, removals, isRemoved }) => [name, removals, isRemoved]),
      [["one.proto", 1, true]],
    );
  });
});

describe("A collector that tells what is not so", () => {
  const entry: SharedEntry = {
    kind: "file",
    name: "one.proto",
    removals: 0,
    isRemoved: false,
    versions: ["01".repeat(16)],
    version: 1n,
    fileName: "",
    origin: "x",
  };
  const one = toBinary(FileDescriptorProtoSchema, file("one.proto", ["One"]));

  async function takeFrom(
    entries: readonly SharedEntry[],
    sources: readonly (Uint8Array | undefined)[],
  ): Promise<{ readonly node: SharingNode; readonly reasons: string[] }> {
    const node = await SharingNode.open("a");
    const peer: PullOptions["peer"] = {
      list: () => Promise.resolve([...entries]),
      read: () =>
        Promise.resolve(
          new Map(
            sources.flatMap((source, at) =>
              source === undefined ? [] : [[at, { source, origin: "x" }] as const],
            ),
          ),
        ),
    };
    const { exchange } = node.registry;
    const { conflicts } = await pull({ exchange, peer, peerId: "x", namespace });
    return { node, reasons: conflicts.map(({ reason }) => reason) };
  }

  it("registers nothing, and each of its lies is reported", async () => {
    const builtIn = toBinary(
      FileDescriptorProtoSchema,
      create(FileDescriptorProtoSchema, {
        name: "one.proto",
        package: "collector",
        syntax: "proto3",
      }),
    );
    const huge = new Uint8Array(defaultLimits.descriptorBytesMax + 1);
    const cases: readonly (readonly [string, Uint8Array | undefined, string])[] = [
      ["no descriptor", Buffer.from([255, 255]), "DESCRIPTOR_INVALID"],
      ["another file", toBinary(FileDescriptorProtoSchema, common), "DESCRIPTOR_INVALID"],
      ["a reserved package", builtIn, "DESCRIPTOR_INVALID"],
      ["nothing", undefined, "SCHEMA_LIMIT_EXCEEDED"],
      ["too much", huge, "SCHEMA_LIMIT_EXCEEDED"],
    ];
    for (const [what, source, reason] of cases) {
      const { node, reasons } = await takeFrom([entry], [source]);
      assert.deepEqual([node.list(), reasons], [[], [reason]], what);
    }
  });

  it("cannot give a file a history that its newest version breaks", async () => {
    const before = clone(FileDescriptorProtoSchema, file("one.proto", ["One"]));
    before.package = "q";
    const history = ["02".repeat(16), ...entry.versions];
    const sources = [toBinary(FileDescriptorProtoSchema, before), one];
    const { node, reasons } = await takeFrom([{ ...entry, versions: history }], sources);
    assert.deepEqual([node.list(), reasons], [[], ["SCHEMA_INCOMPATIBLE"]]);
  });

  it("cannot register a service that its file has not, or a built-in one", async () => {
    const services = ["p.None", "collector.Namespaces"].map((name): SharedEntry => {
      return { ...entry, kind: "service", name, versions: [], fileName: "one.proto" };
    });
    const { node, reasons } = await takeFrom([entry, ...services], [one]);
    assert.deepEqual(node.list(), ["file one.proto@1"]);
    assert.deepEqual(reasons, ["SERVICE_NOT_FOUND", "SERVICE_NOT_FOUND"]);
  });
});

function withMessage(base: FileDescriptorProto, name: string): FileDescriptorProto {
  const copy = clone(FileDescriptorProtoSchema, base);
  copy.messageType.push(create(DescriptorProtoSchema, { name }));
  return copy;
}
