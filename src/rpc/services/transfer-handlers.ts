import type { CopyRun } from "../../copies/copy-parts.ts";
import type { ArchiveChunk } from "../../copies/transfers/archive-chunks.ts";
import type { Transfers as ArchiveTransfers } from "../../copies/transfers/open-transfers.ts";
import type { ArchiveFacts } from "../../copies/transfers/outgoing-archive.ts";
import type { OutgoingStream } from "../../copies/transfers/outgoing-transfers.ts";
import { invalidField } from "../../errors.ts";
import type { Transfers } from "../../gen/collector/backups_pb.ts";
import type {
  CollectionRepo,
  PushCollectionRequest,
  PushCollectionRequest_Metadata,
} from "../../gen/collector/collection_repo_pb.ts";
import { untilAborted } from "../../lib/until-aborted.ts";
import type { ServiceHandlers } from "../call.ts";
import { contractStatus } from "../contract-status.ts";
import { giveBytesBack } from "../lent-bytes.ts";
import { chunkRoom, pullChunk } from "./chunk-messages.ts";
import { reportedWork } from "./reported-work.ts";

/** The methods of `collector.CollectionRepo` by which archives travel. */
export function transferHandlers(
  transfers: ArchiveTransfers,
): Pick<ServiceHandlers<typeof CollectionRepo>, "pushCollection" | "pullCollection"> {
  return {
    async pushCollection(messages, { namespace, signal }) {
      await using push = await readPush(messages, signal);
      return await transfers.incoming.receive(push.metadata, namespace, push.chunks, signal);
    },

    async *pullCollection(request, { signal }) {
      const open = (report: CopyRun["report"]): Promise<OutgoingStream> =>
        transfers.outgoing.open(request, chunkRoom, { signal, report });
      using stream = request.reportProgress
        ? yield* reportedWork(open)
        : await open(() => undefined);
      const { transferId, offset, facts } = stream;
      const metadata = { ...metadataOf(facts), transferId, offset };
      yield { data: { case: "metadata", value: metadata } };
      for await (const chunk of stream.chunks) yield pullChunk(chunk);
    },
  };
}

/** `collector.Transfers`. */
export function transferService(transfers: ArchiveTransfers): ServiceHandlers<typeof Transfers> {
  return {
    async getTransfer({ transferId }) {
      const { receivedBytes, response } = await transfers.incoming.get(transferId);
      if (response === undefined) return { receivedBytes };
      return { receivedBytes, response: { ...response, status: contractStatus(undefined) } };
    },

    async abandonTransfer({ transferId }) {
      await transfers.abandon(transferId);
      return {};
    },

    async describeCopy({ collection }) {
      return await transfers.describeCopy(collection);
    },
  };
}

function metadataOf({ collection, sha256, base, ...facts }: ArchiveFacts) {
  const { sizeBytes: totalSize, recordCount, fileCount, formatVersion } = facts;
  return {
    collectionId: collection?.collectionId ?? "",
    totalSize,
    recordCount,
    fileCount,
    formatVersion,
    sha256: new Uint8Array(Buffer.from(sha256, "hex")),
    incremental: base !== undefined,
    ...(collection === undefined ? {} : { collection }),
  };
}

/** A push whose metadata have come and whose chunks follow. Disposing it gives up what was not read. */
interface PushParts extends AsyncDisposable {
  readonly metadata: PushCollectionRequest_Metadata;
  readonly chunks: AsyncIterable<ArchiveChunk>;
}

/** @throws {CollectorError} ARGUMENT_MISSING, ARGUMENT_INVALID; the reason of `signal` */
async function readPush(
  messages: AsyncIterable<PushCollectionRequest>,
  signal: AbortSignal,
): Promise<PushParts> {
  const iterator = untilAborted(messages, signal);
  const first = await iterator.next();
  if (first.done === true || first.value.data.case !== "metadata") {
    await iterator.return();
    throw invalidField("ARGUMENT_MISSING", "metadata", "has to come in the first message");
  }
  return {
    metadata: first.value.data.value,
    chunks: chunksOf({ [Symbol.asyncIterator]: () => iterator }),
    [Symbol.asyncDispose]: async () => {
      await iterator.return();
    },
  };
}

async function* chunksOf(
  messages: AsyncIterable<PushCollectionRequest>,
): AsyncGenerator<ArchiveChunk, undefined> {
  for await (const message of messages) {
    const { data, chunkCrc32, finalSize } = message;
    if (data.case === undefined && finalSize !== undefined) {
      yield { bytes: new Uint8Array(), crc32: undefined, finalBytes: finalSize };
      continue;
    }
    if (data.case !== "chunk") {
      const field = data.case ?? "chunk";
      throw invalidField("ARGUMENT_INVALID", field, "only chunks follow the first message");
    }
    yield { bytes: data.value, crc32: chunkCrc32, giveBack: () => giveBytesBack(message) };
  }
}
