import { crc32 as checksum } from "node:zlib";
import { create } from "@bufbuild/protobuf";
import type { ArchiveChunk, ChunkRoom } from "../../copies/transfers/archive-chunks.ts";
import {
  type PullCollectionChunk,
  PullCollectionChunkSchema,
} from "../../gen/collector/collection_repo_pb.ts";
import { readyHeadroomBytes, setReady } from "../encoding/ready-messages.ts";
import { lendBytes } from "../lent-bytes.ts";

/** Field `chunk`: tag, and a length of up to three bytes. */
const chunkTag = (2 << 3) | 2;
const chunkTagBytes = 1;
const lengthBytesMax = 3;

/** Field `chunk_crc32`: a tag of two bytes, and the number. */
const crcTag: readonly [number, number] = [((50 << 3) & 0x7f) | 5 | 0x80, (50 << 3) >> 7];
const crcBytes = crcTag.length + 4;

/** What the message of a chunk needs around the bytes of the chunk, be it pulled or pushed. */
export const chunkRoom: ChunkRoom = {
  before: readyHeadroomBytes + chunkTagBytes + lengthBytesMax,
  after: crcBytes,
};

/** The message of a chunk that was read with {@link chunkRoom}: made around it, without a copy. */
export function pullChunk(chunk: ArchiveChunk): PullCollectionChunk {
  const { bytes, crc32, giveBack } = chunk;
  const message = create(PullCollectionChunkSchema, {
    data: { case: "chunk", value: bytes },
    ...(crc32 === undefined ? {} : { chunkCrc32: crc32 }),
  });
  if (crc32 === undefined || giveBack === undefined) return message;
  setReady(message, { bytes: wrap(bytes, crc32), giveBack });
  return message;
}

/**
 * The wire form of the PushCollectionRequest of a chunk that was read with {@link chunkRoom} and is lent: made
 * around it, without a copy. The fields have the same numbers as those of a chunk that is pulled.
 */
export function pushChunk({ bytes, crc32 = checksum(bytes), giveBack }: ArchiveChunk): Uint8Array {
  const form = wrap(bytes, crc32).subarray(readyHeadroomBytes);
  if (giveBack !== undefined) lendBytes(form, giveBack);
  return form;
}

/** Writes a message around the bytes of a chunk, in the room that there is, behind the headroom of one. */
function wrap({ byteLength, byteOffset, buffer }: Uint8Array, crc32: number): Buffer {
  const lengthBytes = byteLength < 0x80 ? 1 : byteLength < 0x4000 ? 2 : lengthBytesMax;
  const before = readyHeadroomBytes + chunkTagBytes + lengthBytes;
  const form = Buffer.from(buffer, byteOffset - before, before + byteLength + crcBytes);
  let at = readyHeadroomBytes;
  form[at++] = chunkTag;
  for (let rest = byteLength, left = lengthBytes; left > 0; left -= 1, rest >>>= 7) {
    form[at++] = left > 1 ? (rest & 0x7f) | 0x80 : rest;
  }
  at += byteLength;
  for (const byte of crcTag) form[at++] = byte;
  form.writeUInt32LE(crc32, at);
  return form;
}
