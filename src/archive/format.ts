import { fromBinary } from "@bufbuild/protobuf";
import { CollectorError } from "../errors.ts";
import { type ArchiveManifest, ArchiveManifestSchema } from "../gen/collector/archive_pb.ts";
import { ContentList } from "../lib/content-list.ts";
import { isTooHeavy } from "../lib/wire-weight.ts";

/** First bytes of an archive: not text, and changed by whoever takes it for text. */
export const archiveMagic: Buffer = Buffer.from("\x93COL\r\n\x1a\n", "latin1");

/** The newest that is read and written. */
export const formatVersion = 2;

/** What a manifest names as parts of their own is of format 1; more contents than so many are listed. */
export const namedContentsMax = 1000;

/** Magic, version and length of the manifest. These stay in every version. */
export const preambleBytes: number = archiveMagic.length + 8;

/** As much as the list of 1.2 million contents takes. */
export const manifestBytesMax: number = 48 * 1024 * 1024;

/** What a message of an archive may take in memory once it is decoded, in bytes: more than any file that can be registered. */
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
function digestInName(name: string): string | undefined {
  return name.startsWith("files/") ? name.slice("files/".length) : undefined;
}

/** A part as its archive tells of it. */
export interface ListedPart {
  readonly name: string;
  readonly sizeBytes: bigint;
  readonly sha256: Uint8Array;
  /** Lower-case hex; undefined if it is no content of attached files. */
  readonly content?: string | undefined;
}

/** The parts of an archive, in the order in which they follow. */
export function* partsOf(manifest: ArchiveManifest): Iterable<ListedPart> {
  for (const { name, sizeBytes, sha256 } of manifest.parts) {
    yield { name, sizeBytes, sha256, content: digestInName(name) };
  }
  for (const { sha256, sizeBytes } of listIn(manifest)) {
    const name = `files/${sha256}`;
    yield { name, sizeBytes, sha256: Buffer.from(sha256, "hex"), content: sha256 };
  }
}

/** The contents of attached files that are in an archive. */
export function contentsOf(manifest: ArchiveManifest): ContentList {
  if (manifest.formatVersion > 1) return listIn(manifest);
  return ContentList.of(
    manifest.parts.flatMap(({ name, sizeBytes }) => {
      const sha256 = digestInName(name);
      return sha256 === undefined ? [] : [{ sha256, sizeBytes }];
    }),
  );
}

/** Bytes of all parts, before compression. */
export function plainBytesOf(manifest: ArchiveManifest): bigint {
  const named = manifest.parts.reduce((sum, part) => sum + part.sizeBytes, 0n);
  return named + listIn(manifest).totalBytes;
}

function listIn({ contentSha256, contentSizes }: ArchiveManifest): ContentList {
  return new ContentList(contentSha256, contentSizes);
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
  const version = manifest.formatVersion;
  if (version > formatVersion) throw tooNew(version);
  if (version < 1) throw invalid("its manifest has no valid version");
  const list = listIn(manifest);
  const problem = list.problem;
  if (problem !== undefined) throw invalid(`its list of contents ${problem}`);
  if (version === 1 && list.count > 0) throw invalid("format 1 has no list of contents");
  const seen = new Set<string>();
  let total = 0n;
  for (const part of manifest.parts) {
    checkPartName(part.name, seen);
    total += part.sizeBytes;
    if (total > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid("its parts are larger than can be");
    if (part.sha256.length !== digestBytes) throw invalid(`part ${part.name} has no SHA-256`);
    const digest = digestInName(part.name);
    if (digest !== undefined && version > 1) throw invalid(`part ${part.name} is not in the list`);
    if (digest !== undefined && digest !== Buffer.from(part.sha256).toString("hex")) {
      throw invalid(`part ${part.name} has another SHA-256 than its name says`);
    }
  }
  if (total + list.totalBytes > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw invalid("its parts are larger than can be");
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
