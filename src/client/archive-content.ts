import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { Code } from "@connectrpc/connect";
import { ClientError } from "./client-error.ts";
import { cancelled, type LongCallOptions } from "./long-call.ts";

/** An archive that is to be sent: the path of a file, or its bytes as they come, once. */
export type ArchiveInput = string | AsyncIterable<Uint8Array>;

/** The bytes of an archive, from where a server has it. */
export interface ArchiveContent {
  /** Undefined if it shows only at the end. */
  readonly sizeBytes: number | undefined;
  /** Empty if it is not known before. */
  readonly sha256: Uint8Array;
  /** In pieces of at most {@link chunkBytes}. One reader at a time. */
  from(offset: number): AsyncIterable<Uint8Array>;
}

/** Largest chunk that is sent. */
export const chunkBytes: number = 1024 * 1024;

/** What is held of a pipe, to be sent again: more than what can be on its way. */
const heldBytesMax = 32 * 1024 * 1024;

/**
 * @param needsSha256 a file is read once more for it, before it is sent
 * @throws {ClientError} ARCHIVE_INVALID if there is nothing in it; errors of the file system
 */
export async function openContent(
  input: ArchiveInput,
  needsSha256: boolean,
  options: LongCallOptions,
): Promise<ArchiveContent> {
  if (typeof input !== "string") return await PipedContent.open(input, options.signal);
  const { size: sizeBytes } = await stat(input);
  if (sizeBytes === 0) throw noArchive("the file is empty");
  const sha256 = needsSha256 ? await sha256Of(input, sizeBytes, options) : new Uint8Array();
  return { sizeBytes, sha256, from: (offset) => read(input, offset) };
}

/** What comes out of a pipe cannot be read again: the last of it is held, for a connection that breaks. */
class PipedContent implements ArchiveContent {
  readonly sizeBytes = undefined;
  readonly sha256: Uint8Array = new Uint8Array();
  readonly #input: AsyncIterator<Uint8Array>;
  /** In order; the first begins at `#heldFrom`. */
  readonly #held: Uint8Array[] = [];
  #heldFrom = 0;
  #readBytes = 0;
  #isAtEnd = false;
  /** A reader that was left may still wait for it. */
  #reading: Promise<void> | undefined;

  private constructor(input: AsyncIterable<Uint8Array>) {
    this.#input = input[Symbol.asyncIterator]();
  }

  /** Waits for the first bytes: who makes them may ask for a password before. */
  static async open(
    input: AsyncIterable<Uint8Array>,
    signal: AbortSignal | undefined,
  ): Promise<PipedContent> {
    const content = new PipedContent(input);
    while (content.#readBytes === 0 && !content.#isAtEnd) {
      await orCancelled(content.#more(), signal);
    }
    if (content.#readBytes > 0) return content;
    throw noArchive("nothing came to be read");
  }

  async *from(offset: number): AsyncIterable<Uint8Array> {
    for (let position = offset; ; ) {
      const chunk = this.#at(position);
      if (chunk !== undefined) {
        yield chunk;
        position += chunk.byteLength;
      } else if (this.#isAtEnd) {
        return;
      } else {
        await this.#more();
      }
    }
  }

  /** What is held from there on, as far as it lies together. @throws {ClientError} TRANSFER_NOT_FOUND */
  #at(position: number): Uint8Array | undefined {
    let start = this.#heldFrom;
    if (position < start) {
      const text = `the connection broke, and the server has ${position} bytes of an archive that is held from byte ${start} on; send it anew`;
      throw new ClientError("TRANSFER_NOT_FOUND", text, { code: Code.Aborted });
    }
    for (const chunk of this.#held) {
      const end = start + chunk.byteLength;
      if (position < end) return chunk.subarray(position - start, position - start + chunkBytes);
      start = end;
    }
    return undefined;
  }

  async #more(): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    await this.#reading;
  }

  async #read(): Promise<void> {
    if (this.#isAtEnd) return;
    const result = await this.#input.next();
    if (result.done === true) {
      this.#isAtEnd = true;
      return;
    }
    this.#held.push(result.value);
    this.#readBytes += result.value.byteLength;
    for (let [first] = this.#held; first !== undefined; [first] = this.#held) {
      if (this.#readBytes - this.#heldFrom - first.byteLength < heldBytesMax) break;
      this.#held.shift();
      this.#heldFrom += first.byteLength;
    }
  }
}

function noArchive(why: string): ClientError {
  const code = Code.InvalidArgument;
  return new ClientError("ARCHIVE_INVALID", `there is no archive: ${why}`, { code });
}

async function* read(path: string, start: number): AsyncIterable<Uint8Array> {
  const stream: AsyncIterable<Uint8Array> = createReadStream(path, {
    start,
    highWaterMark: chunkBytes,
  });
  yield* stream;
}

async function sha256Of(
  path: string,
  size: number,
  { signal, onProgress }: LongCallOptions,
): Promise<Uint8Array> {
  const hash = createHash("sha256");
  let done = 0n;
  for await (const chunk of read(path, 0)) {
    if (signal?.aborted === true) throw cancelled(signal.reason);
    hash.update(chunk);
    done += BigInt(chunk.byteLength);
    onProgress?.({ operation: "", phase: "reading", done, total: BigInt(size) });
  }
  return hash.digest();
}

async function orCancelled<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  const { promise, reject } = Promise.withResolvers<never>();
  const cancel = (): void => reject(cancelled(signal.reason));
  if (signal.aborted) cancel();
  signal.addEventListener("abort", cancel, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}
