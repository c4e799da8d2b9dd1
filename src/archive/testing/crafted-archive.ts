import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { type ArchiveManifest, ArchiveManifestSchema } from "../../gen/collector/archive_pb.ts";

export interface Crafted {
  readonly version?: number;
  readonly manifest?: ArchiveManifest;
  /** In place of a manifest. */
  readonly encoded?: Buffer;
  readonly manifestBytes?: number;
  readonly blocks?: readonly Buffer[];
}

/** An archive with right checksums, whatever is in it. */
export function craft(crafted: Crafted): Buffer {
  const { version = 1, manifest = withParts(), manifestBytes, blocks = [] } = crafted;
  const { encoded = toBinary(ArchiveManifestSchema, manifest) } = crafted;
  const numbers = Buffer.alloc(8);
  numbers.writeUInt32LE(version);
  numbers.writeUInt32LE(manifestBytes ?? encoded.length, 4);
  const start = Buffer.concat([Buffer.from("\x93COL\r\n\x1a\n", "latin1"), numbers, encoded]);
  const length = Buffer.alloc(8);
  const body = Buffer.concat([start, digest(start), ...blocks]);
  length.writeBigUInt64LE(BigInt(body.length + 48));
  const closed = Buffer.concat([body, Buffer.from("\x93END\r\n\x1a\n", "latin1"), length]);
  return Buffer.concat([closed, digest(closed)]);
}

/** A block as it is in an archive. */
export function block(
  kind: number,
  plainBytes: number,
  payload: Buffer,
  storedBytes?: number,
): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt32LE(kind);
  header.writeUInt32LE(plainBytes, 4);
  header.writeUInt32LE(storedBytes ?? payload.length, 8);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(crc32(payload, crc32(header)));
  return Buffer.concat([header, payload, checksum]);
}

/** SHA-256. */
export function digest(bytes: Buffer): Buffer {
  return createHash("sha256").update(bytes).digest();
}

/** A manifest of parts. */
export function withParts(...parts: readonly (readonly [string, Buffer])[]): ArchiveManifest {
  return create(ArchiveManifestSchema, {
    formatVersion: 1,
    parts: parts.map(([name, content]) => ({
      name,
      sizeBytes: BigInt(content.length),
      sha256: digest(content),
    })),
  });
}
