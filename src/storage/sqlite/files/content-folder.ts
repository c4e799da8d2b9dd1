import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import {
  copyFile,
  type FileHandle,
  link,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  stat,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { CollectorError } from "../../../errors.ts";
import { contentPath } from "../../../lib/content-list.ts";
import { hasCode, syncPath } from "../file-sync.ts";
import { translateError } from "../translate-error.ts";

export const contentFolderName = "files";
const uploadFolderName = "uploads";
const sha256Pattern = /^[0-9a-f]{64}$/;
const prefixPattern = /^[0-9a-f]{2}$/;

/**
 * The content of a store's files: each by its SHA-256, in a folder by the first two digits of that.
 * A content file is whole and on disk when it has its name, and is never changed.
 */
export class ContentFolder {
  readonly #root: string;
  /** Folders that are known to be there, and on disk, by their two digits. */
  readonly #prefixes = new Map<string, Promise<void>>();
  /** How many uploads are about to name each content. */
  readonly #pins = new Map<string, number>();
  readonly #removals = new Map<string, Promise<void>>();
  #holds = 0;
  /** What was to be removed while it was held. */
  readonly #postponed = new Set<string>();

  /** @param root the store's folder, which exists. */
  constructor(root: string) {
    this.#root = root;
  }

  /** Removes what uploads have left that a crash has cut. For before the first upload. */
  async clearUploads(): Promise<void> {
    const folder = join(this.#root, uploadFolderName);
    for (const name of await namesIn(folder)) await rm(join(folder, name), { force: true });
  }

  /** A new, empty file that {@link adopt} can make content of. */
  async newUpload(): Promise<{ readonly path: string; readonly handle: FileHandle }> {
    const path = join(this.#root, uploadFolderName, randomUUID());
    try {
      return { path, handle: await open(path, "wx") };
    } catch (error) {
      if (!hasCode(error, "ENOENT")) throw error;
    }
    await makeFolder(join(this.#root, uploadFolderName));
    return { path, handle: await open(path, "wx") };
  }

  /** Keeps content from being removed, until the result is disposed. */
  pin(sha256: string): Disposable {
    this.#pins.set(sha256, (this.#pins.get(sha256) ?? 0) + 1);
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        const left = (this.#pins.get(sha256) ?? 1) - 1;
        if (left === 0) this.#pins.delete(sha256);
        else this.#pins.set(sha256, left);
      },
    };
  }

  isPinned(sha256: string): boolean {
    return this.#pins.has(sha256);
  }

  /**
   * Keeps all content from being removed, until the result is disposed.
   *
   * @param onLast is told what was to be removed meanwhile, when nobody else holds it any more.
   */
  hold(onLast: (sha256s: readonly string[]) => void): Disposable {
    this.#holds++;
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#holds--;
        if (this.#holds > 0) return;
        const postponed = [...this.#postponed];
        this.#postponed.clear();
        if (postponed.length > 0) onLast(postponed);
      },
    };
  }

  /** Makes an upload content, durably. The content is pinned, the file at `path` on disk. */
  async adopt(path: string, sha256: string, sizeBytes: bigint): Promise<void> {
    await this.#removals.get(sha256);
    await this.#preparePrefix(sha256.slice(0, 2));
    const target = this.pathOf(sha256);
    if ((await sizeOf(target)) === sizeBytes) await rm(path);
    else await rename(path, target);
    // Also if it was there: who has put it there may not have come to this yet.
    await syncPath(dirname(target));
  }

  /** True if there is content of this size. */
  async has(sha256: string, sizeBytes: bigint): Promise<boolean> {
    await this.#removals.get(sha256);
    return (await sizeOf(this.pathOf(sha256))) === sizeBytes;
  }

  /**
   * Makes the file at `path` content, by a link or a copy; {@link syncFolder} then makes its name durable. The
   * content is pinned.
   *
   * @returns false, with nothing done, if that file is missing or has another size.
   */
  async bring(path: string, sha256: string, sizeBytes: bigint): Promise<boolean> {
    if ((await sizeOf(path)) !== sizeBytes) return false;
    await this.#preparePrefix(sha256.slice(0, 2));
    const copy = await this.#duplicate(path);
    try {
      await syncPath(copy);
      await rename(copy, this.pathOf(sha256));
    } finally {
      // A link that is renamed over another of the same file stays.
      await rm(copy, { force: true });
    }
    return true;
  }

  /** Makes the names durable of content that begins with two digits. */
  async syncFolder(prefix: string): Promise<void> {
    await syncPath(join(this.contentsFolder, prefix));
  }

  /** @throws {CollectorError} STORAGE_CORRUPT if it is missing or has another size */
  async open(sha256: string, bytesMin: bigint): Promise<FileHandle> {
    let handle: FileHandle;
    try {
      handle = await open(this.pathOf(sha256), constants.O_RDONLY);
    } catch (error) {
      if (hasCode(error, "ENOENT")) throw missing();
      throw translateError(error);
    }
    try {
      const { size } = await handle.stat({ bigint: true });
      if (size < bytesMin) throw missing();
      return handle;
    } catch (error) {
      await handle.close();
      throw translateError(error);
    }
  }

  /**
   * Removes content that has no name, which has to be known in the same turn of the event loop: this
   * begins at once, and who wants to name the content from then on waits.
   *
   * @returns its size; undefined if it is pinned or held, or not there
   */
  remove(sha256: string): Promise<bigint | undefined> {
    if (this.#holds > 0) {
      this.#postponed.add(sha256);
      return Promise.resolve(undefined);
    }
    if (this.#pins.has(sha256)) return Promise.resolve(undefined);
    const underWay = this.#removals.get(sha256);
    if (underWay !== undefined) return underWay.then(() => undefined);
    const removal = this.#remove(sha256);
    const settled = removal.then(ignore, ignore).finally(() => this.#removals.delete(sha256));
    this.#removals.set(sha256, settled);
    return removal;
  }

  /** All content that is there, a folder at a time. */
  async *all(): AsyncIterable<readonly string[]> {
    const folder = this.contentsFolder;
    for (const prefix of await namesIn(folder)) {
      if (!prefixPattern.test(prefix)) continue;
      const names = await namesIn(join(folder, prefix));
      yield names.filter((name) => sha256Pattern.test(name) && name.startsWith(prefix));
    }
  }

  /** Absolute; has each content where `contentPath` says. */
  get contentsFolder(): string {
    return join(this.#root, contentFolderName);
  }

  /** Where content is, or would be. @throws {CollectorError} STORAGE_CORRUPT if this is no hash. */
  pathOf(sha256: string): string {
    if (!sha256Pattern.test(sha256)) throw missing();
    return contentPath(this.contentsFolder, sha256);
  }

  /** @returns where a link to the file is now, or a copy of it. */
  async #duplicate(path: string): Promise<string> {
    await makeFolder(join(this.#root, uploadFolderName));
    const duplicate = join(this.#root, uploadFolderName, randomUUID());
    try {
      await link(path, duplicate);
    } catch (error) {
      if (!hasCode(error, "EXDEV", "EPERM", "EMLINK", "ENOTSUP", "EOPNOTSUPP")) throw error;
      await copyFile(path, duplicate, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    }
    return duplicate;
  }

  async #remove(sha256: string): Promise<bigint | undefined> {
    const path = this.pathOf(sha256);
    const size = await sizeOf(path);
    if (size !== undefined) await rm(path, { force: true });
    return size;
  }

  /** Once per process and folder, as a crash may have come before its entry was on disk. */
  #preparePrefix(prefix: string): Promise<void> {
    let prepared = this.#prefixes.get(prefix);
    if (prepared === undefined) {
      prepared = this.#makePrefix(prefix);
      this.#prefixes.set(prefix, prepared);
      prepared.catch(() => this.#prefixes.delete(prefix));
    }
    return prepared;
  }

  async #makePrefix(prefix: string): Promise<void> {
    const folder = this.contentsFolder;
    await makeFolder(folder);
    await syncPath(this.#root);
    await makeFolder(join(folder, prefix));
    await syncPath(folder);
  }
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
  }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}

async function sizeOf(path: string): Promise<bigint | undefined> {
  try {
    return (await stat(path, { bigint: true })).size;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

function missing(): CollectorError {
  return new CollectorError("STORAGE_CORRUPT", "the content of this file is missing or damaged");
}

function ignore(): void {
  // Whoever began the removal hears of it.
}
