// A daily backup: the server makes it at 3 o'clock (UTC), keeps one for each of 7 days and 4 weeks, and
// this program makes the first one at once. Run it again to change the policy.
//
//   node examples/backup-daily.ts products
//
// In a project of yours the import is `collector/client`.
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { connect } from "../src/client/client.ts";

const collection = process.argv[2] ?? "products";

await using client = await connect();
const { backups } = client.services;

const { name, nextRunTime } = await backups.putBackupPolicy({
  policy: {
    name: `daily-${collection}`,
    namespace: client.namespace || "default",
    collectionName: collection,
    schedule: { case: "cron", value: "0 3 * * *" },
    retention: { keepDaily: 7, keepWeekly: 4 },
    metadata: { purpose: "daily backup" },
  },
});
const next = nextRunTime === undefined ? "never" : timestampDate(nextRunTime).toISOString();
console.log(`policy ${name}, next run ${next}`);

const { run } = await backups.runBackupPolicy({ name }, { timeoutMs: 0 });
for (const error of run?.errors ?? []) throw new Error(`the backup failed: ${error}`);
console.log(`made ${run?.backupIds.length ?? 0}, removed ${run?.deletedBackupIds.length ?? 0}`);

// One by hand before something risky; the server removes it after 30 days.
const manual = await client.backups.create(collection, {
  metadata: { purpose: "before the import", retention: "30d" },
});
console.log(`and ${manual.backupId} for 30 days: ${manual.recordCount} records`);

for await (const backup of client.backups.list({ collection })) {
  const time = new Date(Number(backup.timestamp) * 1000).toISOString();
  const { purpose = "" } = backup.metadata;
  console.log(`${backup.backupId}  ${time}  ${backup.sizeBytes} bytes  ${purpose}`);
}
