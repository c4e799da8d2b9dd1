import { type FileHandle, open, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { hasCode } from "../file-sync.ts";

/** How often what another process writes is brought to the disk, in ms. */
const everyMs = 20;

/**
 * Brings a file that another process writes to the disk as it grows, so that no writer's sync has to wait for
 * all of it at once. To be stopped by disposing it. No connection of this process may have the file open.
 */
export function syncWhileGrowing(path: string, onSize: (bytes: bigint) => void): AsyncDisposable {
  const over = new AbortController();
  const run = async (): Promise<void> => {
    let file: FileHandle | undefined;
    try {
      while (!over.signal.aborted) {
        await sleep(everyMs);
        file ??= await openIfThere(path);
        if (file === undefined) continue;
        await file.datasync();
        onSize(BigInt((await stat(path)).size));
      }
    } catch {
      // It only paces: who writes the file meets the failure too.
    } finally {
      await file?.close();
    }
  };
  const running = run();
  return {
    async [Symbol.asyncDispose]() {
      over.abort();
      await running;
    },
  };
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "r");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}
