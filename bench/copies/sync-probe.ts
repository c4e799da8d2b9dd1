import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** How often a few bytes are written and synced, in ms: seldom enough to cost the disk next to nothing. */
const everyMs = 20;
const pageBytes = 4096;

/** Syncs of a page beside what is measured, of a program that does nothing else: what the disk alone takes. */
export interface SyncProbe extends AsyncDisposable {
  /** The longest so far, in ms. */
  worstMs(): number;
}

/** @param folder on the disk that is measured */
export async function probeSyncs(folder: string): Promise<SyncProbe> {
  const path = join(folder, "sync-probe");
  const file = await open(path, "w");
  const over = new AbortController();
  let worst = 0;
  const run = async (): Promise<void> => {
    const page = Buffer.alloc(pageBytes);
    for (let at = 0; !over.signal.aborted; at += pageBytes) {
      worst = Math.max(worst, await syncOf(file, page, at));
      await sleep(everyMs, undefined, { signal: over.signal }).catch(() => undefined);
    }
  };
  const running = run();
  return {
    worstMs: () => worst,
    [Symbol.asyncDispose]: async () => {
      over.abort();
      await running;
      await file.close();
      await rm(path);
    },
  };
}

/** @returns how long the sync took, in ms */
async function syncOf(file: FileHandle, page: Buffer, at: number): Promise<number> {
  await file.write(page, 0, page.length, at);
  const begin = performance.now();
  await file.datasync();
  return performance.now() - begin;
}
