import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromJson, toBinary } from "@bufbuild/protobuf";
import { compileProtos } from "../collections/testing/compile.ts";
import { wirePlanOf } from "../lib/wire-plan.ts";
import { openRegistry } from "../registry/testing/open-registry.ts";
import { createRecordCheck } from "./record-check.ts";
import { writeCheckInput } from "./record-check-input.ts";
import { checkTypes, linkTypes, registerTypes } from "./schema-install.ts";

const first = compileProtos({
  "base.proto": `syntax = "proto3"; package t.v1; message Base { string name = 1; }`,
  "item.proto": `syntax = "proto3"; package t.v1; import "base.proto"; import "google/protobuf/timestamp.proto";
    message Item { Base base = 1; google.protobuf.Timestamp at = 2; }`,
});
const second = compileProtos({
  "base.proto": `syntax = "proto3"; package t.v1; message Base { string name = 1; int32 size = 2; }`,
});
const other = compileProtos({
  "base.proto": `syntax = "proto3"; package t.v1; message Base { int64 name = 1; }`,
});

function fileOf(files: typeof first, name: string) {
  const file = files.getFile(name)?.proto;
  assert.ok(file !== undefined);
  return file;
}

async function archived() {
  const { registry } = await openRegistry();
  const dependencies = [fileOf(first, "base.proto")];
  const file = fileOf(first, "item.proto");
  await registry.registerFile({ namespace: "default", file, dependencies, validateOnly: false });
  const schema = registry.closure("default", [], ["t.v1.Item"]);
  return linkTypes(schema, "t.v1.Item", registry);
}

describe("types of an archive", () => {
  it("are registered in a namespace that is not there yet, and not by a check", async () => {
    const types = await archived();
    const { registry } = await openRegistry();
    const place = { registry, namespace: "fresh" };
    await checkTypes(types, place);
    assert.equal(registry.snapshot("fresh").types.getMessage("t.v1.Item"), undefined);
    assert.equal(await registerTypes(types, place), true);
    assert.notEqual(registry.snapshot("fresh").types.getMessage("t.v1.Item"), undefined);
    assert.equal(await registerTypes(types, place), true);
  });

  it("leave newer compatible types in force, and do not come among incompatible ones", async () => {
    const types = await archived();
    for (const [files, isFine] of [
      [second, true],
      [other, false],
    ] as const) {
      const { registry } = await openRegistry();
      const file = fileOf(files, "base.proto");
      await registry.registerFile({
        namespace: "default",
        file,
        dependencies: [],
        validateOnly: false,
      });
      const place = { registry, namespace: "default" };
      if (isFine) assert.equal(await registerTypes(types, place), false);
      else await assert.rejects(checkTypes(types, place), { reason: "SCHEMA_INCOMPATIBLE" });
      assert.equal(registry.getFile("default", "base.proto").version, 1n);
    }
  });

  it("are told by their records", async () => {
    const types = await archived();
    const { desc, descriptors } = types;
    const { typeName } = desc;
    const plan = wirePlanOf(desc);
    const check = createRecordCheck(writeCheckInput({ typeName, plan, descriptors }));
    const json = { base: { name: "x" }, at: "2026-01-01T00:00:00Z" };
    const bytes = toBinary(desc, fromJson(desc, json));
    assert.equal(check(bytes), undefined);
    // A field that is not known is for the runtime, which is loaded then.
    const unusual = Buffer.concat([bytes, Uint8Array.of(0xa8, 0x06, 0x01)]);
    assert.equal(await check(unusual), undefined);
    assert.equal(await check(Uint8Array.of(0x0a, 0x7f)), `is not a ${typeName}`);
  });

  it("can be built in", async () => {
    const { registry } = await openRegistry();
    const name = "google.protobuf.Struct";
    for (const schema of [registry.closure("default", [], [name]), undefined]) {
      const types = linkTypes(schema, name, registry);
      assert.equal(types.files.length, 0);
      assert.equal(await registerTypes(types, { registry, namespace: "fresh" }), true);
    }
  });
});
