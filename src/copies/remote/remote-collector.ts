import type { DescribeCopyResponse, GetTransferResponse } from "../../gen/collector/backups_pb.ts";
import type {
  PullCollectionChunk_Metadata,
  PushCollectionResponse,
} from "../../gen/collector/collection_repo_pb.ts";
import type { CopyRun } from "../copy-parts.ts";
import type { ArchiveChunk, ChunkRoom } from "../transfers/archive-chunks.ts";
import type { PullRequest } from "../transfers/outgoing-transfers.ts";
import type { PushMetadata } from "../transfers/transfer-requests.ts";

/** A collection as it is named. */
export interface CollectionPlace {
  readonly namespace: string;
  readonly name: string;
}

/** An archive on its way from another collector. Disposing it stops the way, not the transfer. */
export interface PulledArchive extends AsyncDisposable {
  readonly metadata: PullCollectionChunk_Metadata;
  /** @throws as the methods of {@link RemoteCollector} */
  readonly chunks: AsyncIterable<ArchiveChunk>;
}

/**
 * Another collector, with which archives are exchanged.
 *
 * What it refuses comes as a CollectorError with its reason, as far as that is known here; its message
 * begins with the endpoint, and `endpoint` in its subject says the same. A connection that cannot be made
 * or breaks is PEER_UNAVAILABLE, a collector that is too old for transfers METHOD_UNIMPLEMENTED.
 */
export interface RemoteCollector extends AsyncDisposable {
  /** As in `http://127.0.0.1:50051`. */
  readonly endpoint: string;
  describeCopy(place: CollectionPlace, signal: AbortSignal): Promise<DescribeCopyResponse>;
  getTransfer(transferId: string, signal: AbortSignal): Promise<GetTransferResponse>;
  abandonTransfer(transferId: string, signal: AbortSignal): Promise<void>;
  /** What `push` needs around the bytes of each chunk. */
  readonly chunkRoom: ChunkRoom;
  /** Sends chunks from `metadata.offset` on, and waits for the collection. */
  push(
    metadata: Partial<PushMetadata>,
    chunks: AsyncIterable<ArchiveChunk>,
    signal: AbortSignal,
  ): Promise<PushCollectionResponse>;
  /** Reports what the other one does until the archive begins to come. */
  pull(request: Partial<PullRequest>, run: CopyRun): Promise<PulledArchive>;
}

/** The collectors that can be reached from here. */
export interface RemoteCollectors {
  /**
   * Nothing is dialled yet.
   *
   * @param field of the request that names the endpoint
   * @throws {CollectorError} PEER_DENIED
   */
  reach(endpoint: string, field: string): RemoteCollector;
}

/** A copy that is to be made between this collector and another one. */
export interface RemoteCopyRequest {
  /** As the caller names it. */
  readonly endpoint: string;
  readonly source: CollectionPlace;
  readonly dest: CollectionPlace;
  readonly includeFiles: boolean;
  /** Brings an earlier copy of the same source up to date. */
  readonly refresh: boolean;
}

export interface RemoteCopyResult {
  readonly collectionId: string;
  readonly recordCount: bigint;
  readonly fileCount: bigint;
  /** Of the archive that was moved. */
  readonly bytes: bigint;
  /** Only what had changed was moved. */
  readonly isIncremental: boolean;
  /** How long the bytes took from one side to the other, in ms. */
  readonly transferMs: number;
}
