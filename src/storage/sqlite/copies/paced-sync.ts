import { type FileHandle, open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { hasCode } from "../file-sync.ts";

/** How often what another process has written is looked at, in ms. */
const everyMs = 20;

export interface GrowthOptions {
  /** Whether it is brought to the disk as it grows, so that no sync has to wait for all of it at once. */
  readonly isSynced: boolean;
  readonly onSize: (bytes: bigint) => void;
}

/**
 * Follows a file that another process writes, until this is disposed. No connection of this process may have
 * the file open.
 */
export function followGrowth(path: string, { isSynced, onSize }: GrowthOptions): AsyncDisposable {
  const over = new AbortController();
  const run = async (): Promise<void> => {
    let file: FileHandle | undefined;
    try {
      while (!over.signal.aborted) {
        // Cut short when the file is complete, so that a small copy does not wait for it.
        await sleep(everyMs, undefined, { signal: over.signal });
        file ??= await openIfThere(path);
        if (file === undefined) continue;
        if (isSynced) await file.datasync();
        onSize(BigInt((await file.stat()).size));
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
