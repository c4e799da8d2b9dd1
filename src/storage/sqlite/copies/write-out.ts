import { constants, open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * What part of the memory that is free a file may take that waits for the disk. Linux begins to write by itself
 * at a tenth, and then without measure.
 */
const memoryShare = 12;

/** And how much at most: more is not written out in time without keeping the disk busy. */
const waitingBytesMax = 2 * 1024 ** 3;

/** So much is written out at a time: no other writer's sync waits for more of it. */
const stepBytes = 2 * 1024 * 1024;

export interface WriteOutTimes {
  /** How long nothing is written, in ms: most files are gone by then. */
  readonly afterMs: number;
  /** How long all of it takes then, in ms. */
  readonly overMs: number;
}

/**
 * Linux writes what has waited for 30 s at once, and at 1.3 GB syncs of other files were seen to wait for it for
 * 350 ms.
 */
const usualTimes: WriteOutTimes = { afterMs: 8_000, overMs: 16_000 };

/** Whether a file of this size that is removed again soon may wait for the disk. */
export function mayWaitForDisk(sizeBytes: bigint): boolean {
  return sizeBytes <= Math.min(process.availableMemory() / memoryShare, waitingBytesMax);
}

/**
 * Writes a complete file out to the disk if it is still there after a while, little by little, until this is
 * disposed. It stays as it is, and nobody else may write to it meanwhile.
 *
 * Disposing rejects with what the disk has failed with: the file may not be what it was then.
 */
export function writeOutLater(path: string, times: WriteOutTimes = usualTimes): AsyncDisposable {
  const over = new AbortController();
  const running = writeOut(path, times, over.signal);
  // Not before it is disposed.
  running.catch(() => undefined);
  return {
    async [Symbol.asyncDispose]() {
      over.abort();
      await running;
    },
  };
}

async function writeOut(
  path: string,
  { afterMs, overMs }: WriteOutTimes,
  signal: AbortSignal,
): Promise<void> {
  if (afterMs > 0 && !(await sleptFor(afterMs, signal))) return;
  // A sync of the file would be one of all of it. What is written to it like this is on the disk afterwards, and
  // nothing else of it has to be.
  await using file = await open(path, constants.O_RDWR | constants.O_DSYNC);
  const { size } = await file.stat();
  const step = Buffer.allocUnsafe(stepBytes);
  const beginMs = performance.now();
  for (let at = 0; at < size && !signal.aborted; at += stepBytes) {
    const { bytesRead } = await file.read(step, 0, stepBytes, at);
    await file.write(step, 0, bytesRead, at);
    const dueMs = beginMs + overMs * ((at + bytesRead) / size);
    if (!(await sleptFor(dueMs - performance.now(), signal))) return;
  }
}

/** @returns false if it was cut short */
async function sleptFor(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await sleep(Math.max(0, ms), undefined, { signal });
    return true;
  } catch {
    return false;
  }
}
