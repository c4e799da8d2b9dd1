import { invalidField } from "../errors.ts";
import type { UploadFileRequest, UploadFileRequest_Header } from "../gen/collector/files_pb.ts";

/** An upload whose header has come and whose content follows. Disposing it gives up what was not read. */
export interface UploadParts extends AsyncDisposable {
  readonly header: UploadFileRequest_Header;
  /** Is iterated once. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/**
 * Takes the header off the messages of an upload. They are read until `signal` fires, whether or not
 * they end then.
 *
 * @throws {CollectorError} ARGUMENT_MISSING, ARGUMENT_INVALID for messages in another order; the
 * reason of `signal`
 */
export async function readUpload(
  messages: AsyncIterable<UploadFileRequest>,
  signal: AbortSignal,
): Promise<UploadParts> {
  const iterator = untilAborted(messages, signal)[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done === true || first.value.part.case !== "header") {
    await iterator.return(undefined);
    throw invalidField("ARGUMENT_MISSING", "header", "has to come in the first message");
  }
  return {
    header: first.value.part.value,
    chunks: chunksOf({ [Symbol.asyncIterator]: () => iterator }),
    [Symbol.asyncDispose]: async () => {
      await iterator.return(undefined);
    },
  };
}

async function* chunksOf(messages: AsyncIterable<UploadFileRequest>): AsyncIterable<Uint8Array> {
  for await (const { part } of messages) {
    if (part.case !== "chunk") {
      const field = part.case ?? "chunk";
      throw invalidField("ARGUMENT_INVALID", field, "only chunks follow the first message");
    }
    yield part.value;
  }
}

/** Gives up waiting when `signal` fires: what feeds the stream may never hear of it. */
async function* untilAborted<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = items[Symbol.asyncIterator]();
  let isDone = false;
  try {
    for (;;) {
      const result = await nextUntilAborted(iterator, signal);
      if (result.done === true) {
        isDone = true;
        return;
      }
      yield result.value;
    }
  } finally {
    // Not awaited: it would wait for the message that does not come.
    if (!isDone) iterator.return?.().catch(() => undefined);
  }
}

/** A promise of its own for each item: one that outlives them, in a race, would keep them all. */
function nextUntilAborted<T>(
  iterator: AsyncIterator<T>,
  signal: AbortSignal,
): Promise<IteratorResult<T>> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      reject(signal.reason);
    };
    if (signal.aborted) {
      abort();
      return;
    }
    signal.addEventListener("abort", abort, { once: true });
    iterator
      .next()
      .then(resolve, reject)
      .finally(() => {
        signal.removeEventListener("abort", abort);
      });
  });
}
