import { lstat, mkdir, open, opendir, realpath, rename, rm, rmdir } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, sep } from "node:path";
import { errnoCode } from "../archive/file-failure.ts";
import { CollectorError, invalidField } from "../errors.ts";

/** Starts the name of an archive that is being written; no other server's in the same folder is touched. */
export const unfinishedPrefix = ".new-";

const segmentPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/;
const pathBytesMax = 1024;
const pathRule = `up to ${pathBytesMax} bytes, names of A-Z a-z 0-9 . _ - apart by /, each beginning with a letter or digit`;

/** A place for an archive. */
export interface BackupPlace {
  /** Absolute; the backup folder that it is in. */
  readonly root: string;
  /** Absolute. */
  readonly path: string;
  /** As it is told to callers: relative to the server's own folder, absolute in another one. */
  readonly storagePath: string;
}

/** A backup folder as a setting calls it, without a slash at the end, and where that really is. */
interface Root {
  readonly called: string;
  readonly real: string;
}

/** The folders that backups may be in, and nothing beside them. */
export class BackupFolders {
  readonly #own: string;
  /** All of them, the server's own one last. */
  readonly #roots: readonly Root[];
  readonly #kept: readonly string[];

  private constructor(own: Root, roots: readonly Root[], kept: readonly string[]) {
    this.#own = own.real;
    this.#roots = [...roots, own];
    this.#kept = kept;
  }

  /**
   * Makes the server's own folder if need be.
   *
   * @param own absolute
   * @param roots further ones, absolute, which exist
   * @param kept where the server keeps other things, absolute, without links: no backup folder, nor in one
   * @throws {CollectorError} ARGUMENT_INVALID, naming the setting, for one that is no folder or cannot be read
   */
  static async open(
    own: string,
    roots: readonly string[],
    kept: readonly string[] = [],
  ): Promise<BackupFolders> {
    refuseKept("backupFolder", own, own, kept);
    await mkdir(own, { recursive: true }).catch((error: unknown) => {
      throw badFolder("backupFolder", own, "cannot be made", error);
    });
    const further: Root[] = [];
    for (const root of roots) {
      if (!isAbsolute(root)) throw badFolder("backupRoots", root, "is not absolute");
      further.push(await openRoot("backupRoots", root, kept));
    }
    return new BackupFolders(await openRoot("backupFolder", own, kept), further, kept);
  }

  /** The server's own folder. */
  get own(): string {
    return this.#own;
  }

