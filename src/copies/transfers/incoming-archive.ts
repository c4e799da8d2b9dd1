import { type FileHandle, open, rm } from "node:fs/promises";
import { checkRoom, roomCheckBytes } from "../../archive/disk-room.ts";
import { translateFileError } from "../../archive/file-failure.ts";
import { CollectorError, invalidField } from "../../errors.ts";
import { untilAborted } from "../../lib/until-aborted.ts";
import { type ArchiveChunk, checkChunk } from "./archive-chunks.ts";

/** A sender has to bring at least so much within the idle limit, whatever the size of its chunks. */
const progressBytesMin = 16 * 1024;

export interface IncomingArchiveOptions {
  /** Absolute; nothing is there yet. */
  readonly path: string;
  /** Undefined: told at the end, and at most `bytesMax`. */
  readonly sizeBytes: number | undefined;
  readonly bytesMax: number;
  /** Free space that is to be left on its disk. */
  readonly diskReserveBytes: number;
}

export interface ReceiveOptions {
  readonly signal: AbortSignal;
  /** How long the sender may bring next to nothing. */
  readonly idleMs: number;
  readonly onProgress: (progress: { done: bigint; total: bigint }) => void;
}

/**
 * An archive on its way in, in a file of its own that goes when this is disposed. What has arrived is in the
 * file, in order and without gaps, and not yet durable.
 */
export class IncomingArchive implements AsyncDisposable {
  readonly path: string;
  readonly #file: FileHandle;
  readonly #bytesMax: number;
  readonly #reserveBytes: number;
  #sizeBytes: number | undefined;
  #receivedBytes = 0;
  #checkedAtBytes = 0;
  /** The write under way; it never rejects. */
  #writing: Promise<void> = Promise.resolve();
  #failure: unknown;

  private constructor(file: FileHandle, options: IncomingArchiveOptions) {
    this.#file = file;
    this.path = options.path;
    this.#sizeBytes = options.sizeBytes;
    this.#bytesMax = options.bytesMax;
    this.#reserveBytes = options.diskReserveBytes;
  }

  /** @throws {CollectorError} DISK_FULL if there is no room for all of it, STORAGE_UNAVAILABLE */
  static async create(options: IncomingArchiveOptions): Promise<IncomingArchive> {
    try {
      await checkRoom(options.path, options.diskReserveBytes + (options.sizeBytes ?? 0));
      return new IncomingArchive(await open(options.path, "wx", 0o600), options);
    } catch (error) {
      throw translateFileError(error);
    }
  }

  /** Bytes that are in the file. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  get isComplete(): boolean {
    return this.#receivedBytes === this.#sizeBytes;
  }

  /**
   * Takes chunks from an offset on until they end, which is where all of it is there.
   *
   * One caller at a time. What came before a failure stays, to be gone on from.
   *
   * @throws {CollectorError} ARGUMENT_INVALID for an offset behind what has arrived, or what does not fit;
   * FILE_TOO_LARGE; CONTENT_MISMATCH if a chunk was changed or the chunks end too early; DISK_FULL, STORAGE_UNAVAILABLE;
   * DEADLINE_EXCEEDED; the reason of the signal
   */
  async receive(
    offset: bigint,
    chunks: AsyncIterable<ArchiveChunk>,
    { signal, idleMs, onProgress }: ReceiveOptions,
  ): Promise<void> {
    this.#rewind(offset);
    const idle = new AbortController();
    let marked = this.#receivedBytes;
    const watch = setInterval(() => {
      if (this.#receivedBytes - marked < progressBytesMin) idle.abort(tooSlow(idleMs));
      marked = this.#receivedBytes;
    }, idleMs).unref();
    try {
      const stop = AbortSignal.any([signal, idle.signal]);
      for await (const chunk of untilAborted(chunks, stop)) {
        await this.#add(chunk);
        onProgress({ done: BigInt(this.#receivedBytes), total: BigInt(this.#sizeBytes ?? 0) });
      }
    } finally {
      clearInterval(watch);
      await this.#writing;
    }
    if (this.#failure !== undefined) throw this.#failure;
    if (this.isComplete) return;
    throw tooFew(this.#receivedBytes, this.#sizeBytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing;
    await this.#file.close();
    await rm(this.path, { force: true });
  }

  /** Resolves when the chunk before this one is written: so one is written while the next one comes. */
  async #add(chunk: ArchiveChunk): Promise<void> {
    const { bytes, giveBack, finalBytes } = chunk;
    if (finalBytes === undefined) checkChunk(chunk);
    await this.#writing;
    if (this.#failure !== undefined) throw this.#failure;
    const position = this.#receivedBytes;
    if (finalBytes !== undefined) {
      this.#end(finalBytes);
      return;
    }
    this.#checkRoom(position + bytes.length);
    this.#writing = this.#write(bytes, position).then(giveBack, (error: unknown) => {
      this.#failure = translateFileError(error);
    });
  }

  async #write(bytes: Uint8Array, position: number): Promise<void> {
    if (position - this.#checkedAtBytes >= roomCheckBytes) {
      this.#checkedAtBytes = position;
      await checkRoom(this.path, this.#reserveBytes);
    }
    for (let done = 0; done < bytes.length; ) {
      const left = bytes.length - done;
      const { bytesWritten } = await this.#file.write(bytes, done, left, position + done);
      done += bytesWritten;
    }
    this.#receivedBytes = position + bytes.length;
  }

  /** @throws {CollectorError} ARGUMENT_INVALID, FILE_TOO_LARGE */
  #checkRoom(bytes: number): void {
    if (this.#sizeBytes !== undefined && bytes > this.#sizeBytes) {
      const description = `is ${this.#sizeBytes}, and more was sent`;
      throw invalidField("ARGUMENT_INVALID", "total_size", description);
    }
    if (bytes <= this.#bytesMax) return;
    const description = `the archive has more than ${this.#bytesMax} bytes, the limit archiveBytesMax`;
    throw invalidField("FILE_TOO_LARGE", "chunk", description);
  }

  #end(bytes: bigint): void {
    if (bytes < BigInt(this.#receivedBytes)) {
      const description = `is ${bytes}, and ${this.#receivedBytes} bytes have come`;
      throw invalidField("ARGUMENT_INVALID", "final_size", description);
    }
    if (bytes > BigInt(this.#receivedBytes)) throw tooFew(this.#receivedBytes, Number(bytes));
    this.#sizeBytes = this.#receivedBytes;
  }

  #rewind(offset: bigint): void {
    if (offset > BigInt(this.#receivedBytes)) {
      const description = `is ${offset}, and ${this.#receivedBytes} bytes have arrived`;
      throw invalidField("ARGUMENT_INVALID", "offset", description);
    }
    this.#receivedBytes = Number(offset);
    this.#checkedAtBytes = Math.min(this.#checkedAtBytes, this.#receivedBytes);
  }
}

/** @param expected undefined: nothing has said yet how many there are */
function tooFew(received: number, expected: number | undefined): CollectorError {
  const [field, instead] =
    expected === undefined
      ? ["final_size", ", and nothing said that those are all"]
      : ["total_size", ` instead of ${expected}`];
  return new CollectorError(
    "CONTENT_MISMATCH",
    `${field}: ${received} bytes came${instead}; send the rest`,
    { violations: [{ field, description: "is not what came" }] },
  );
}

function tooSlow(idleMs: number): CollectorError {
  return new CollectorError(
    "DEADLINE_EXCEEDED",
    `the sender brought less than ${progressBytesMin} bytes in ${idleMs} ms, the limit (streamIdleMs)`,
  );
}
