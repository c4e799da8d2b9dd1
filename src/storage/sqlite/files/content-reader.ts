import type { FileHandle } from "node:fs/promises";
import { CollectorError } from "../../../errors.ts";
import { translateError } from "../translate-error.ts";

/** What is read at once. */
const chunkBytes = 256 * 1024;

/**
 * Reads a range of content, a chunk when it is asked for. The file stays open meanwhile, so it can be
 * removed.
 *
 * @param open is called with the first chunk
 */
export async function* readContent(
  open: () => Promise<FileHandle>,
  { offset, length }: { readonly offset: bigint; readonly length: bigint },
): AsyncGenerator<Uint8Array> {
  const handle = await open();
  try {
    let position = Number(offset);
    let left = Number(length);
    while (left > 0) {
      const chunk = await readChunk(handle, position, Math.min(left, chunkBytes));
      position += chunk.byteLength;
      left -= chunk.byteLength;
      yield chunk;
    }
  } finally {
    await handle.close();
  }
}

async function readChunk(
  handle: FileHandle,
  position: number,
  length: number,
): Promise<Uint8Array> {
  try {
    const { buffer, bytesRead } = await handle.read(
      Buffer.allocUnsafeSlow(length),
      0,
      length,
      position,
    );
    if (bytesRead === 0) {
      throw new CollectorError("STORAGE_CORRUPT", "the content of this file ends too early");
    }
    return buffer.subarray(0, bytesRead);
  } catch (error) {
    throw translateError(error);
  }
}
