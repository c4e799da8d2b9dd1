import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { CollectionSchema } from "../gen/collector/collection_pb.ts";
import { Compression } from "../gen/collector/collection_repo_pb.ts";
import { calmRun, InstallerFixture } from "./testing/installer-fixture.ts";

describe("Archiver", () => {
  it("writes the collection that is wanted, and no other that has its name", async () => {
    await using fixture = await InstallerFixture.open();
    const { catalog, folder } = fixture;
    const { collectionId } = await catalog.create(
      create(CollectionSchema, {
        namespace: "default",
        name: "source",
        messageType: { messageName: "shop.v1.Product" },
      }),
    );
    const archiver = fixture.archiver();
    const path = join(folder, "written");
    const { incarnation, revision } = await catalog.store("default", "source").stats();
    const contents = new Set<string>();
    const base = { backupId: "b1", incarnation, revision, definition: undefined, contents };
    const request = {
      namespace: "default",
      name: "source",
      includeFiles: true,
      path,
      compression: Compression.NONE,
      recipients: [],
    };
    const before = await fixture.traces();
    for (const more of [{}, { base }]) {
      await assert.rejects(
        archiver.write({ ...request, ...more, collectionId: "another" }, calmRun),
        { reason: "COLLECTION_REPLACED", message: /another collection by now/ },
      );
      assert.equal(existsSync(path), false);
      assert.deepEqual(await fixture.traces(), before);
    }
    const { manifest } = await archiver.write({ ...request, collectionId }, calmRun);
    assert.equal(manifest.collection?.collectionId, collectionId);
  });
});
