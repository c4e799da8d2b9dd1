import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { NamespaceSchema } from "../gen/collector/namespaces_pb.ts";
import { type Registry } from "./registry.ts";
import { openRegistry } from "./testing/open-registry.ts";
import { common, firstPage, register } from "./testing/shop.ts";

describe("namespaces", () => {
  it("are there from the firstPage registration on, or when they are made", async () => {
    const { registry, reopen } = await openRegistry();
    await register(registry, common, [], { namespace: "first" });
    await registry.createNamespace(create(NamespaceSchema, { name: "second" }), false);
    await registry.ensureNamespace("third");
    const names = (opened: Registry) =>
      opened.listNamespaces(firstPage).namespaces.map(({ name }) => name);
    const expected = ["default", "first", "second", "system", "third"];
    assert.deepEqual(names(registry), expected);
    assert.deepEqual(names(await reopen()), expected);
    await assert.rejects(
      registry.createNamespace(create(NamespaceSchema, { name: "first" }), false),
      { reason: "NAMESPACE_EXISTS" },
    );
    for (const name of ["", "-a", "a/b", "a".repeat(129), "a\u0000"]) {
      const reason = name === "" ? "ARGUMENT_MISSING" : "NAME_INVALID";
      await assert.rejects(registry.ensureNamespace(name), { reason });
      await assert.rejects(register(registry, common, [], { namespace: name }), { reason });
    }
  });

  it("switch built-in services off and on, and guard changes with an etag", async () => {
    const { registry, reopen } = await openRegistry();
    const off = create(NamespaceSchema, {
      name: "default",
      disabledServices: ["collector.CollectionService"],
      etag: registry.getNamespace("default").etag,
    });
    const before = registry.snapshot("default");
    const updated = await registry.updateNamespace(off, ["disabled_services"], false);
    assert.notEqual(updated.etag, off.etag);
    for (const opened of [registry, await reopen()]) {
      assert.equal(
        opened.snapshot("default").method("collector.CollectionService", "Get"),
        undefined,
      );
      assert.ok(opened.snapshot("other").method("collector.CollectionService", "Get"));
    }
    assert.ok(registry.snapshot("default").revision > before.revision);
    await assert.rejects(registry.updateNamespace(off, [], false), { reason: "VERSION_MISMATCH" });
    await assert.rejects(registry.updateNamespace({ ...off, etag: "" }, ["nope"], false), {
      reason: "FIELD_UNKNOWN",
    });
    for (const name of ["collector.Nope", "collector.Namespaces"]) {
      await assert.rejects(
        registry.updateNamespace({ ...off, etag: "", disabledServices: [name] }, [], false),
        { reason: "ARGUMENT_INVALID" },
      );
    }
    const on = create(NamespaceSchema, { name: "default" });
    await registry.updateNamespace(on, ["disabled_services"], true);
    assert.equal(
      registry.snapshot("default").method("collector.CollectionService", "Get"),
      undefined,
    );
    await registry.updateNamespace(on, ["disabled_services"], false);
    assert.ok(registry.snapshot("default").method("collector.CollectionService", "Get"));
  });

  it("are deleted when they are empty, and not before", async () => {
    const { registry, collections, reopen } = await openRegistry();
    await register(registry, common, [], { namespace: "team" });
    await assert.rejects(registry.deleteNamespace("team", "", false), {
      reason: "NAMESPACE_NOT_EMPTY",
    });
    await registry.unregisterFile("team", common.name, false);
    collections.set("team", new Map([["things", "shop.Money"]]));
    await assert.rejects(registry.deleteNamespace("team", "", false), {
      reason: "NAMESPACE_NOT_EMPTY",
    });
    collections.clear();
    await assert.rejects(registry.deleteNamespace("team", "other", false), {
      reason: "VERSION_MISMATCH",
    });
    await registry.deleteNamespace("team", "", true);
    assert.equal(registry.getNamespace("team").name, "team");
    await registry.deleteNamespace("team", "", false);
    assert.throws(() => registry.getNamespace("team"), { reason: "NAMESPACE_NOT_FOUND" });
    const reopened = await reopen();
    assert.throws(() => reopened.getNamespace("team"), { reason: "NAMESPACE_NOT_FOUND" });
    await assert.rejects(registry.deleteNamespace("default", "", false), {
      reason: "ARGUMENT_INVALID",
    });
  });

  it("of the server are read-only", async () => {
    const { registry } = await openRegistry();
    const refused = { reason: "SYSTEM_READ_ONLY" };
    await assert.rejects(register(registry, common, [], { namespace: "system" }), refused);
    await assert.rejects(registry.unregisterFile("system", "a.proto", false), refused);
    await assert.rejects(registry.deleteNamespace("system", "", false), refused);
    await assert.rejects(
      registry.updateNamespace(create(NamespaceSchema, { name: "system" }), [], false),
      refused,
    );
    assert.ok(registry.snapshot("system").message("collector.RegisteredProto"));
  });
});
