import { createHash } from "node:crypto";
import { closeSync, fstatSync, fsyncSync, openSync, readSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { constants, crc32, zstdCompressSync } from "node:zlib";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { CollectorError } from "../errors.ts";
import {
  type ArchiveManifest,
  ArchiveManifestSchema,
  type ArchivePart,
  ArchivePartSchema,
} from "../gen/collector/archive_pb.ts";
import { Compression } from "../gen/collector/collection_repo_pb.ts";
import { ContentList, contentPath, type ListedContent } from "../lib/content-list.ts";
import { freeBytes } from "../lib/free-bytes.ts";
import { isTooHeavy } from "../lib/wire-weight.ts";
import { beginAge } from "./age-envelope.ts";
import type { PartSource } from "./archive.ts";
import { ArchiveOutput } from "./archive-output.ts";
import {
  archiveMagic,
  blockBytesMax,
  blockHeaderBytes,
  blockKind,
  checkPartName,
  checksumBytes,
  decodedBytesMax,
  formatVersion,
  type ListedPart,
  manifestBytesMax,
  namedContentsMax,
  partsOf,
  preambleBytes,
  trailerBytes,
  trailerMarker,
  windowLog,
} from "./format.ts";
import type { JobContext } from "./job-context.ts";
import type { ArchiveJob, PackAnswer } from "./messages.ts";
import { PacedFile } from "./paced-file.ts";
import { PartDigest } from "./part-digest.ts";

type PackJob = Extract<ArchiveJob, { kind: "pack" }>;

/** Level 3 makes archives a third smaller than level 1, for a fifth more time of a core. */
const zstdLevel = 3;

const zstdOptions = {
  chunkSize: blockBytesMax + 64 * 1024,
  params: {
    [constants.ZSTD_c_compressionLevel]: zstdLevel,
    [constants.ZSTD_c_windowLog]: windowLog,
  },
};

/** Of a part that has not shrunk for so many blocks, */
const vainBlocksMax = 4;
/** only one block of so many is tried. */
const tryEvery = 8;

/**
 * Writes an archive. Parts whose SHA-256 is not in their name are read twice: the manifest comes first
 * and has the SHA-256 of each. In return the file needs no patch, so an encrypted one is made alike, and
 * one hash serves the trailer and the file.
 */
export async function packArchive(job: PackJob, context: JobContext): Promise<PackAnswer> {
  const age = job.recipients.length === 0 ? undefined : await beginAge(job.recipients);
  const file = PacedFile.create(job.path);
  try {
    const manifest = fromBinary(ArchiveManifestSchema, job.manifest);
    const contents = new ContentList(job.contents.digests, job.contents.sizes);
    manifest.compression ||= Compression.ZSTD;
    manifest.formatVersion = 1;
    manifest.parts = describeParts(job.parts, contents, context);
    if (contents.count > namedContentsMax) {
      manifest.formatVersion = formatVersion;
      manifest.contentSha256 = contents.digests;
      manifest.contentSizes = contents.sizes;
    } else manifest.parts.push(...Array.from(contents, contentPart));
    const manifestBytes = toBinary(ArchiveManifestSchema, manifest);
    const output = new ArchiveOutput(file, age);
    writeHeader(output, manifestBytes, manifest.formatVersion);
    const sources = new Map(job.parts.map(({ name, path }) => [name, path]));
    for (const part of partsOf(manifest)) {
      const { name, content } = part;
      const path =
        content === undefined ? sources.get(name) : contentPath(job.contents.folder, content);
      writePart(output, path ?? "", part, manifest, context);
    }
    writeTrailer(output);
    const finished = output.finish();
    syncFolder(dirname(job.path));
    context.progress.end();
    file[Symbol.dispose]();
    return { manifest: manifestBytes, ...finished };
  } catch (error) {
    file.remove();
    throw error;
  }
}

function describeParts(
  sources: readonly PartSource[],
  contents: ContentList,
  context: JobContext,
): ArchivePart[] {
  const seen = new Set<string>();
  const sizes = sources.map((source) => {
    checkPartName(source.name, seen);
    return statSync(source.path).size;
  });
  const twice = sizes.reduce((sum, size) => sum + size, 0);
  const total = twice + Number(contents.totalBytes);
  context.progress.begin(total, total + twice);
  return sources.map(({ name, path }, index) => {
    const size = sizes[index] ?? 0;
    const sha256 = hashOfFile(path, size, context);
    return create(ArchivePartSchema, { name, sizeBytes: BigInt(size), sha256 });
  });
}

function contentPart({ sha256, sizeBytes }: ListedContent): ArchivePart {
  return create(ArchivePartSchema, {
    name: `files/${sha256}`,
    sizeBytes,
    sha256: Buffer.from(sha256, "hex"),
  });
}

function hashOfFile(path: string, size: number, { progress, throttle }: JobContext): Buffer {
  const hash = createHash("sha256");
  for (const block of blocksOf(path, size)) {
    hash.update(block);
    throttle.step();
    progress.advance(block.length);
  }
  return hash.digest();
}

function writeHeader(output: ArchiveOutput, manifest: Uint8Array, version: number): void {
  if (manifest.length > manifestBytesMax) {
    throw new CollectorError(
      "QUOTA_EXCEEDED",
      `the manifest of the archive has ${manifest.length} bytes, the limit is ${manifestBytesMax}`,
    );
  }
  if (isTooHeavy(ArchiveManifestSchema, manifest, decodedBytesMax)) {
    throw new CollectorError(
      "QUOTA_EXCEEDED",
      `the manifest of the archive takes more memory than the limit of ${decodedBytesMax} bytes`,
    );
  }
  const preamble = Buffer.alloc(preambleBytes);
  archiveMagic.copy(preamble);
  preamble.writeUInt32LE(version, archiveMagic.length);
  preamble.writeUInt32LE(manifest.length, archiveMagic.length + 4);
  output.write(preamble);
  output.write(manifest);
  output.write(output.plainDigest());
}

function writePart(
  output: ArchiveOutput,
  path: string,
  part: ListedPart,
  manifest: ArchiveManifest,
  { progress, throttle }: JobContext,
): void {
  const isZstd = manifest.compression === Compression.ZSTD;
  // The others were hashed before; should one have changed since, every reader of the archive finds it.
  const size = Number(part.sizeBytes);
  const digest = part.content === undefined ? undefined : new PartDigest(size);
  // Pictures, films and archives are compressed already: to try each block would cost most of the time for nothing.
  let vainBlocks = 0;
  for (const block of blocksOf(path, size)) {
    digest?.update(block);
    const isTried = isZstd && (vainBlocks < vainBlocksMax || vainBlocks % tryEvery === 0);
    const packed = isTried ? zstdCompressSync(block, zstdOptions) : block;
    vainBlocks = packed.length < block.length ? 0 : vainBlocks + 1;
    if (packed.length < block.length) {
      writeBlock(output, blockKind.zstd, block.length, packed);
    } else writeBlock(output, blockKind.raw, block.length, block);
    output.flush();
    if (packed !== block) freeBytes(packed);
    throttle.step();
    progress.advance(block.length);
  }
  if (digest !== undefined && !digest.end().equals(part.sha256)) {
    throw new CollectorError("STORAGE_CORRUPT", `${part.name} is not what its SHA-256 says`);
  }
  writeBlock(output, blockKind.end, 0, new Uint8Array(0));
}

function writeBlock(
  output: ArchiveOutput,
  kind: number,
  plainBytes: number,
  payload: Uint8Array,
): void {
  const header = Buffer.alloc(blockHeaderBytes);
  header.writeUInt32LE(kind, 0);
  header.writeUInt32LE(plainBytes, 4);
  header.writeUInt32LE(payload.length, 8);
  const checksum = Buffer.alloc(checksumBytes);
  checksum.writeUInt32LE(crc32(payload, crc32(header)));
  output.write(header);
  output.write(payload);
  output.write(checksum);
}

function writeTrailer(output: ArchiveOutput): void {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(output.plainBytes + trailerBytes));
  output.write(trailerMarker);
  output.write(length);
  output.write(output.plainDigest());
}

/** A file in blocks, each of them in the same memory. */
function* blocksOf(path: string, size: number): Iterable<Buffer> {
  const buffer = Buffer.allocUnsafe(Math.min(blockBytesMax, size));
  const fd = openSync(path, "r");
  try {
    if (fstatSync(fd).size !== size) throw changed();
    let position = 0;
    while (position < size) {
      const wanted = Math.min(blockBytesMax, size - position);
      let filled = 0;
      while (filled < wanted) {
        const added = readSync(fd, buffer, filled, wanted - filled, position + filled);
        if (added === 0) throw changed();
        filled += added;
      }
      position += wanted;
      yield buffer.subarray(0, wanted);
    }
  } finally {
    closeSync(fd);
  }
}

function changed(): CollectorError {
  return new CollectorError("STORAGE_UNAVAILABLE", "a part changed while it was being archived");
}

function syncFolder(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
