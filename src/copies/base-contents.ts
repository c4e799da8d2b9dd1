import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { Archives } from "../archive/archive.ts";
import { readChanges } from "../archive/change-stream.ts";
import { digestInName } from "../archive/format.ts";
import type { ArchiveManifest } from "../gen/collector/archive_pb.ts";
import type { Limits } from "../lib/limits.ts";
import { removeFile } from "../lib/remove-file.ts";
import { damagedArchive } from "./archive-failures.ts";
import type { ArchiveKeys, CopyRun } from "./copy-parts.ts";

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
): Promise<ReadonlySet<string>> {
  const last = chain.at(-1);
  if (last === undefined) return new Set();
  const { includeFiles, fileCount, base } = last.manifest;
  if (!includeFiles || fileCount === 0n) return new Set();
  if (base === undefined) return new Set(contentsIn(last));
  const brought = new Set(chain.flatMap(contentsIn));
  return brought.size === 0 ? brought : await namedAmong(brought, last, run, options);
}

function contentsIn({ manifest }: Link): string[] {
  return manifest.parts.flatMap(({ name }) => digestInName(name) ?? []);
}

/** Those that a file has. An archive of changes names all files of its moment. */
async function namedAmong(
  contents: ReadonlySet<string>,
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
      if (contents.has(sha256)) named.add(sha256);
    }
    return named;
  } finally {
    await removeFile(changes);
  }
}
