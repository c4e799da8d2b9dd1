import { createHash, type Hash } from "node:crypto";
import { freeBytes } from "../lib/free-bytes.ts";
import { type AgeStart, ageChunkBytes, sealChunk } from "./age-envelope.ts";
import type { PacedFile } from "./paced-file.ts";

const flushBytes = 1024 * 1024;

/** Where an archive is written: through the checksum, through age if it is to be, to the file. */
export class ArchiveOutput {
  readonly #file: PacedFile;
  readonly #age: AgeStart | undefined;
  readonly #plainHash: Hash = createHash("sha256");
  /** Of the file, if that is not the plain archive. */
  readonly #fileHash: Hash | undefined;
  readonly #chunk: Buffer;
  #chunkUsed = 0;
  #chunkIndex = 0;
  /** Given ones, or sealed ones, which nobody else has. */
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #plainBytes = 0;
  #fileBytes = 0;

  constructor(file: PacedFile, age: AgeStart | undefined) {
    this.#file = file;
    this.#age = age;
    this.#fileHash = age === undefined ? undefined : createHash("sha256");
    this.#chunk = Buffer.allocUnsafe(age === undefined ? 0 : ageChunkBytes);
    if (age !== undefined) this.#put(age.bytes);
  }

  /** Bytes of the plain archive so far. */
  get plainBytes(): number {
    return this.#plainBytes;
  }

  /** SHA-256 of the plain archive so far. */
  plainDigest(): Buffer {
    return this.#plainHash.copy().digest();
  }

  /** The bytes may be used again once {@link flush} has returned. */
  write(bytes: Uint8Array): void {
    this.#plainHash.update(bytes);
    this.#plainBytes += bytes.length;
    if (this.#age === undefined) this.#put(bytes);
    else this.#seal(this.#age, bytes);
    if (this.#pendingBytes >= flushBytes) this.flush();
  }

  flush(): void {
    if (this.#pendingBytes === 0) return;
    this.#file.write(this.#pending);
    if (this.#age !== undefined) for (const sealed of this.#pending) freeBytes(sealed);
    this.#pending = [];
    this.#pendingBytes = 0;
  }

  /** Writes what is left, durably. */
  finish(): { readonly sizeBytes: bigint; readonly sha256: string } {
    if (this.#age !== undefined) this.#sealChunk(this.#age, true);
    this.flush();
    this.#file.sync();
    return {
      sizeBytes: BigInt(this.#fileBytes),
      sha256: (this.#fileHash ?? this.#plainHash).digest("hex"),
    };
  }

  #seal(age: AgeStart, bytes: Uint8Array): void {
    let rest = bytes;
    while (rest.length > 0) {
      // A full chunk waits for more to come, since the last one is sealed as such.
      if (this.#chunkUsed === ageChunkBytes) this.#sealChunk(age, false);
      const taken = rest.subarray(0, ageChunkBytes - this.#chunkUsed);
      this.#chunk.set(taken, this.#chunkUsed);
      this.#chunkUsed += taken.length;
      rest = rest.subarray(taken.length);
    }
  }

  #sealChunk(age: AgeStart, isLast: boolean): void {
    const plain = this.#chunk.subarray(0, this.#chunkUsed);
    for (const sealed of sealChunk(age.key, this.#chunkIndex, isLast, plain)) this.#put(sealed);
    this.#chunkIndex += 1;
    this.#chunkUsed = 0;
  }

  #put(bytes: Uint8Array): void {
    this.#fileHash?.update(bytes);
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    this.#fileBytes += bytes.length;
  }
}
