import { createHash, type Hash } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { freeBytes } from "../lib/free-bytes.ts";
import {
  ageChunkBytes,
  ageHeaderBytesMax,
  ageHeaderEnd,
  ageMagic,
  ageNonceBytes,
  ageTagBytes,
  openAge,
  openChunk,
} from "./age-envelope.ts";
import { errnoCode } from "./file-failure.ts";
import { archiveMagic, damaged, invalid } from "./format.ts";

const readBytes = 1024 * 1024;

/** The bytes that should come next are not there, or not those that were encrypted. */
export class DamagedInput extends Error {
  override readonly name = "DamagedInput";
  /** In the file. */
  readonly offset: number;

  constructor(offset: number, description: string) {
    super(description);
    this.offset = offset;
  }
}

interface AgePayload {
  readonly key: Buffer;
  /** Of the file, as far as it was opened. */
  readonly fileHash: Hash;
  /** Where it starts in the file. */
  readonly start: number;
  nextChunk: number;
}

/** Reads an archive from its start, through age if it is encrypted, and sums up what was read. */
export class ArchiveInput implements Disposable {
  readonly #fd: number;
  readonly #fileBytes: number;
  readonly #hash: Hash = createHash("sha256");
  #age: AgePayload | undefined;
  #filePosition = 0;
  #ready: Buffer = Buffer.allocUnsafe(3 * readBytes);
  #readyFrom = 0;
  #readyTo = 0;
  #offset = 0;

  private constructor(fd: number, fileBytes: number) {
    this.#fd = fd;
    this.#fileBytes = fileBytes;
  }

  /** @throws {CollectorError} ARCHIVE_INVALID, ARCHIVE_DAMAGED, KEY_UNAVAILABLE */
  static async open(path: string, identities: readonly string[]): Promise<ArchiveInput> {
    const fd = openForRead(path);
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile()) throw invalid("it is no file");
      const input = new ArchiveInput(fd, stat.size);
      await input.#begin(identities);
      return input;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** Bytes of the plain archive that were taken. */
  get offset(): number {
    return this.#offset;
  }

  /** SHA-256 of what was taken so far. */
  digest(): Buffer {
    return this.#hash.copy().digest();
  }

  /** SHA-256 of the file, once all of it was taken. */
  fileDigest(): Buffer {
    return this.#age === undefined ? this.digest() : this.#age.fileHash.copy().digest();
  }

  /** Where a byte of the plain archive is in the file; of an encrypted one, where its chunk starts. */
  fileOffset(offset: number): bigint {
    if (this.#age === undefined) return BigInt(offset);
    const chunk = Math.floor(offset / ageChunkBytes);
    return BigInt(this.#age.start + chunk * (ageChunkBytes + ageTagBytes));
  }

  /**
   * The next bytes. They stay as they are until the next call.
   *
   * @throws {DamagedInput}
   */
  take(length: number): Buffer {
    while (this.#readyTo - this.#readyFrom < length) {
      if (!this.#fill(length))
        throw new DamagedInput(this.#fileBytes, "the archive ends too early");
    }
    const bytes = this.#ready.subarray(this.#readyFrom, this.#readyFrom + length);
    this.#readyFrom += length;
    this.#offset += length;
    this.#hash.update(bytes);
    return bytes;
  }

  /** @throws {DamagedInput} */
  isAtEnd(): boolean {
    return this.#readyTo === this.#readyFrom && !this.#fill(1);
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  async #begin(identities: readonly string[]): Promise<void> {
    const start = this.#readAt(0, Math.max(archiveMagic.length, ageMagic.length));
    if (start.subarray(0, archiveMagic.length).equals(archiveMagic)) return;
    if (!start.equals(ageMagic)) throw invalid("it does not start as one");
    const bytes = this.#readAt(0, ageHeaderBytesMax);
    const end = ageHeaderEnd(bytes);
    if (end === undefined) throw damaged("its age header does not end");
    const nonce = this.#readAt(end, ageNonceBytes);
    if (nonce.length < ageNonceBytes) throw damaged("it ends after its age header");
    const key = await openAge(bytes.subarray(0, end), nonce, identities);
    const fileHash = createHash("sha256").update(bytes.subarray(0, end)).update(nonce);
    this.#age = { key, fileHash, start: end + ageNonceBytes, nextChunk: 0 };
    this.#filePosition = this.#age.start;
  }

  #fill(wanted: number): boolean {
    const waiting = this.#readyTo - this.#readyFrom;
    const room = Math.max(wanted, waiting) + readBytes + ageChunkBytes;
    if (this.#ready.length - this.#readyTo < readBytes + ageChunkBytes) {
      const target = room > this.#ready.length ? Buffer.allocUnsafe(room) : this.#ready;
      this.#ready.copy(target, 0, this.#readyFrom, this.#readyTo);
      this.#ready = target;
      this.#readyFrom = 0;
      this.#readyTo = waiting;
    }
    const added = this.#age === undefined ? this.#fillPlain() : this.#fillSealed(this.#age);
    this.#readyTo += added;
    return added > 0;
  }

  #fillPlain(): number {
    const added = readSync(this.#fd, this.#ready, this.#readyTo, readBytes, this.#filePosition);
    this.#filePosition += added;
    return added;
  }

  #fillSealed(age: AgePayload): number {
    if (this.#filePosition >= this.#fileBytes) {
      if (age.nextChunk === 0)
        throw new DamagedInput(this.#fileBytes, "the archive ends too early");
      return 0;
    }
    const sealedChunk = ageChunkBytes + ageTagBytes;
    const sealed = this.#readAt(this.#filePosition, 16 * sealedChunk);
    let added = 0;
    for (let from = 0; from < sealed.length; from += sealedChunk) {
      const chunk = sealed.subarray(from, from + sealedChunk);
      const offset = this.#filePosition + from;
      const isLast = offset + chunk.length >= this.#fileBytes;
      const plain = openChunk(age.key, age.nextChunk, isLast, chunk);
      if (plain === undefined || (plain.length === 0 && age.nextChunk > 0)) {
        // What came before it is good, and is read first.
        if (added > 0) break;
        throw new DamagedInput(offset, "the encrypted data was changed or cut");
      }
      age.fileHash.update(chunk);
      this.#ready.set(plain, this.#readyTo + added);
      added += plain.length;
      age.nextChunk += 1;
      freeBytes(plain);
    }
    freeBytes(sealed);
    this.#filePosition = age.start + age.nextChunk * sealedChunk;
    return added;
  }

  #readAt(position: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(length, this.#fileBytes - position)));
    let done = 0;
    while (done < bytes.length) {
      const added = readSync(this.#fd, bytes, done, bytes.length - done, position + done);
      if (added === 0) break;
      done += added;
    }
    return bytes.subarray(0, done);
  }
}

function openForRead(path: string): number {
  try {
    // Without waiting, should it be a pipe.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (errnoCode(error) === "ENOENT") throw damaged("its file is missing");
    throw error;
  }
}
