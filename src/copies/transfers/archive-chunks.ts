import type { FileHandle } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { translateFileError } from "../../archive/file-failure.ts";
import { CollectorError, invalidField } from "../../errors.ts";

/** Largest chunk of an archive that is sent or taken. */
export const chunkBytesMax: number = 1024 * 1024;

/** A piece of an archive on its way. */
export interface ArchiveChunk {
  readonly bytes: Uint8Array;
  /** As in zlib; undefined: not checked. */
  readonly crc32: number | undefined;
  /** Without bytes, at the end of an archive whose size was not told before: the size of all of it. */
  readonly finalBytes?: bigint | undefined;
  /** To be called when the bytes are not needed any more: they may change then. Or not at all. */
  readonly giveBack?: (() => void) | undefined;
}

/** Room in memory around the bytes of a chunk, for who wraps it without a copy. */
export interface ChunkRoom {
  readonly before: number;
  readonly after: number;
}

/** The memory of chunks that were given back, to be used again. */
type Spare = Buffer[];

/** Chunks in memory at a time: one that leaves, one that is read, and one between. */
const spareMax = 3;

/**
 * Reads a file in chunks from an offset on. The next one is read while the one before is used, so that two
 * are in memory.
 *
 * @param room that is left around the bytes of each chunk, where nothing of meaning is
 * @throws {CollectorError} ARCHIVE_DAMAGED if the file is shorter, STORAGE_UNAVAILABLE, the reason of `signal`
 */
export async function* readChunks(
  file: FileHandle,
  range: { readonly offset: number; readonly sizeBytes: number },
  room: ChunkRoom,
  signal: AbortSignal,
): AsyncGenerator<ArchiveChunk, undefined> {
  const { sizeBytes } = range;
  const spare: Spare = [];
  const read = async (from: number): Promise<Buffer> => {
    const length = Math.min(chunkBytesMax, sizeBytes - from);
    const size = room.before + chunkBytesMax + room.after;
    const buffer = spare.pop() ?? Buffer.allocUnsafeSlow(size);
    const bytes = buffer.subarray(room.before, room.before + length);
    await readFully(file, bytes, from);
    return bytes;
  };
  let position = range.offset;
  let ahead = read(position);
  try {
    while (position < sizeBytes) {
      const bytes = await ahead.catch((error: unknown) => {
        // Who gives the archive up closes the file.
        signal.throwIfAborted();
        throw error;
      });
      signal.throwIfAborted();
      position += bytes.length;
      ahead = read(position);
      // Whether it fails is asked with the next chunk, if there is a next one.
      ahead.catch(() => undefined);
      const giveBack = (): void => {
        if (spare.length < spareMax) spare.push(wholeOf(bytes, room));
      };
      yield { bytes, crc32: crc32(bytes), giveBack };
    }
  } finally {
    await ahead.catch(() => undefined);
  }
}

/** The buffer that the bytes of a chunk are in. */
function wholeOf(bytes: Buffer, { before, after }: ChunkRoom): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset - before, before + chunkBytesMax + after);
}

async function readFully(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  try {
    for (let done = 0; done < bytes.length; ) {
      const { bytesRead } = await file.read(bytes, done, bytes.length - done, position + done);
      if (bytesRead === 0) {
        throw new CollectorError("ARCHIVE_DAMAGED", "the archive is shorter than it was");
      }
      done += bytesRead;
    }
  } catch (error) {
    throw translateFileError(error);
  }
}

/** @throws {CollectorError} ARGUMENT_INVALID; CONTENT_MISMATCH if it was changed on its way */
export function checkChunk({ bytes, crc32: expected }: ArchiveChunk): void {
  if (bytes.length === 0 || bytes.length > chunkBytesMax) {
    const description = `has ${bytes.length} bytes; send 1 to ${chunkBytesMax}`;
    throw invalidField("ARGUMENT_INVALID", "chunk", description);
  }
  if (expected === undefined || crc32(bytes) === expected) return;
  throw new CollectorError(
    "CONTENT_MISMATCH",
    "chunk_crc32: the chunk was changed on its way; send it again",
    { violations: [{ field: "chunk_crc32", description: "is not that of the chunk" }] },
  );
}
