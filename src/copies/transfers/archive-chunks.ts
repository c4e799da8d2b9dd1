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
}

/**
 * Reads a file in chunks from an offset on. The next one is read while the one before is used, so that two
 * are in memory.
 *
 * @throws {CollectorError} ARCHIVE_DAMAGED if the file is shorter, STORAGE_UNAVAILABLE, the reason of `signal`
 */
export async function* readChunks(
  file: FileHandle,
  range: { readonly offset: number; readonly sizeBytes: number },
  signal: AbortSignal,
): AsyncGenerator<ArchiveChunk, undefined> {
  const { sizeBytes } = range;
  let position = range.offset;
  let ahead = readChunk(file, position, sizeBytes);
  try {
    while (position < sizeBytes) {
      const bytes = await ahead.catch((error: unknown) => {
        // Who gives the archive up closes the file.
        signal.throwIfAborted();
        throw error;
      });
      signal.throwIfAborted();
      position += bytes.length;
      ahead = readChunk(file, position, sizeBytes);
      // Whether it fails is asked with the next chunk, if there is a next one.
      ahead.catch(() => undefined);
      yield { bytes, crc32: crc32(bytes) };
    }
  } finally {
    await ahead.catch(() => undefined);
  }
}

async function readChunk(file: FileHandle, position: number, sizeBytes: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(Math.min(chunkBytesMax, sizeBytes - position));
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
  return bytes;
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
