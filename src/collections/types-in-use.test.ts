import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { type Collection, CollectionSchema } from "../gen/collector/collection_pb.ts";
import { NamespaceSchema } from "../gen/collector/namespaces_pb.ts";
import { RegisteredProtoSchema } from "../gen/collector/registry_pb.ts";
import type { Registry } from "../registry/registry.ts";
import { fieldOf, productFile } from "../registry/testing/descriptors.ts";
import { MemoryRecords } from "../registry/testing/memory-records.ts";
import { openRegistry } from "../registry/testing/open-registry.ts";
import { register } from "../registry/testing/shop.ts";
import { CollectionCatalog } from "./catalog.ts";
import type { SystemChange } from "./system-records.ts";
import { CatalogFixture, systemCollections } from "./testing/fixture.ts";

/** Records whose writes wait while they are held. */
class HeldRecords<D extends DescMessage> extends MemoryRecords<D> {
  #gate: PromiseWithResolvers<void> | undefined;
  #reached = Promise.withResolvers<void>();

  /** @returns resolves when a write has come as far as it may */
  hold(): Promise<void> {
    this.#gate = Promise.withResolvers();
    this.#reached = Promise.withResolvers();
    return this.#reached.promise;
  }

  release(): void {
    this.#gate?.resolve();
    this.#gate = undefined;
  }

  override async write(changes: readonly SystemChange<MessageShape<D>>[]): Promise<void> {
    this.#reached.resolve();
    await this.#gate?.promise;
    await super.write(changes);
  }
}

/** A registry and a catalog that know each other, as in the server. */
class Pair implements AsyncDisposable {
  readonly registry: Registry;
  readonly catalog: CollectionCatalog;
  readonly protos: HeldRecords<typeof RegisteredProtoSchema>;
  readonly namespaces: HeldRecords<typeof NamespaceSchema>;
  readonly definitions: HeldRecords<typeof CollectionSchema>;
  readonly #fixture: CatalogFixture;

  private constructor(
    parts: Omit<Pair, "create" | typeof Symbol.asyncDispose>,
    fixture: CatalogFixture,
  ) {
    this.registry = parts.registry;
    this.catalog = parts.catalog;
    this.protos = parts.protos;
    this.namespaces = parts.namespaces;
    this.definitions = parts.definitions;
    this.#fixture = fixture;
  }

  static async open(): Promise<Pair> {
    const fixture = await CatalogFixture.open();
    const protos = new HeldRecords(RegisteredProtoSchema);
    const namespaces = new HeldRecords(NamespaceSchema);
    const definitions = new HeldRecords(CollectionSchema);
    const later: { catalog?: CollectionCatalog } = {};
    const { registry } = await openRegistry({
      protos,
      namespaces,
      usage: {
        collectionsUsing: (namespace, types) =>
          later.catalog?.collectionsUsing(namespace, types) ?? [],
        hasCollections: (namespace) => later.catalog?.hasCollections(namespace) ?? false,
      },
    });
    const { engine, operations, limits } = fixture;
    const catalog = await CollectionCatalog.open({
      engine,
      definitions,
      systemCollections,
      types: registry,
      operations,
      limits,
      endpoint: () => "http://127.0.0.1:50051",
      ensureNamespace: (namespace) => registry.ensureNamespace(namespace),
    });
    later.catalog = catalog;
    await register(registry, productFile([fieldOf("a", 1)]));
    return new Pair({ registry, catalog, protos, namespaces, definitions }, fixture);
  }

  create(messageName: string, namespace = "default"): Promise<Collection> {
    return this.catalog.create(
      create(CollectionSchema, { namespace, name: "products", messageType: { messageName } }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fixture[Symbol.asyncDispose]();
  }
}

describe("a collection that is made", () => {
  it("while its type is being taken away waits, and is refused when the type has gone", async () => {
    await using pair = await Pair.open();
    const isWriting = pair.protos.hold();
    const removal = pair.registry.unregisterFile("default", "shop.proto", false);
    await isWriting;
    const refused = assert.rejects(pair.create("shop.Product"), { reason: "TYPE_NOT_REGISTERED" });
    pair.protos.release();
    await refused;
    assert.deepEqual(await removal, ["shop.Product"]);
    assert.deepEqual(pair.definitions.ids, []);
    assert.equal(pair.catalog.hasCollections("default"), false);
  });

  it("while its type is being taken away is made if the type stays after all", async () => {
    await using pair = await Pair.open();
    const isWriting = pair.protos.hold();
    pair.protos.failure = new Error("the disk has gone");
    const removal = assert.rejects(pair.registry.unregisterFile("default", "shop.proto", false), {
      message: "the disk has gone",
    });
    await isWriting;
    const made = pair.create("shop.Product");
    pair.protos.release();
    await removal;
    assert.equal((await made).messageType?.messageName, "shop.Product");
  });

  it("keeps its type from the moment it is asked for", async () => {
    await using pair = await Pair.open();
    const isWriting = pair.definitions.hold();
    const made = pair.create("shop.Product");
    // Before anything is written, and while it is.
    for (const moment of [undefined, isWriting]) {
      await moment;
      await assert.rejects(pair.registry.unregisterFile("default", "shop.proto", false), {
        reason: "TYPE_IN_USE",
      });
    }
    pair.definitions.release();
    await made;
    await assert.rejects(pair.registry.unregisterType("default", "Product", false), {
      reason: "TYPE_IN_USE",
    });
  });

  it("has the version of its type that is in force when it is there", async () => {
    await using pair = await Pair.open();
    const isWriting = pair.protos.hold();
    const change = register(pair.registry, productFile([fieldOf("a", 1), fieldOf("b", 2)]));
    await isWriting;
    const made = pair.create("shop.Product");
    pair.protos.release();
    assert.equal((await change).version, 2n);
    assert.equal((await made).typeVersion, 2n);
  });

  it("while its namespace is being deleted makes the namespace anew", async () => {
    await using pair = await Pair.open();
    const { registry } = pair;
    await registry.createNamespace(create(NamespaceSchema, { name: "short" }), false);
    const isWriting = pair.namespaces.hold();
    const removal = registry.deleteNamespace("short", "", false);
    await isWriting;
    const made = pair.create("google.protobuf.Struct", "short");
    pair.namespaces.release();
    await removal;
    await made;
    assert.equal(registry.getNamespace("short").name, "short");
    await assert.rejects(registry.deleteNamespace("short", "", false), {
      reason: "NAMESPACE_NOT_EMPTY",
    });
  });
});
