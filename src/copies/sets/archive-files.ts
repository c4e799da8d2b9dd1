import { constants } from "node:fs";
import { lstat, open, opendir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ageMagic } from "../../archive/age-envelope.ts";
import { errnoCode } from "../../archive/file-failure.ts";
import { archiveMagic, trailerBytes, trailerMarker } from "../../archive/format.ts";
import { invalidArchive } from "../archive-failures.ts";
import { type BackupFolders, type BackupPlace, unfinishedPrefix } from "../backup-folders.ts";

/** A file that starts as an archive. */
export interface ArchiveFile extends BackupPlace {
  readonly kind: "archive";
  readonly sizeBytes: bigint;
  readonly encrypted: boolean;
}

/** A file that is none, or that a backup cannot be, though its name says so; or a folder that was not looked into. */
export interface UnusableFile {
  readonly kind: "unusable";
  /** As `storagePath` of a place. */
  readonly path: string;
  readonly reason: string;
}

/** Ends the names that the server gives to archives. */
const archiveSuffix = ".collector";

/** Folders in folders that are looked into. */
const depthMax = 8;

/** Files and folders that are looked at. */
export const entriesMax = 100_000;

/**
 * Looks for archives in a backup folder, by the names in their order; links are not followed. What neither is
 * called an archive nor starts as one is passed over.
 *
 * @param place a file or a folder
 */
export async function* findArchives(
  folders: BackupFolders,
  place: BackupPlace,
  signal: AbortSignal,
): AsyncIterable<ArchiveFile | UnusableFile> {
  const { root } = place;
  const storagePathOf = (path: string): string => folders.placeOf(root, path).storagePath;
  const pending: { path: string; depth: number }[] = [{ path: place.path, depth: 0 }];
  let seen = 0;
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    signal.throwIfAborted();
    const { path, depth } = next;
    const stat = await lstat(path).catch(() => undefined);
    if (stat === undefined) continue;
    if (!stat.isDirectory()) {
      const found = await look(folders.placeOf(root, path), depth === 0);
      if (found !== undefined) yield found;
      continue;
    }
    if (depth > depthMax) {
      yield {
        kind: "unusable",
        path: storagePathOf(path),
        reason: `is ${depth} folders deep, the limit is ${depthMax}; import it by its path`,
      };
      continue;
    }
    const names = await namesIn(path, entriesMax - seen);
    if (typeof names === "string") {
      yield { kind: "unusable", path: storagePathOf(path), reason: names };
      continue;
    }
    seen += names.length;
    // The last one that is pushed comes first.
    for (const name of names.toSorted().toReversed()) {
      pending.push({ path: join(path, name), depth: depth + 1 });
    }
  }
}

/**
 * A file that is no part of a backup folder yet.
 *
 * @throws {CollectorError} ARCHIVE_INVALID if it is no archive
 */
export async function readArchiveFile(path: string): Promise<ArchiveFile> {
  const file = await look({ root: dirname(path), path, storagePath: "" }, true);
  if (file?.kind === "archive") return file;
  throw invalidArchive(`it ${file?.reason ?? "is not there"}`);
}

/** @returns why it was not looked into, if there are more than that or it cannot be read */
async function namesIn(path: string, max: number): Promise<string[] | string> {
  const names: string[] = [];
  try {
    for await (const { name } of await opendir(path)) {
      if (name.startsWith(unfinishedPrefix)) continue;
      if (names.length >= max) {
        return `has more than what is left of ${entriesMax} files and folders; import what is in it by its path`;
      }
      names.push(name);
    }
  } catch (error) {
    const code = errnoCode(error);
    if (code === undefined) throw error;
    return `cannot be read: ${code}`;
  }
  return names;
}

/** @param isAskedFor it was named by the caller, so it is not passed over. */
async function look(
  place: BackupPlace,
  isAskedFor: boolean,
): Promise<ArchiveFile | UnusableFile | undefined> {
  const { path, storagePath } = place;
  const isCalledOne = isAskedFor || path.endsWith(archiveSuffix);
  const unusable = (reason: string): UnusableFile => ({
    kind: "unusable",
    path: storagePath,
    reason,
  });
  try {
    // Neither through a link nor waiting for a pipe.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    await using file = await open(path, flags);
    const stat = await file.stat();
    if (!stat.isFile()) return isCalledOne ? unusable("is no file") : undefined;
    const start = Buffer.alloc(ageMagic.length);
    const { bytesRead } = await file.read(start, 0, start.length, 0);
    const encrypted = start.equals(ageMagic);
    const isPlain = start.subarray(0, archiveMagic.length).equals(archiveMagic);
    if (!isPlain && !encrypted) {
      if (!isCalledOne) return undefined;
      return unusable(bytesRead === 0 ? "is empty" : "does not start as an archive");
    }
    return { kind: "archive", ...place, sizeBytes: BigInt(stat.size), encrypted };
  } catch (error) {
    const code = errnoCode(error);
    if (code === undefined) throw error;
    if (!isCalledOne || code === "ENOENT") return undefined;
    return unusable(code === "ELOOP" ? "is a link" : `cannot be read: ${code}`);
  }
}

/**
 * Checks that a plain archive ends as it should: one that was cut does not.
 *
 * @throws {CollectorError} ARCHIVE_INVALID
 */
export async function checkEnd({ path, sizeBytes, encrypted }: ArchiveFile): Promise<void> {
  // What is encrypted shows only when it is read through.
  if (encrypted) return;
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  const end = Buffer.alloc(trailerBytes);
  await file.read(end, 0, end.length, Math.max(0, Number(sizeBytes) - trailerBytes));
  const isWhole =
    end.subarray(0, trailerMarker.length).equals(trailerMarker) &&
    end.readBigUInt64LE(trailerMarker.length) === sizeBytes;
  if (!isWhole) throw invalidArchive("it does not end as one: it was cut, or something follows it");
}
