// A daily backup with metadata and retention: has the server back up a collection every night and keep the
// backups of 7 days, 4 weeks and 12 months, and makes the first backup at once. Before something risky it makes
// one more by hand, which the server removes after 30 days by itself. Running it again changes nothing but that.
//
//   node examples/backup-daily.ts products
//
// In a project of yours the import is `collector/client`.
import { connect } from "../src/client/index.ts";

const collection = process.argv[2] ?? "products";
const name = `daily-${collection}`;

await using client = await connect();

const policy = await client.services.backups.putBackupPolicy({
  policy: {
    name,
    collectionName: collection,
    schedule: { case: "cron", value: "0 3 * * *" },
    retention: { keepDaily: 7, keepWeekly: 4, keepMonthly: 12 },
    metadata: { team: "shop", reason: "daily" },
  },
});

if (policy.runs.length === 0) {
  const { run } = await client.backups.runPolicy(name);
  for (const error of run?.errors ?? []) console.error(error);
  if (run?.errors.length !== 0) process.exitCode = 1;
}

await client.backups.create(collection, {
  metadata: { team: "shop", reason: "before the release", retention: "30d" },
});

for await (const backup of client.backups.list({ collection })) {
  const { backupId, recordCount, metadata } = backup;
  console.log(`${backupId}: ${recordCount} records, ${metadata["reason"]}`);
}
const nextS = Number(policy.nextRunTime?.seconds ?? 0n);
console.log(`next: ${new Date(nextS * 1000).toISOString()}`);
