import { createHash, type Hash } from "node:crypto";
import { type FileHandle, rm } from "node:fs/promises";
import { CollectorError } from "../../../errors.ts";
import type { FileUpload } from "../../store-files.ts";
import type { StoreGate } from "../store-gate.ts";
import { diskFull, translateError } from "../translate-error.ts";
import type { DiskReserve } from "../writer/disk-reserve.ts";
import type { ContentFolder } from "./content-folder.ts";

/** What is kept in memory before it is written: chunks may be of a few bytes. */
const writeBytes = 256 * 1024;

export interface ContentUploadOptions {
  readonly content: ContentFolder;
  readonly path: string;
  readonly handle: FileHandle;
  readonly gate: StoreGate;
  readonly reserve: DiskReserve;
  /** Told that content has lost its pin without getting a name. */
  readonly onUnused: (sha256: string) => void;
}

/**
 * Content on its way into a store. It is hashed as it comes, on the event loop: a chunk of 1 MiB,
 * the largest there is, takes about a millisecond.
 */
export class ContentUpload implements FileUpload {
  readonly #options: ContentUploadOptions;
  readonly #hash: Hash = createHash("sha256");
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #sizeBytes = 0n;
  #sha256: string | undefined;
  #pin: Disposable | undefined;
  #isAdopted = false;
  #isNamed = false;
  #isClosed = false;

  constructor(options: ContentUploadOptions) {
    this.#options = options;
  }

  get sizeBytes(): bigint {
    return this.#sizeBytes;
  }

  /** @throws {CollectorError} INTERNAL before {@link finish} */
  get sha256(): string {
    if (this.#sha256 !== undefined) return this.#sha256;
    throw new CollectorError("INTERNAL", "an upload that is not finished was put");
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (chunk.byteLength === 0) return;
    this.#hash.update(chunk);
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.byteLength;
    this.#sizeBytes += BigInt(chunk.byteLength);
    if (this.#waitingBytes >= writeBytes) await this.#flush();
  }

  async finish(): Promise<string> {
    await this.#flush();
    try {
      const { handle, content } = this.#options;
      await handle.sync();
      await this.#close();
      const sha256 = this.#hash.digest("hex");
      this.#pin = content.pin(sha256);
      this.#sha256 = sha256;
      return sha256;
    } catch (error) {
      throw translateError(error);
    }
  }

  /** Gives the content its place in the store, durably; a name has to follow. */
  async adopt(): Promise<void> {
    const { content, path, reserve } = this.#options;
    try {
      if (reserve.low) throw diskFull();
      await content.adopt(path, this.sha256, this.#sizeBytes);
      this.#isAdopted = true;
    } catch (error) {
      throw translateError(error);
    }
  }

  /** The content has a name, or may have one: it is not to be removed. */
  noteNamed(): void {
    this.#isNamed = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#waiting = [];
    this.#pin?.[Symbol.dispose]();
    try {
      await this.#close();
      if (!this.#isAdopted) await rm(this.#options.path, { force: true });
    } catch (error) {
      throw translateError(error);
    } finally {
      if (this.#isAdopted && !this.#isNamed) this.#options.onUnused(this.sha256);
    }
  }

  async #flush(): Promise<void> {
    let chunks = this.#waiting;
    let left = this.#waitingBytes;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#options.gate.check();
    try {
      if (this.#options.reserve.low) throw diskFull();
      while (left > 0) {
        const { bytesWritten } = await this.#options.handle.writev(chunks);
        left -= bytesWritten;
        if (left > 0) chunks = behind(chunks, bytesWritten);
      }
    } catch (error) {
      throw translateError(error);
    }
  }

  async #close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#options.handle.close();
  }
}

/** What is left of the chunks behind their first bytes. */
function behind(chunks: readonly Uint8Array[], bytes: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let skip = bytes;
  for (const chunk of chunks) {
    if (skip < chunk.byteLength) rest.push(chunk.subarray(skip));
    skip = Math.max(0, skip - chunk.byteLength);
  }
  return rest;
}
