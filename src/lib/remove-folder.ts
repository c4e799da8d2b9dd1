import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";

/**
 * Removes a folder with all that is in it, one folder after the other; one that is not there is a success. To begin
 * with all of a hundred thousand files at once would hold up this thread for half a second.
 *
 * @throws what the system throws
 */
export async function removeFolder(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    if (entry.isDirectory()) await removeFolder(join(path, entry.name));
  }
  await rm(path, { recursive: true, force: true });
}
