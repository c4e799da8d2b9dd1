import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fieldOf, productFile } from "./testing/descriptors.ts";
import { openRegistry } from "./testing/open-registry.ts";
import { common, register, shop } from "./testing/shop.ts";

describe("unregistering", () => {
  it("a file refuses while another imports it or a collection needs it, and then forgets it", async () => {
    const { registry, protos, collections, reopen } = await openRegistry();
    await register(registry, shop, [common]);
    await assert.rejects(registry.unregisterFile("default", common.name, false), {
      reason: "FILE_IN_USE",
      subject: { namespace: "default", file: shop.name },
    });
    collections.set("default", new Map([["products", "shop.Product"]]));
    await assert.rejects(registry.unregisterFile("default", shop.name, false), {
      reason: "TYPE_IN_USE",
      subject: { namespace: "default", collection: "products" },
    });
    collections.clear();
    assert.equal((await registry.unregisterFile("default", shop.name, true)).length, 6);
    assert.deepEqual(await registry.unregisterFile("default", shop.name, false), [
      "shop.Product",
      "shop.Product.State",
      "shop.Product.Note",
      "shop.Unused",
      "shop.Request",
      "shop.Shop",
    ]);
    assert.deepEqual(protos.ids, ["default/shop/common.proto@1"]);
    for (const opened of [registry, await reopen()]) {
      assert.throws(() => opened.getFile("default", shop.name), { reason: "FILE_NOT_FOUND" });
      assert.equal(opened.snapshot("default").types.get("shop.Product"), undefined);
    }
    await register(registry, productFile([fieldOf("title", 9)], { name: shop.name }));
    await assert.rejects(registry.unregisterFile("default", "google/protobuf/any.proto", false), {
      reason: "ARGUMENT_INVALID",
    });
    await assert.rejects(registry.unregisterFile("default", "shop/shp.proto", false), {
      reason: "FILE_NOT_FOUND",
      message: /did you mean/,
    });
  });

  it("a type makes a version without it, with the other comments in place", async () => {
    const { registry } = await openRegistry();
    await register(registry, shop, [common]);
    const result = await registry.unregisterType("default", "Unused", false);
    assert.deepEqual(result, { fileName: shop.name, fileVersion: 2n });
    const file = registry.getFile("default", shop.name).fileDescriptor;
    assert.deepEqual(
      file?.messageType.map(({ name }) => name),
      ["Product", "Request"],
    );
    const comment = file?.sourceCodeInfo?.location.find(({ leadingComments }) =>
      leadingComments.includes("Comes last"),
    );
    assert.deepEqual(comment?.path, [4, 1]);
    assert.throws(() => registry.snapshot("default").message("shop.Unused"), {
      reason: "TYPE_NOT_FOUND",
    });
    assert.equal(
      (await registry.unregisterType("default", "shop.Product.Note", false)).fileVersion,
      3n,
    );
    // The content of version 1 is not all there any more, so it becomes a version again.
    assert.equal((await register(registry, shop)).version, 4n);
    assert.ok(registry.snapshot("default").message("shop.Unused"));
  });

  it("a type refuses while a field, another file or a collection needs it", async () => {
    const { registry, collections } = await openRegistry();
    await register(registry, shop, [common]);
    const refuse = (name: string, message: RegExp) =>
      assert.rejects(registry.unregisterType("default", name, false), {
        reason: "TYPE_IN_USE",
        message,
      });
    await refuse("shop.Product.State", /field shop.Product.state/);
    await refuse("shop.Money", /shop\/shop.proto/);
    collections.set("default", new Map([["things", "shop.Unused"]]));
    await refuse("shop.Unused", /collection things/);
    await assert.rejects(registry.unregisterType("default", "Timestamp", false), {
      reason: "ARGUMENT_INVALID",
    });
    await assert.rejects(registry.unregisterType("default", "Nope", false), {
      reason: "TYPE_NOT_FOUND",
    });
  });
});
