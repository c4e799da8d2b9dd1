import { randomUUID } from "node:crypto";
import { access, mkdir, readdir, rename, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CollectorError } from "../../errors.ts";
import { removeFolder } from "../../lib/remove-folder.ts";
import type { StoreLocation } from "../record-store.ts";
import { hasCode, syncPath } from "./file-sync.ts";
import { dataFileName, locationOf, transientPrefix } from "./store-paths.ts";
import { translateError } from "./translate-error.ts";

/**
 * The folder of all stores, a folder for each store in it, and one for each generation in that. What
 * is being made or removed has another name, so a store is there wholly or not at all.
 */
export class StoreFolders {
  readonly #root: string;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(root: string) {
    this.#root = root;
  }

  /** Makes the folder if need be, and removes what a crash has left in it. */
  static async open(root: string): Promise<StoreFolders> {
    try {
      await mkdir(root, { recursive: true });
      for (const name of await readdir(root)) {
        if (name.startsWith(transientPrefix)) await removeFolder(join(root, name));
      }
    } catch (error) {
      throw translateError(error);
    }
    return new StoreFolders(root);
  }

  /** A path for a store that is being made. */
  newPath(): string {
    return join(this.#root, `${transientPrefix}new-${randomUUID()}`);
  }

  async exists(key: string): Promise<boolean> {
    try {
      await access(join(this.#root, key, dataFileName));
      return true;
    } catch (error) {
      if (hasCode(error, "ENOENT")) return false;
      throw translateError(error);
    }
  }

  /**
   * Gives a store that was made at {@link newPath} its place, durably; if that fails it is removed.
   *
   * @throws {CollectorError} COLLECTION_EXISTS
   */
  async adopt(path: string, key: string): Promise<void> {
    const folder = join(this.#root, key);
    try {
      await this.#inTurn(async () => {
        await mkdir(dirname(folder), { recursive: true });
        await rename(path, folder);
        await syncPath(dirname(folder));
        await syncPath(this.#root);
      });
    } catch (error) {
      await removeFolder(path);
      if (hasCode(error, "ENOTEMPTY", "EEXIST")) {
        throw new CollectorError("COLLECTION_EXISTS", "this store exists already");
      }
      throw translateError(error);
    }
  }

  /** Removes a store that no connection has open. A missing one is a success. */
  async remove(key: string): Promise<void> {
    const folder = join(this.#root, key);
    const old = join(this.#root, `${transientPrefix}old-${randomUUID()}`);
    try {
      await this.#inTurn(async () => {
        await rename(folder, old);
        await syncPath(this.#root);
        await removeIfEmpty(dirname(folder));
      });
      await removeFolder(old);
    } catch (error) {
      if (!hasCode(error, "ENOENT")) throw translateError(error);
    }
  }

  async list(): Promise<readonly StoreLocation[]> {
    const found: StoreLocation[] = [];
    try {
      for (const storeId of await readdir(this.#root)) {
        if (storeId.startsWith(transientPrefix)) continue;
        for (const generation of await readdir(join(this.#root, storeId))) {
          const location = locationOf(storeId, generation);
          if (location !== undefined) found.push(location);
        }
      }
    } catch (error) {
      throw translateError(error);
    }
    return found;
  }

  /** One at a time: what makes a store's folder must not meet what removes it as empty. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

async function removeIfEmpty(folder: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch (error) {
    if (!hasCode(error, "ENOTEMPTY", "EEXIST")) throw error;
  }
}
