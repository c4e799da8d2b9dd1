import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { ArchiveManifestSchema } from "../gen/collector/archive_pb.ts";
import { BackupMetadataSchema, Compression } from "../gen/collector/collection_repo_pb.ts";
import { defaultLimits } from "../lib/limits.ts";
import { silentLog } from "../lib/log.ts";
import { BackupBases } from "./backup-bases.ts";
import { BackupTable } from "./backup-table.ts";

const incremental = {
  namespace: "shop",
  name: "products",
  collectionId: "c",
  includeFiles: false,
  metadata: {},
  baseBackupId: "",
  incremental: true,
  compression: Compression.UNSPECIFIED,
  destPath: "",
};

/** The id of what an incremental backup would be based on, of backups whose ids are their times. */
async function baseAt(now: string, times: readonly string[]): Promise<string | undefined> {
  const table = new BackupTable((storagePath) => storagePath);
  for (const time of times) {
    const createTime = timestampFromDate(new Date(time));
    table.set(create(BackupMetadataSchema, { backupId: time, collectionId: "c", createTime }));
  }
  const bases = new BackupBases({
    table,
    archives: {
      manifest: () => Promise.resolve(create(ArchiveManifestSchema)),
      unpack: () => assert.fail("nobody asks for files"),
    },
    keys: { identities: [] },
    limits: defaultLimits,
    scratchFolder: "",
    clock: { nowUs: () => BigInt(Date.parse(now)) * 1000n },
    log: silentLog,
  });
  const { signal } = new AbortController();
  using held = await bases.of(incremental, { signal, report: () => undefined });
  return held?.base.backupId;
}

describe("BackupBases", () => {
  it("chooses the newest backup whose moment has come", async () => {
    const [old, newer, ahead] = ["2026-11-25T10:00Z", "2026-11-26T10:00Z", "2027-11-01T10:00Z"];
    assert.equal(await baseAt("2026-11-27T10:00Z", [newer, old, ahead]), newer);
    assert.equal(await baseAt("2027-11-02T10:00Z", [newer, old, ahead]), ahead);
    assert.equal(await baseAt("2026-11-27T10:00Z", [ahead]), undefined);
  });
});
