import { rmdir } from "node:fs/promises";
import { dirname, sep } from "node:path";
import { errnoCode } from "../archive/file-failure.ts";
import { KeyedLock } from "../collections/keyed-lock.ts";
import {
  type BackupPlace,
  isThere,
  makeFolderOf,
  removeSetFolder,
  syncFolder,
} from "./backup-folders.ts";

/** All folders are made and removed in turn. */
const turn = "folders";

/** Makes the folders that archives are put in, and removes those again that no archive has come into. */
export class ArchiveFolders {
  /** Paths of archives that are to come. */
  readonly #awaited: () => IteratorObject<string>;
  /** Those that were made, and that no archive has come into yet. */
  readonly #made = new Set<string>();
  /** A folder is not removed while another archive finds it there. */
  readonly #turns = new KeyedLock();

  constructor(awaited: () => IteratorObject<string>) {
    this.#awaited = awaited;
  }

  /** Those folders of an archive that are not there, the innermost first. */
  async missing(place: BackupPlace): Promise<readonly string[]> {
    const missing: string[] = [];
    for (const folder of foldersOf(place)) {
      if (await isThere(folder)) break;
      missing.push(folder);
    }
    return missing;
  }

  /** Makes the folder of an archive that is awaited, durably. */
  async make(place: BackupPlace): Promise<void> {
    await this.#turns.run([turn], async () => {
      for (const folder of await this.missing(place)) this.#made.add(folder);
      await makeFolderOf(place);
    });
  }

  /** Says that an archive has come. */
  settle(place: BackupPlace): void {
    for (const folder of foldersOf(place)) this.#made.delete(folder);
  }

  /** Says that an archive does not come, and is not awaited any more. */
  async release(place: BackupPlace): Promise<void> {
    await this.#turns.run([turn], async () => {
      for (const folder of foldersOf(place)) {
        if (!this.#made.has(folder) || this.#isAwaited(folder)) return;
        this.#made.delete(folder);
        if (!(await removeEmpty(folder))) return this.settle(place);
      }
    });
  }

  /** Removes folders that an earlier process has made for an archive which does not come, the innermost first. */
  async removeNew(path: string, count: number): Promise<void> {
    await this.#turns.run([turn], async () => {
      let folder = path;
      for (let left = count; left > 0; left -= 1) {
        folder = dirname(folder);
        if (this.#isAwaited(folder) || !(await removeEmpty(folder))) return;
      }
    });
  }

  /** Removes the folder of a set whose archive is gone, if it was the last. */
  async removeOfSet(folder: string, setId: string): Promise<void> {
    await this.#turns.run([turn], async () => {
      if (!this.#isAwaited(folder)) await removeSetFolder(folder, setId);
    });
  }

  #isAwaited(folder: string): boolean {
    return this.#awaited().some((path) => path.startsWith(folder + sep));
  }
}

/** Those that an archive is in, the innermost first; without the backup folder. */
function* foldersOf({ root, path }: BackupPlace): Iterable<string> {
  for (let at = dirname(path); at.length > root.length; at = dirname(at)) yield at;
}

/** @returns false if it has to stay. */
async function removeEmpty(folder: string): Promise<boolean> {
  try {
    await rmdir(folder);
    await syncFolder(dirname(folder));
    return true;
  } catch (error) {
    const code = errnoCode(error);
    if (code === undefined) throw error;
    return code === "ENOENT";
  }
}
