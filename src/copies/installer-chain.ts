import { contentsOf } from "../archive/format.ts";
import type { ArchiveManifest } from "../gen/collector/archive_pb.ts";
import type { Collection } from "../gen/collector/collection_pb.ts";
import { BackupMetadata_Content } from "../gen/collector/collection_repo_pb.ts";
import type { ContentList } from "../lib/content-list.ts";
import { isMoment } from "../lib/timestamps.ts";
import { revisionMax } from "../storage/store-copies.ts";
import { invalidArchive } from "./archive-failures.ts";

/** One archive of a chain. */
export interface ChainLink {
  readonly index: number;
  readonly path: string;
  readonly manifest: ArchiveManifest;
  readonly collection: Collection;
  /** The contents of files in it. */
  readonly contents: ContentList;
  /** That its file has to have, in hex; empty: any. */
  readonly sha256: string;
}

/**
 * Checks that archives follow each other.
 *
 * @param onto the first one is based on something that is there already.
 * @throws {CollectorError} ARCHIVE_INVALID
 */
export function checkChain(
  archives: readonly Pick<ChainLink, "path" | "manifest" | "sha256">[],
  onto: boolean,
): [ChainLink, ...ChainLink[]] {
  const [first, ...rest] = archives.map(checkManifest);
  if (first === undefined) throw invalidArchive("there is none");
  if (onto !== (first.manifest.base !== undefined)) {
    throw invalidArchive(
      onto
        ? "it holds everything, not changes"
        : "it holds changes, and what they are based on is missing",
    );
  }
  let before = first;
  for (const link of rest) {
    const { base } = link.manifest;
    const isNext =
      base !== undefined &&
      base.incarnation === before.manifest.incarnation &&
      base.revision === before.manifest.revision &&
      link.collection.collectionId === first.collection.collectionId;
    if (!isNext)
      throw invalidArchive(`archive ${link.index + 1} does not follow the one before it`);
    before = link;
  }
  return [first, ...rest];
}

function checkManifest(
  { path, manifest, sha256 }: Pick<ChainLink, "path" | "manifest" | "sha256">,
  index: number,
): ChainLink {
  const { collection, content, base, revision } = manifest;
  if (content === BackupMetadata_Content.REGISTRY || collection === undefined) {
    throw invalidArchive("it is not of a collection");
  }
  if (manifest.incarnation === "" || manifest.recordCount < 0n) {
    throw invalidArchive("its manifest says no revision of the data");
  }
  for (const found of [revision, base?.revision ?? 0n]) {
    if (found >= 0n && found <= revisionMax) continue;
    throw invalidArchive(`its manifest has revision ${found}, not one from 0 to ${revisionMax}`);
  }
  const createdAt = collection.metadata?.createdAt;
  for (const [field, moment] of Object.entries({
    moment: manifest.moment,
    created_at: createdAt,
  })) {
    if (moment === undefined || isMoment(moment)) continue;
    const where = field === "moment" ? "manifest" : "definition";
    throw invalidArchive(`the ${field} of its ${where} is no moment of the years 1 to 9999`);
  }
  if (manifest.fileCount < 0n || manifest.fileBytes < 0n) {
    throw invalidArchive("its manifest has a negative number of files");
  }
  if (
    base !== undefined &&
    (base.incarnation !== manifest.incarnation || base.revision > revision)
  ) {
    throw invalidArchive("its base is of another history");
  }
  const contents = contentsOf(manifest);
  const data = base === undefined ? "database" : "changes";
  if (!manifest.parts.some(({ name }) => name === data)) {
    throw invalidArchive(`it has no part ${data}`);
  }
  return { index, path, manifest, collection, contents, sha256 };
}
