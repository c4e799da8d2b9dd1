import { type StatsFs, statfsSync, statSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { CollectorError } from "../errors.ts";

/** After how many bytes the free space of a disk is looked at again. */
export const roomCheckBytes: number = 64 * 1024 * 1024;

/** When a full disk may have room again, in ms. */
const diskRetryMs = 5000;

/** A file that is to be written. */
export interface FileToWrite {
  /** Absolute; its folder exists. */
  readonly path: string;
  readonly bytes: number;
}

/** Answers the free space of the disk that a folder is on. */
type FreeBytesOf = (folder: string) => number;

/** @throws {CollectorError} DISK_FULL if the disk of a file has less free space than this */
export async function checkRoom(path: string, bytes: number): Promise<void> {
  requireRoom(freeBytesIn(await statfs(dirname(path))), bytes);
}

/**
 * Keeps a reserve on the disks that files are written to, from a thread that may wait. Each is to be told of before:
 * what is packed as kilobytes can be terabytes.
 */
export class DiskRoom {
  readonly #reserveBytes: number;
  readonly #freeBytesOf: FreeBytesOf;
  #unlookedBytes = 0;

  constructor(
    reserveBytes: number,
    freeBytesOf: FreeBytesOf = (folder) => freeBytesIn(statfsSync(folder)),
  ) {
    this.#reserveBytes = reserveBytes;
    this.#freeBytesOf = freeBytesOf;
  }

  /** @throws {CollectorError} DISK_FULL if there is no room for all of the files beside the reserve */
  checkFor(files: Iterable<FileToWrite>): void {
    const byFolder = new Map<string, number>();
    for (const { path, bytes } of files) {
      const folder = dirname(path);
      byFolder.set(folder, (byFolder.get(folder) ?? 0) + bytes);
    }
    const byDisk = new Map<number, { readonly folder: string; readonly bytes: number }>();
    for (const [folder, bytes] of byFolder) {
      const { dev } = statSync(folder);
      const before = byDisk.get(dev)?.bytes ?? 0;
      byDisk.set(dev, { folder, bytes: before + bytes });
    }
    for (const { folder, bytes } of byDisk.values()) this.#check(folder, bytes);
  }

  /** To be called before each write. @throws {CollectorError} DISK_FULL if the disk is down to the reserve */
  beforeWrite({ path, bytes }: FileToWrite): void {
    this.#unlookedBytes += bytes;
    if (this.#unlookedBytes < roomCheckBytes) return;
    this.#unlookedBytes = 0;
    this.#check(dirname(path), bytes);
  }

  #check(folder: string, bytes: number): void {
    requireRoom(this.#freeBytesOf(folder), bytes + this.#reserveBytes);
  }
}

function freeBytesIn({ bavail, bsize }: StatsFs): number {
  return bavail * bsize;
}

/** @throws {CollectorError} DISK_FULL */
function requireRoom(freeBytes: number, bytes: number): void {
  if (freeBytes >= bytes) return;
  throw new CollectorError(
    "DISK_FULL",
    "there is no room on the disk for this archive beside the reserve (diskReserveBytes); free some",
    { retryAfterMs: diskRetryMs },
  );
}
