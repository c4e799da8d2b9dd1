import { CollectorError } from "../../../errors.ts";
import type { BuildProgress, Write, WriteOutcome } from "../../record-store.ts";
import type { TaskAnswer, WriterTask } from "./messages.ts";
import { writeBytes } from "./write-codec.ts";
import { WriterHandle, type WriterHandleOptions } from "./writer-handle.ts";

export interface WriterPoolOptions extends WriterHandleOptions {
  readonly threads: number;
}

/** When a caller may try again whose write found the queue full, in ms. */
const queueRetryMs = 100;

/** Writes of all stores, spread over a few threads; a store is always with the same one. */
export class WriterPool {
  readonly #handles: readonly WriterHandle[];
  readonly #writesMax: number;
  readonly #bytesMax: number;
  readonly #waiting = new Map<string, number>();
  #waitingBytes = 0;

  constructor(options: WriterPoolOptions) {
    const { writeQueueMax, receiveBufferBytesMax } = options.writer.limits;
    this.#writesMax = writeQueueMax;
    this.#bytesMax = receiveBufferBytesMax;
    this.#handles = Array.from({ length: options.threads }, () => new WriterHandle(options));
  }

  /** @throws {CollectorError} OVERLOADED if too many writes wait; nothing was written then. */
  async write(storeKey: string, write: Write, nowUs: bigint): Promise<WriteOutcome> {
    const waiting = this.#waiting.get(storeKey) ?? 0;
    const bytes = writeBytes(write);
    if (waiting >= this.#writesMax) throw overloaded(`${waiting} writes`, `${this.#writesMax}`);
    if (this.#waitingBytes + bytes > this.#bytesMax && this.#waitingBytes > 0) {
      throw overloaded(`${this.#waitingBytes} bytes`, `${this.#bytesMax}`);
    }
    this.#waiting.set(storeKey, waiting + 1);
    this.#waitingBytes += bytes;
    try {
      return await this.#handleOf(storeKey).write(storeKey, write, nowUs);
    } finally {
      this.#waitingBytes -= bytes;
      const left = (this.#waiting.get(storeKey) ?? 1) - 1;
      if (left === 0) this.#waiting.delete(storeKey);
      else this.#waiting.set(storeKey, left);
    }
  }

  /** Runs a task on the thread of a store, after the store's writes so far. */
  run<Task extends WriterTask>(
    storeKey: string,
    task: Task,
    options: {
      readonly signal?: AbortSignal | undefined;
      readonly onProgress?: ((progress: BuildProgress) => void) | undefined;
    } = {},
  ): Promise<TaskAnswer<Task>> {
    return this.#handleOf(storeKey).run(task, options);
  }

  async close(): Promise<void> {
    await Promise.all(this.#handles.map((handle) => handle.close()));
  }

  #handleOf(storeKey: string): WriterHandle {
    let hash = 0;
    for (let at = 0; at < storeKey.length; at++) hash = (hash * 31 + storeKey.charCodeAt(at)) | 0;
    const handle = this.#handles[Math.abs(hash) % this.#handles.length];
    if (handle === undefined) throw new Error("a writer pool has at least one thread");
    return handle;
  }
}

function overloaded(seen: string, limit: string): CollectorError {
  return new CollectorError(
    "OVERLOADED",
    `${seen} wait to be written, the limit is ${limit}; try again`,
    { retryAfterMs: queueRetryMs },
  );
}
