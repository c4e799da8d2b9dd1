import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { Archives } from "../archive/archive.ts";
import { readChanges } from "../archive/change-stream.ts";
import { contentsOf } from "../archive/format.ts";
import type { ArchiveManifest } from "../gen/collector/archive_pb.ts";
import type { Limits } from "../lib/limits.ts";
import { removeFile } from "../lib/remove-file.ts";
import { damagedArchive } from "./archive-failures.ts";
import type { ArchiveKeys, CopyBase, CopyRun } from "./copy-parts.ts";

export interface BaseContentsOptions {
  readonly archives: Pick<Archives, "unpack">;
  readonly keys: Pick<ArchiveKeys, "identities">;
  readonly limits: Pick<Limits, "messageBytesMax">;
  /** Absolute; exists, and is emptied at start by its owner. */
  readonly scratchFolder: string;
}

/** One archive of a chain. */
interface Link {
  readonly path: string;
  readonly manifest: ArchiveManifest;
}

/**
 * The contents that whoever has applied a chain has, as hashes in hex: those of the files of its last moment.
 * What an earlier archive brought may have gone since, and come back.
 *
 * @param chain the archive that holds everything first
 * @throws {CollectorError} ARCHIVE_DAMAGED, and what reading an archive throws
 */
export async function contentsAfter(
  chain: readonly Link[],
  run: CopyRun,
  options: BaseContentsOptions,
): Promise<CopyBase["contents"]> {
  const last = chain.at(-1);
  if (last === undefined) return new Set();
  const { includeFiles, fileCount, base } = last.manifest;
  if (!includeFiles || fileCount === 0n) return new Set();
  if (base === undefined) return contentsOf(last.manifest);
  const brought = chain.map(({ manifest }) => contentsOf(manifest));
  const isBrought = (sha256: string): boolean => brought.some((list) => list.has(sha256));
  return await namedAmong(isBrought, last, run, options);
}

/** Those that a file has. An archive of changes names all files of its moment. */
async function namedAmong(
  isBrought: (sha256: string) => boolean,
  { path }: Link,
  { signal }: CopyRun,
  { archives, keys, limits, scratchFolder }: BaseContentsOptions,
): Promise<ReadonlySet<string>> {
  const changes = join(scratchFolder, `base-${randomUUID()}`);
  try {
    const targets = new Map([["changes", changes]]);
    const { faults } = await archives.unpack({
      path,
      identities: keys.identities,
      targets,
      signal,
    });
    const [fault] = faults;
    if (fault !== undefined) throw damagedArchive({ archive: 0, ...fault });
    const named = new Set<string>();
    const changeBytesMax = 4 * limits.messageBytesMax;
    for await (const { entry } of readChanges(changes, { signal, changeBytesMax })) {
      if (entry.case !== "file") continue;
      const sha256 = Buffer.from(entry.value.sha256).toString("hex");
      if (isBrought(sha256)) named.add(sha256);
    }
    return named;
  } finally {
    await removeFile(changes);
  }
}
