import { invalidField } from "../errors.ts";
import type { UploadFileRequest, UploadFileRequest_Header } from "../gen/collector/files_pb.ts";
import { untilAborted } from "../lib/until-aborted.ts";

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
  const iterator = untilAborted(messages, signal);
  const first = await iterator.next();
  if (first.done === true || first.value.part.case !== "header") {
    await iterator.return();
    throw invalidField("ARGUMENT_MISSING", "header", "has to come in the first message");
  }
  return {
    header: first.value.part.value,
    chunks: chunksOf({ [Symbol.asyncIterator]: () => iterator }),
    [Symbol.asyncDispose]: async () => {
      await iterator.return();
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
