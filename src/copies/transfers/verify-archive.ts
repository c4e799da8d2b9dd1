import { open } from "node:fs/promises";
import { create } from "@bufbuild/protobuf";
import { ageMagic } from "../../archive/age-envelope.ts";
import type { Archives } from "../../archive/archive.ts";
import { CollectorError } from "../../errors.ts";
import type { ArchiveManifest } from "../../gen/collector/archive_pb.ts";
import {
  type BackupMetadata,
  BackupMetadata_Content,
  BackupMetadataSchema,
  type VerifyBackupResponse,
  VerifyBackupResponseSchema,
} from "../../gen/collector/collection_repo_pb.ts";
import { printable } from "../../lib/printable.ts";
import { isMoment } from "../../lib/timestamps.ts";
import { isArchiveFault } from "../archive-failures.ts";
import type {
  ArchiveInstaller,
  ArchiveKeys,
  ArchiveProblem,
  CopyRun,
  VerifyRegistry,
} from "../copy-parts.ts";

export interface VerifyArchiveParts {
  readonly archives: Archives;
  readonly installer: ArchiveInstaller;
  readonly keys: Pick<ArchiveKeys, "identities">;
  readonly verifyRegistry: VerifyRegistry;
}

/**
 * Makes every check of a restore on an archive that came from elsewhere, and keeps nothing.
 *
 * @throws {CollectorError} ARCHIVE_TOO_NEW, KEY_UNAVAILABLE, CANCELLED, DISK_FULL
 */
export async function verifyArchive(
  parts: VerifyArchiveParts,
  file: { readonly path: string; readonly sizeBytes: bigint },
  run: CopyRun,
): Promise<VerifyBackupResponse> {
  run.report({ phase: "verifying" });
  let manifest: ArchiveManifest | undefined;
  let problems: readonly ArchiveProblem[];
  try {
    manifest = await manifestOf(parts, file.path);
    problems =
      manifest === undefined
        ? await parts.installer.verify([file.path], run)
        : await problemsOf(parts, file.path, manifest, run);
  } catch (error) {
    if (!isArchiveFault(error)) throw error;
    const { message: description } = error;
    problems = [{ archive: 0, part: "manifest", offset: -1n, description }];
  }
  const [first] = problems;
  const encrypted = await isEncrypted(file.path);
  const backup = manifest === undefined ? undefined : factsOf(manifest, file.sizeBytes, encrypted);
  return create(VerifyBackupResponseSchema, {
    isValid: first === undefined,
    errorMessage: first === undefined ? "" : `${first.part}: ${first.description}`,
    ...(backup === undefined ? {} : { backup }),
    problems: problems.map(({ part, offset, description }) => ({
      backupId: printable(manifest?.backupId ?? ""),
      part,
      offset,
      description,
    })),
  });
}

/** Undefined if it is damaged: where, a verification of everything tells. */
async function manifestOf(
  { archives, keys }: VerifyArchiveParts,
  path: string,
): Promise<ArchiveManifest | undefined> {
  try {
    return await archives.manifest(path, keys.identities);
  } catch (error) {
    if (error instanceof CollectorError && error.reason === "ARCHIVE_DAMAGED") return undefined;
    throw error;
  }
}

async function problemsOf(
  { archives, installer, keys, verifyRegistry }: VerifyArchiveParts,
  path: string,
  { content, base, backupId }: ArchiveManifest,
  run: CopyRun,
): Promise<readonly ArchiveProblem[]> {
  if (content === BackupMetadata_Content.REGISTRY) return await verifyRegistry(path, backupId, run);
  if (base === undefined) return await installer.verify([path], run);
  const { faults } = await archives.unpack({
    path,
    identities: keys.identities,
    targets: new Map(),
    signal: run.signal,
    onProgress: (progress) => run.report({ ...progress, phase: "reading" }),
  });
  if (faults.length > 0) return faults.map((fault) => ({ archive: 0, ...fault }));
  const of = base.backupId === "" ? "a copy elsewhere" : `backup ${printable(base.backupId)}`;
  const description = `it is whole, but holds only what changed since ${of}, and is of no use without that`;
  return [{ archive: 0, part: "manifest", offset: -1n, description }];
}

async function isEncrypted(path: string): Promise<boolean> {
  await using file = await open(path);
  const start = Buffer.alloc(ageMagic.length);
  await file.read(start, 0, start.length, 0);
  return start.equals(ageMagic);
}

/** What the archive says of itself. Whoever wrote it chose the texts. */
function factsOf(manifest: ArchiveManifest, sizeBytes: bigint, encrypted: boolean): BackupMetadata {
  const { collection, moment, base, parts } = manifest;
  const { content, compression, recordCount, fileCount } = manifest;
  return create(BackupMetadataSchema, {
    backupId: printable(manifest.backupId),
    setId: printable(manifest.setId),
    policy: printable(manifest.policy),
    content,
    compression,
    recordCount,
    fileCount,
    sizeBytes,
    encrypted,
    includesFiles: manifest.includeFiles,
    baseBackupId: printable(base?.backupId ?? ""),
    collectionId: printable(collection?.collectionId ?? ""),
    contentBytes: parts.reduce((sum, part) => sum + part.sizeBytes, 0n),
    ...(moment === undefined || !isMoment(moment)
      ? {}
      : { createTime: moment, timestamp: moment.seconds }),
    ...(collection === undefined
      ? {}
      : {
          collection: {
            namespace: printable(collection.namespace),
            name: printable(collection.name),
          },
        }),
  });
}
