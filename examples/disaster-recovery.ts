// After a disaster: finds the newest backup that is valid, and puts it in the place of the collection that
// is damaged. Readers see the old data until the new is verified and complete.
//
//   node examples/disaster-recovery.ts products
//
// In a project of yours the import is `collector/client`.
import { type Client, connect } from "../src/client/index.ts";

const collection = process.argv[2] ?? "products";

await using client = await connect();
const backupId = await newestValid(client, collection);
if (backupId === undefined) {
  console.error(`there is no valid backup of ${collection}`);
  process.exitCode = 1;
} else {
  const restored = await client.backups.restore(backupId, { as: collection, overwrite: true });
  const { recordsRestored, filesRestored } = restored;
  console.log(`restored ${collection}: ${recordsRestored} records, ${filesRestored} files`);
}

/** Reads backups through, the newest first, until one is as it should be. */
async function newestValid(client: Client, collection: string): Promise<string | undefined> {
  for await (const backup of client.backups.list({ collection })) {
    const { isValid, errorMessage } = await client.backups.verify(backup.backupId);
    const time = new Date(Number(backup.timestamp) * 1000).toISOString();
    console.log(`${backup.backupId} of ${time}: ${isValid ? "valid" : errorMessage}`);
    if (isValid) return backup.backupId;
  }
  return undefined;
}
