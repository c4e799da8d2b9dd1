import { fromBinary } from "@bufbuild/protobuf";
import { CollectorError } from "../errors.ts";
import { type ArchiveManifest, ArchiveManifestSchema } from "../gen/collector/archive_pb.ts";
import { isTooHeavy } from "../lib/wire-weight.ts";

/** First bytes of an archive: not text, and changed by whoever takes it for text. */
export const archiveMagic: Buffer = Buffer.from("\x93COL\r\n\x1a\n", "latin1");

export const formatVersion = 1;

/** Magic, version and length of the manifest. These stay in every version. */
export const preambleBytes: number = archiveMagic.length + 8;

export const manifestBytesMax: number = 16 * 1024 * 1024;

/**
 * What a message of an archive may take in memory once it is decoded, in bytes: twice what the largest manifest of
 * attached files takes, and more than any file that can be registered.
 */
export const decodedBytesMax: number = 96 * 1024 * 1024;

/** Plain content of a block. */
export const blockBytesMax: number = 1024 * 1024;

/** Kind, plain length, stored length. */
export const blockHeaderBytes = 12;

export const blockKind = { raw: 1, zstd: 2, end: 3 } as const;

export const checksumBytes = 4;

export const digestBytes = 32;

export const trailerMarker: Buffer = Buffer.from("\x93END\r\n\x1a\n", "latin1");

/** Marker, length of the archive, SHA-256. */
export const trailerBytes: number = trailerMarker.length + 8 + digestBytes;

/** Base-2 logarithm of the zstd window: no block needs more, and no reader has to give more. */
export const windowLog = 20;

const partName = /^(?:database|changes|registry|files\/[0-9a-f]{64})$/;

/** SHA-256 that a part has by its name, in hex; undefined for parts without. */
export function digestInName(name: string): string | undefined {
  return name.startsWith("files/") ? name.slice("files/".length) : undefined;
}

/** @throws {CollectorError} ARCHIVE_INVALID if the name is none, or there already. */
export function checkPartName(name: string, seen: Set<string>): void {
  if (!partName.test(name)) throw invalid("the name of a part is not valid");
  if (seen.has(name)) throw invalid(`part ${name} is there twice`);
  seen.add(name);
}

/**
 * Reads a manifest whose bytes are whole, and holds it to the format. They are weighed before they are decoded.
 *
 * @throws {CollectorError} ARCHIVE_INVALID, ARCHIVE_TOO_NEW
 */
export function readManifest(bytes: Uint8Array): ArchiveManifest {
  if (isTooHeavy(ArchiveManifestSchema, bytes, decodedBytesMax)) {
    throw invalid(`its manifest takes more memory than the limit of ${decodedBytesMax} bytes`);
  }
  let manifest: ArchiveManifest;
  try {
    manifest = fromBinary(ArchiveManifestSchema, bytes);
  } catch {
    throw invalid("its manifest cannot be read");
  }
  if (manifest.formatVersion > formatVersion) throw tooNew(manifest.formatVersion);
  if (manifest.formatVersion !== formatVersion) throw invalid("its manifest has no valid version");
  const seen = new Set<string>();
  let total = 0n;
  for (const part of manifest.parts) {
    checkPartName(part.name, seen);
    total += part.sizeBytes;
    if (total > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid("its parts are larger than can be");
    if (part.sha256.length !== digestBytes) throw invalid(`part ${part.name} has no SHA-256`);
    const digest = digestInName(part.name);
    if (digest !== undefined && digest !== Buffer.from(part.sha256).toString("hex")) {
      throw invalid(`part ${part.name} has another SHA-256 than its name says`);
    }
  }
  return manifest;
}

export function invalid(what: string): CollectorError {
  return new CollectorError("ARCHIVE_INVALID", `this is not a valid archive: ${what}`);
}

export function damaged(what: string): CollectorError {
  return new CollectorError("ARCHIVE_DAMAGED", `the archive is damaged: ${what}`);
}

export function tooNew(version: number): CollectorError {
  return new CollectorError(
    "ARCHIVE_TOO_NEW",
    `the archive has format ${version}, this server reads ${formatVersion}; use a newer server`,
  );
}
