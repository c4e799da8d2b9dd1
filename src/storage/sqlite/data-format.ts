import { cp, mkdir, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CollectorError } from "../../errors.ts";
import type { Log } from "../../lib/log.ts";
import { hasCode, syncPath } from "./file-sync.ts";

/** One step from a format of the data folder to the next. */
export interface FormatMigration {
  /** The format it starts from; it leads to the next number. */
  readonly from: number;
  /** What it does, for the log. */
  readonly name: string;
  /** The files and folders it changes, makes or removes, relative to the data folder. */
  readonly touches: (dataFolder: string) => Promise<readonly string[]>;
  /** Makes the change, and syncs what it writes. It may be run again from the start after a crash. */
  readonly run: (dataFolder: string) => Promise<void>;
}

/** In order. The last leads to `dataFormat`. */
export const formatMigrations: readonly FormatMigration[] = [];

/**
 * Runs the migrations between two formats. What each one touches is copied first, to
 * `format-<number>` in the data folder; if the server dies while one runs, the next start puts the
 * copy back and runs it again. The copy of a migration that is through is kept, for a way back.
 *
 * @param reached makes a format the folder's own, durably.
 * @throws {CollectorError} STORAGE_UNAVAILABLE if there is no way from one to the other.
 */
export async function migrateFormat(
  dataFolder: string,
  options: {
    readonly from: number;
    readonly to: number;
    readonly migrations: readonly FormatMigration[];
    readonly log: Log;
  },
  reached: (format: number) => Promise<void>,
): Promise<void> {
  const { from, to, migrations, log } = options;
  for (let format = from; format < to; format++) {
    const migration = migrations.find((candidate) => candidate.from === format);
    if (migration === undefined) {
      throw new CollectorError(
        "STORAGE_UNAVAILABLE",
        `the data folder has format ${format}, which this server cannot upgrade: start an older server first`,
      );
    }
    const touched = await migration.touches(dataFolder);
    const backup = join(dataFolder, `format-${format}`);
    if (await exists(backup)) await putBack(dataFolder, backup, touched);
    else await copyAside(dataFolder, backup, touched);
    log.info({ format, migration: migration.name, backup }, "upgrading the data folder");
    await migration.run(dataFolder);
    await reached(format + 1);
  }
}

async function copyAside(
  dataFolder: string,
  backup: string,
  touched: readonly string[],
): Promise<void> {
  const unfinished = `${backup}.new`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished);
  for (const path of touched) await copyIfThere(join(dataFolder, path), join(unfinished, path));
  await syncTree(unfinished);
  await rename(unfinished, backup);
  await syncPath(dataFolder);
}

async function putBack(
  dataFolder: string,
  backup: string,
  touched: readonly string[],
): Promise<void> {
  for (const path of touched) {
    await rm(join(dataFolder, path), { recursive: true, force: true });
    await copyIfThere(join(backup, path), join(dataFolder, path));
  }
}

async function copyIfThere(from: string, to: string): Promise<void> {
  if (!(await exists(from))) return;
  await mkdir(dirname(to), { recursive: true });
  await cp(from, to, { recursive: true });
}

async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await syncTree(path);
    else await syncPath(path);
  }
  await syncPath(folder);
}

async function exists(path: string): Promise<boolean> {
  try {
    await readdir(path);
    return true;
  } catch (error) {
    if (hasCode(error, "ENOTDIR")) return true;
    if (hasCode(error, "ENOENT")) return false;
    throw error;
  }
}
