import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BackupMetadata_Content } from "../../src/gen/collector/collection_repo_pb.ts";
import { Status_Code } from "../../src/gen/collector/common_pb.ts";
import { SetServer } from "../support/set-server.ts";

describe("backups of a whole server, over sockets", () => {
  it("hold the registry and every collection, each as a backup that verifies", async () => {
    await using server = await SetServer.open();
    await server.fill();
    const { setId, backups, leftOut } = await server.backUp({ metadata: { why: "test" } });
    assert.deepEqual(
      backups.map(({ collection, content }) => [collection?.namespace, collection?.name, content]),
      [
        [undefined, undefined, BackupMetadata_Content.REGISTRY],
        ["default", "drafts", BackupMetadata_Content.COLLECTION],
        ["default", "notes", BackupMetadata_Content.COLLECTION],
        ["shop", "prices", BackupMetadata_Content.COLLECTION],
      ],
    );
    assert.equal(leftOut, 0);
    for (const backup of backups) {
      assert.deepEqual([backup.setId, backup.metadata], [setId, { why: "test" }]);
      const { backupId } = backup;
      const { isValid, errorMessage } = await server.client.repo.verifyBackup({ backupId });
      assert.ok(isValid, errorMessage);
    }
    const listed = await server.client.repo.listBackups({ setId });
    assert.equal(listed.totalCount, 4n);
  });

  it("bring everything back after it was deleted", async () => {
    await using server = await SetServer.open();
    await server.fill();
    const before = await server.state();
    const { setId } = await server.backUp();
    const { admin, types, namespaces } = server.client;
    for (const [namespace, name] of [
      ["default", "notes"],
      ["default", "drafts"],
      ["shop", "prices"],
    ] as const) {
      await admin.deleteCollection({ collection: { namespace, name } });
    }
    await types.unregisterService({ namespace: "shop", name: "shop.v1.Quotes" });
    await types.unregisterFile({ namespace: "shop", name: "shop/quotes.proto" });
    await types.unregisterFile({ namespace: "shop", name: "shop/price.proto" });
    await types.unregisterFile({ name: "notes/v1/note.proto" });
    await namespaces.deleteNamespace({ name: "shop" });
    const restored = await server.restore(setId);
    assert.deepEqual(
      restored.map(({ status }) => [status?.code, status?.message]),
      restored.map(() => [Status_Code.OK, ""]),
    );
    assert.deepEqual(await server.state(), before);
  });
});
