import { randomUUID } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { StoreLayout } from "../store-layout.ts";
import { syncPathSync } from "./file-sync.ts";
import { createSchema } from "./schema.ts";
import { dataFileName } from "./store-paths.ts";
import { translateError } from "./translate-error.ts";

/**
 * Makes an empty store in a new folder, and waits until it is on disk. Blocks for as long as that
 * takes: not for the event loop. What it made is removed again if it fails.
 *
 * @param folder absolute; it does not exist yet.
 */
export function createStoreFolder(folder: string, layout: StoreLayout): void {
  try {
    mkdirSync(folder, { recursive: true });
    const path = join(folder, dataFileName);
    const db = new DatabaseSync(path, { readBigInts: true, defensive: true });
    try {
      // The one fsync at the end covers all that is written here.
      db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF");
      createSchema(db, layout, randomUUID());
    } finally {
      db.close();
    }
    // No connection has the file open any more, so no lock is lost when it is closed here.
    syncPathSync(path);
    syncPathSync(folder);
    syncPathSync(dirname(folder));
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw translateError(error);
  }
}
