import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { CollectorError } from "../errors.ts";
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

/** Backups whose ids are their times, and their paths too. */
function tableOf(
  backups: readonly (string | { backupId: string; baseBackupId: string })[],
): BackupTable {
  const table = new BackupTable((storagePath) => storagePath);
  for (const backup of backups) {
    const more = typeof backup === "string" ? { backupId: backup } : backup;
    const time = more.backupId;
    const createTime = timestampFromDate(new Date(time));
    const known = { collectionId: "c", createTime, storagePath: time, ...more };
    table.set(create(BackupMetadataSchema, known));
  }
  return table;
}

/** What an incremental backup would be based on. */
async function chosenAt(
  now: string,
  table: BackupTable,
  unreadable: readonly string[] = [],
): Promise<{ readonly baseId: string | undefined; readonly fullReason: string }> {
  const bases = new BackupBases({
    table,
    archives: {
      manifest: (path) =>
        unreadable.includes(path)
          ? Promise.reject(new CollectorError("KEY_UNAVAILABLE", "there is no identity for it"))
          : Promise.resolve(create(ArchiveManifestSchema)),
      unpack: () => assert.fail("nobody asks for files"),
    },
    keys: { identities: [] },
    limits: defaultLimits,
    scratchFolder: "",
    clock: { nowUs: () => BigInt(Date.parse(now)) * 1000n },
    log: silentLog,
  });
  const { signal } = new AbortController();
  const chosen = await bases.of(incremental, { signal, report: () => undefined });
  using held = chosen.held;
  return { baseId: held?.base.backupId, fullReason: chosen.fullReason };
}

describe("BackupBases", () => {
  it("chooses the newest backup whose moment has come", async () => {
    const [old, newer, ahead] = ["2026-11-25T10:00Z", "2026-11-26T10:00Z", "2027-11-01T10:00Z"];
    const table = tableOf([newer, old, ahead]);
    assert.equal((await chosenAt("2026-11-27T10:00Z", table)).baseId, newer);
    assert.equal((await chosenAt("2027-11-02T10:00Z", table)).baseId, ahead);
    assert.deepEqual(await chosenAt("2026-11-27T10:00Z", tableOf([ahead])), {
      baseId: undefined,
      fullReason: "there is no backup that it could be based on",
    });
  });

  it("chooses an older one if the newest, or what that is based on, cannot be read", async () => {
    const [oldest, full, newest] = ["2026-11-24T10:00Z", "2026-11-25T10:00Z", "2026-11-26T10:00Z"];
    const now = "2026-11-27T10:00Z";
    const table = tableOf([oldest, full, { backupId: newest, baseBackupId: full }]);
    assert.equal((await chosenAt(now, table, [newest])).baseId, full);
    assert.equal((await chosenAt(now, table, [full])).baseId, oldest);
    table.set({ ...table.get(full), verifyError: "data: damaged" });
    assert.equal((await chosenAt(now, table)).baseId, oldest);
    const none = await chosenAt(now, table, [oldest]);
    assert.equal(none.baseId, undefined);
    assert.equal(none.fullReason, `backup ${oldest} cannot be a base: there is no identity for it`);
  });

  it("says that a chain has become too long", async () => {
    const ids = Array.from({ length: 32 }, (_, index) =>
      new Date(Date.UTC(2026, 0, index + 1)).toISOString(),
    );
    const chain = ids.map((backupId, index) => ({ backupId, baseBackupId: ids[index - 1] ?? "" }));
    const { baseId, fullReason } = await chosenAt("2026-11-27T10:00Z", tableOf(chain));
    assert.deepEqual(
      [baseId, fullReason],
      [undefined, "32 backups are based on one another by now"],
    );
  });
});
