import { Buffer } from "node:buffer";

/**
 * Frees the memory of a large buffer at once, in place of when its garbage is collected, which nothing does for the
 * sake of what buffers hold outside of the heap until that is 64 MiB. It is empty from then on.
 *
 * For what one call of Node has made and nobody else has a view of, as outputs of `node:zlib` and `node:crypto`.
 * What may lie in the memory that Node shares among small buffers stays.
 */
export function freeBytes(bytes: Uint8Array): void {
  const memory = bytes.buffer;
  if (!(memory instanceof ArrayBuffer) || memory.byteLength <= Buffer.poolSize) return;
  memory.transfer(0);
}
