import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { DeleteCollectionRequestSchema } from "../gen/collector/collection_admin_pb.ts";
import type { Compression } from "../gen/collector/collection_repo_pb.ts";
import { BackupsFixture } from "./testing/backups-fixture.ts";

describe("Backups", () => {
  it("are not told as those of a collection that was made anew while they waited", async () => {
    await using fixture = await BackupsFixture.open();
    await fixture.fill("one");
    fixture.beforeWrite = async () => {
      const collection = { namespace: "default", name: "one" };
      await fixture.parts.catalog.delete(create(DeleteCollectionRequestSchema, { collection }));
      await fixture.fill("one");
    };
    await assert.rejects(fixture.backUp("one"), { reason: "COLLECTION_REPLACED" });
    assert.deepEqual([fixture.backups.all(), await readdir(fixture.own)], [[], []]);
  });

  it("are refused with a compression that there is not", async () => {
    await using fixture = await BackupsFixture.open();
    await fixture.fill("one");
    for (const compression of [99, -1] as Compression[]) {
      await assert.rejects(fixture.backUp("one", { compression }), {
        reason: "ARGUMENT_INVALID",
        message: /^compression: /,
      });
    }
  });
});