  /** Where an archive is, from what its backup says. */
  pathOf(storagePath: string): string {
    return isAbsolute(storagePath) ? storagePath : join(this.#own, storagePath);
  }

  /**
   * The place that a caller's path stands for, in a backup folder whatever the text is.
   *
   * @throws {CollectorError} ARGUMENT_INVALID naming the field
   */
  async locate(given: string, field: string): Promise<BackupPlace> {
    const { root, inside } = this.#split(given, field);
    if (Buffer.byteLength(given) > pathBytesMax || !isPath(inside)) {
      throw invalidField("ARGUMENT_INVALID", field, `is no path in the backup folder: ${pathRule}`);
    }
    const path = join(root, inside);
    if (isIn(this.#kept, path)) {
      throw invalidField("ARGUMENT_INVALID", field, "is where the server keeps its data");
    }
    await checkParents(root, path, field);
    return this.placeOf(root, path);
  }

  /**
   * The file or folder that a caller's path stands for; a backup folder itself too.
   *
   * @param given empty: the server's own folder
   * @throws {CollectorError} ARGUMENT_INVALID naming the field
   */
  async locateExisting(given: string, field: string): Promise<BackupPlace> {
    const root = given === "" ? this.#own : this.#rootOf(given);
    if (root !== undefined) return { root, path: root, storagePath: "" };
    const place = await this.locate(given.replace(/\/$/, ""), field);
    if (await isThere(place.path)) return place;
    throw invalidField("ARGUMENT_INVALID", field, "names nothing that is in the backup folder");
  }

  /** The place of what was found in a backup folder. */
  placeOf(root: string, path: string): BackupPlace {
    return { root, path, storagePath: root === this.#own ? relative(root, path) : path };
  }

  /** @throws {CollectorError} ARCHIVE_INVALID if no backup can be at that place because of its name */
  checkName({ root, path }: BackupPlace): void {
    if (isPath(relative(root, path))) return;
    const problem = `its name or a folder's is none for a backup; rename it: ${pathRule}`;
    throw new CollectorError("ARCHIVE_INVALID", problem);
  }

  #rootOf(given: string): string | undefined {
    const path = given.replace(/\/+$/, "");
    return this.#roots.find(({ called, real }) => called === path || real === path)?.real;
  }

  #split(given: string, field: string): { readonly root: string; readonly inside: string } {
    if (!isAbsolute(given)) return { root: this.#own, inside: given };
    for (const { called, real } of this.#roots) {
      const root = [called, real].find((name) => given.startsWith(name + sep));
      if (root !== undefined) return { root: real, inside: given.slice(root.length + 1) };
    }
    throw invalidField(
      "ARGUMENT_INVALID",
      field,
      "is absolute and in no folder of `backupRoots`; send a name or a relative path",
    );
  }
}

/**
 * Gives a whole archive its name, durably, unless there is something of that name. Whatever fails, nothing
 * of that name is left.
 *
 * @throws {CollectorError} BACKUP_EXISTS
 */
export async function putInPlace(unfinished: string, path: string): Promise<void> {
  // Takes the name first: a rename would replace what has it.
  const placeholder = await open(path, "wx").catch((error: unknown) => {
    if (hasCode(error, "EEXIST", "EISDIR")) throw existing();
    throw error;
  });
  try {
    await placeholder.close();
    await rename(unfinished, path);
    await syncFolder(dirname(path));
  } catch (error) {
    // The name is not left taken.
    await rm(path, { force: true }).catch(() => undefined);
    throw error;
  }
}

/** A new name beside `path` for an archive that is not whole yet. */
export function unfinishedName(path: string, id: string): string {
  return join(dirname(path), `${unfinishedPrefix}${id}`);
}

/** The text of a path in a folder that a caller names; without one, in the server's own. */
export function inFolder(folder: string, name: string): string {
  return folder === "" ? name : `${folder.replace(/\/$/, "")}/${name}`;
}

/** Removes a folder if it was made for a set and nothing is in it. */
export async function removeSetFolder(folder: string, setId: string): Promise<void> {
  if (setId === "" || basename(folder) !== setId) return;
  try {
    await rmdir(folder);
    await syncFolder(dirname(folder));
  } catch (error) {
    if (!hasCode(error, "ENOENT", "ENOTEMPTY", "EEXIST")) throw error;
  }
}

/** Makes the folder that an archive is put in, durably. */
export async function makeFolderOf({ root, path }: BackupPlace): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true });
  for (let at = folder; at.length >= root.length; at = dirname(at)) await syncFolder(at);
}

export async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENOTDIR")) return false;
    throw error;
  }
}

export function existing(): CollectorError {
  return new CollectorError("BACKUP_EXISTS", "dest_path: there is something of that name already", {
    violations: [{ field: "dest_path", description: "is taken" }],
  });
}

/** Links planted in a backup folder lead nowhere: every folder on the way is a real one. */
async function checkParents(root: string, path: string, field: string): Promise<void> {
  for (let at = dirname(path); at.length > root.length; at = dirname(at)) {
    try {
      if ((await lstat(at)).isDirectory()) continue;
    } catch (error) {
      if (hasCode(error, "ENOENT")) continue;
      if (!hasCode(error, "ENOTDIR")) throw error;
    }
    const description = `goes through ${basename(at)}, which is no folder`;
    throw invalidField("ARGUMENT_INVALID", field, description);
  }
}

/** Whether a text is a path inside of a folder, made of names that are allowed. */
function isPath(inside: string): boolean {
  const segments = inside.split("/");
  return Buffer.byteLength(inside) <= pathBytesMax && segments.every((s) => segmentPattern.test(s));
}

async function openRoot(setting: string, path: string, kept: readonly string[]): Promise<Root> {
  try {
    const real = await realpath(path);
    refuseKept(setting, path, real, kept);
    await (await opendir(real)).close();
    return { called: path.replace(/\/+$/, ""), real };
  } catch (error) {
    if (hasCode(error, "ENOENT")) throw badFolder(setting, path, "cannot be found");
    if (hasCode(error, "ENOTDIR")) throw badFolder(setting, path, "is no folder");
    if (errnoCode(error) === undefined) throw error;
    throw badFolder(setting, path, "cannot be read", error);
  }
}

function refuseKept(setting: string, path: string, real: string, kept: readonly string[]): void {
  if (isIn(kept, real)) throw badFolder(setting, path, "is where the server keeps its data");
}

function isIn(folders: readonly string[], path: string): boolean {
  return folders.some((folder) => path === folder || path.startsWith(folder + sep));
}

export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}

function badFolder(setting: string, path: string, why: string, cause?: unknown): CollectorError {
  const code = errnoCode(cause);
  const told = code === undefined ? why : `${why}: ${code}`;
  return new CollectorError("ARGUMENT_INVALID", `${setting}: ${path} ${told}`, { cause });
}

function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}
