import { type FileHandle, open, rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/** What of a file is given back at a time. */
const stepBytes = 32 * 1024 * 1024;

/** How long others have the disk for themselves between two steps, in ms. */
const pauseMs = 10;

/**
 * Removes a file; one that is not there is a success. The room of a large one is given back in steps: to
 * let go of a gigabyte at once makes every other sync to that disk wait for some 70 ms.
 *
 * @throws what the system throws
 */
export async function removeFile(path: string): Promise<void> {
  let file: FileHandle;
  try {
    file = await open(path, "r+");
  } catch {
    // Not one that can be shortened, or not there.
    await rm(path, { force: true });
    return;
  }
  try {
    await rm(path, { force: true });
    const { size, nlink } = await file.stat();
    // Under another name its content is still of use.
    if (nlink > 0) return;
    for (let left = size - stepBytes; left > 0; left -= stepBytes) {
      await file.truncate(left);
      await sleep(pauseMs);
    }
  } finally {
    await file.close();
  }
}
