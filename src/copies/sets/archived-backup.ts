import { create } from "@bufbuild/protobuf";
import { plainBytesOf } from "../../archive/format.ts";
import { checkCollectionName, refuseSystemWrite } from "../../collections/names.ts";
import { CollectorError } from "../../errors.ts";
import type { ArchiveManifest } from "../../gen/collector/archive_pb.ts";
import {
  type BackupMetadata,
  BackupMetadata_Content,
  BackupMetadataSchema,
  Compression,
} from "../../gen/collector/collection_repo_pb.ts";
import { isMoment } from "../../lib/timestamps.ts";
import { checkNamespaceName } from "../../registry/names.ts";
import { invalidArchive } from "../archive-failures.ts";
import { checkNotes } from "../backup-notes.ts";
import type { ArchiveFile } from "./archive-files.ts";

/** An id of a backup or of a set: a UUID that begins with the time. */
const idPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** Ids and names that are only compared. */
const textPattern = /^[\x20-\x7e]{0,256}$/;

/**
 * What is known of a backup from the manifest of its archive, which may be crafted.
 *
 * @throws {CollectorError} ARCHIVE_INVALID
 */
export function archivedBackup(manifest: ArchiveManifest, file: ArchiveFile): BackupMetadata {
  const { backupId, setId, policy, base, moment, metadata, incarnation, revision } = manifest;
  if (backupId === "") {
    throw invalidArchive(
      "it was made to be sent, not as a backup; `collector backup restore -f` takes it",
    );
  }
  if (!idPattern.test(backupId)) throw invalidArchive("the id of its backup is none");
  if (setId !== "" && !idPattern.test(setId)) throw invalidArchive("the id of its set is none");
  if (base !== undefined && !idPattern.test(base.backupId)) {
    throw invalidArchive("it holds changes of something that is no backup");
  }
  if (![policy, incarnation].every((text) => textPattern.test(text))) {
    throw invalidArchive("its manifest has texts that no server writes");
  }
  if (moment === undefined || moment.seconds < 0n || !isMoment(moment)) {
    throw invalidArchive("its manifest does not say when it was made");
  }
  const counts = [manifest.recordCount, manifest.fileCount, manifest.fileBytes, revision];
  if (counts.some((count) => count < 0n)) throw invalidArchive("its manifest has negative numbers");
  try {
    checkNotes(metadata);
    return create(BackupMetadataSchema, {
      ...contentOf(manifest),
      backupId,
      setId,
      policy,
      metadata,
      revision,
      incarnation,
      baseBackupId: base?.backupId ?? "",
      createTime: moment,
      timestamp: moment.seconds,
      recordCount: manifest.recordCount,
      fileCount: manifest.fileCount,
      includesFiles: manifest.includeFiles,
      contentBytes: plainBytesOf(manifest),
      compression: manifest.compression === Compression.NONE ? Compression.NONE : Compression.ZSTD,
      sizeBytes: file.sizeBytes,
      encrypted: file.encrypted,
      storagePath: file.storagePath,
      storageType: "file",
      complete: true,
    });
  } catch (error) {
    if (!(error instanceof CollectorError) || error.reason === "ARCHIVE_INVALID") throw error;
    throw invalidArchive(`its manifest is not valid: ${error.message}`, error);
  }
}

function contentOf({
  content,
  collection,
  base,
}: ArchiveManifest): Pick<BackupMetadata, "content" | "collectionId"> &
  Partial<Pick<BackupMetadata, "collection">> {
  if (content === BackupMetadata_Content.REGISTRY) {
    if (base !== undefined) throw invalidArchive("it holds changes of a registry");
    return { content, collectionId: "" };
  }
  if (collection === undefined) throw invalidArchive("it is of no collection");
  const { namespace, name, collectionId } = collection;
  checkNamespaceName(namespace);
  refuseSystemWrite(namespace);
  checkCollectionName(name, "name");
  if (!textPattern.test(collectionId)) throw invalidArchive("the id of its collection is none");
  return {
    content: BackupMetadata_Content.COLLECTION,
    collectionId,
    collection: { $typeName: "collector.NamespacedName", namespace, name },
  };
}
