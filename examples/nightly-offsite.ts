// Nightly backups, kept at a second collector too. The first collector backs the collection up every night; this
// program carries each backup over, where it is restored, and so proved to be whole, and backed up again with a
// retention of its own. If the first machine burns, the second has the collection as it was last night, live.
//
//   node examples/nightly-offsite.ts second.example:50051 products 3600
//
// The number is how many seconds lie between two looks; without it the program looks once, for cron. In a project
// of yours the import is `collector/client`.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ClientError, connect } from "../src/client/index.ts";

const [secondUrl = "", collection = "products", seconds = "0"] = process.argv.slice(2);
const policy = `nightly-${collection}`;
const copy = `offsite/${collection}`;

await using first = await connect();
await using second = await connect({ url: secondUrl, env: {} });

await first.services.backups.putBackupPolicy({
  policy: {
    name: policy,
    collectionName: collection,
    schedule: { case: "cron", value: "0 3 * * *" },
    retention: { keepDaily: 7, keepWeekly: 4 },
  },
});

for (;;) {
  try {
    await carryOver();
  } catch (error) {
    // What may pass is tried again at the next look; both sides are as they were.
    const mayPass = error instanceof ClientError && error.retryable && seconds !== "0";
    if (!mayPass) throw error;
    console.error(error.message);
  }
  if (seconds === "0") break;
  await sleep(Number(seconds) * 1000);
}

/** Brings the newest backup to the second collector, unless it is there. */
async function carryOver(): Promise<void> {
  const backupId = (await newestBackup()) ?? (await firstBackup());
  for await (const { metadata } of second.backups.list({ collection: copy })) {
    if (metadata["source"] !== backupId) continue;
    console.log(`${backupId}: there already`);
    return;
  }
  const folder = await mkdtemp(join(tmpdir(), "offsite-"));
  try {
    const path = join(folder, "backup.collector");
    await first.backups.download({ backupId }, path);
    const { response } = await second.backups.upload(path, { as: copy, overwrite: true });
    await second.backups.create(copy, { metadata: { source: backupId, retention: "90d" } });
    console.log(`${backupId}: ${response.recordsCloned} records in ${copy}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function newestBackup(): Promise<string | undefined> {
  for await (const backup of first.backups.list({ collection })) {
    if (backup.policy === policy) return backup.backupId;
  }
  return undefined;
}

/** The first night is not waited for. */
async function firstBackup(): Promise<string> {
  const { run } = await first.backups.runPolicy(policy);
  const backupId = await newestBackup();
  if (backupId !== undefined) return backupId;
  throw new Error(`no backup of ${collection} could be made: ${run?.errors.join("; ")}`);
}
