import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { CollectionCatalog } from "../../collections/catalog.ts";
import { CollectorError } from "../../errors.ts";
import type { CopyState, PushCollectionResponse } from "../../gen/collector/collection_repo_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import { destinationTaken } from "../copy-destination.ts";
import type { CopyRun } from "../copy-parts.ts";
import type { ArchiveChunk } from "../transfers/archive-chunks.ts";
import type { Transfers } from "../transfers/open-transfers.ts";
import type { OutgoingArchive } from "../transfers/outgoing-archive.ts";
import type { PushMetadata } from "../transfers/transfer-requests.ts";
import { Attempts } from "./attempts.ts";
import { sayFarewell } from "./farewell.ts";
import type { RemoteCollector, RemoteCopyRequest, RemoteCopyResult } from "./remote-collector.ts";

/** How often the other side is asked whether all has arrived, in ms. */
const arrivalCheckMs = 20;

export interface PushedCopyOptions {
  readonly remote: RemoteCollector;
  readonly catalog: Pick<CollectionCatalog, "get">;
  readonly transfers: Pick<Transfers, "stager" | "slots">;
  readonly limits: Pick<Limits, "streamIdleMs">;
  readonly log: Log;
}

interface Sent {
  readonly response: PushCollectionResponse;
  readonly transferMs: number;
}

/** Copies a collection of this collector to another one. */
export class PushedCopy {
  readonly #options: PushedCopyOptions;

  constructor(options: PushedCopyOptions) {
    this.#options = options;
  }

  /** @throws {CollectorError} as `RemoteCopies.clone`; BASE_UNUSABLE if only what changed was sent */
  async make(
    request: RemoteCopyRequest,
    mayBeDelta: boolean,
    run: CopyRun,
  ): Promise<RemoteCopyResult> {
    const { catalog, transfers, remote, log } = this.#options;
    const { source, includeFiles } = request;
    const { collectionId } = catalog.get(source);
    using _slot = transfers.slots.take();
    // Before all the work: whether the other one can be reached, is new enough and has a place for it.
    const state = await this.#ask(request, collectionId, run.signal);
    const have = mayBeDelta ? state : undefined;
    await using archive = await transfers.stager.collection({ ...source, includeFiles, have }, run);
    const { facts } = archive;
    const transferId = randomUUID();
    try {
      const metadata = metadataOf(request, archive, transferId);
      const { response, transferMs } = await this.#send(archive, metadata, run);
      return {
        collectionId: response.collectionId,
        recordCount: response.recordsCloned,
        fileCount: response.filesCloned,
        bytes: facts.sizeBytes,
        isIncremental: facts.base !== undefined,
        transferMs,
      };
    } finally {
      await sayFarewell(remote, transferId, log);
    }
  }

  /** What the other side has already. @throws {CollectorError} COLLECTION_EXISTS */
  async #ask(
    { dest, refresh }: RemoteCopyRequest,
    collectionId: string,
    signal: AbortSignal,
  ): Promise<CopyState | undefined> {
    const { remote } = this.#options;
    // Tried once: who names a server that is down hears of it at once.
    const { exists, sourceCollectionId, state } = await remote.describeCopy(dest, signal);
    if (!exists) return undefined;
    const isOther = sourceCollectionId !== "" && sourceCollectionId !== collectionId;
    if (!refresh || isOther)
      throw destinationTaken(dest, refresh ? "no copy" : "collection", remote.endpoint);
    return state;
  }

  async #send(archive: OutgoingArchive, metadata: Metadata, run: CopyRun): Promise<Sent> {
    const { remote } = this.#options;
    const { signal } = run;
    const attempts = new Attempts(signal);
    let offset = 0n;
    let mustAsk = false;
    let transferMs = 0;
    for (;;) {
      const beganMs = performance.now();
      try {
        if (mustAsk) {
          const { receivedBytes, response } = await received(remote, metadata.transferId, signal);
          if (response !== undefined) return { response, transferMs };
          if (receivedBytes > offset) attempts.noteProgress();
          offset = receivedBytes;
        }
        const { response, arrivedMs } = await this.#push(archive, { ...metadata, offset }, run);
        return { response, transferMs: transferMs + arrivedMs - beganMs };
      } catch (error) {
        transferMs += performance.now() - beganMs;
        // Also if all had left: what of it has arrived is not known.
        run.report({ phase: "sending" });
        await attempts.afterFailure(error);
        mustAsk = true;
      }
    }
  }

  /** One try, from an offset on. */
  async #push(archive: OutgoingArchive, metadata: Metadata, run: CopyRun): Promise<Pushed> {
    const { remote, limits } = this.#options;
    const { streamIdleMs } = limits;
    const stall = new AbortController();
    const over = new AbortController();
    const signal = AbortSignal.any([run.signal, stall.signal]);
    const sending: Sending = { doneBytes: metadata.offset, isAll: false };
    let marked = -1n;
    const watch = setInterval(() => {
      if (!sending.isAll && sending.doneBytes === marked) {
        const text = `${remote.endpoint} has taken nothing for ${streamIdleMs} ms, the limit (streamIdleMs)`;
        stall.abort(new CollectorError("PEER_UNAVAILABLE", text));
      }
      marked = sending.doneBytes;
    }, streamIdleMs).unref();
    let arrived: Promise<number | undefined> = Promise.resolve(undefined);
    const onAll = (): void => {
      arrived = whenArrived(remote, metadata, AbortSignal.any([signal, over.signal]));
    };
    try {
      const chunks = counted(
        archive.chunks(metadata.offset, signal, remote.chunkRoom),
        sending,
        metadata,
        run,
        onAll,
      );
      const response = await remote.push(metadata, chunks, signal);
      over.abort();
      return { response, arrivedMs: (await arrived) ?? performance.now() };
    } finally {
      over.abort();
      clearInterval(watch);
    }
  }
}

type Metadata = Omit<PushMetadata, "overwrite">;

interface Pushed {
  readonly response: PushCollectionResponse;
  /** When all had arrived, on the clock of `performance.now()`. */
  readonly arrivedMs: number;
}

interface Sending {
  doneBytes: bigint;
  isAll: boolean;
}

async function* counted(
  chunks: AsyncIterable<ArchiveChunk>,
  sending: Sending,
  { totalSize: total }: Metadata,
  run: CopyRun,
  onAll: () => void,
): AsyncGenerator<ArchiveChunk, undefined> {
  for await (const chunk of chunks) {
    yield chunk;
    sending.doneBytes += BigInt(chunk.bytes.length);
    run.report({ phase: "sending", done: sending.doneBytes, total });
  }
  sending.isAll = true;
  run.report({ phase: "verifying" });
  onAll();
}

/** What has arrived of a transfer; nothing if the other side does not know it. */
async function received(
  remote: RemoteCollector,
  transferId: string,
  signal: AbortSignal,
): Promise<{ receivedBytes: bigint; response?: PushCollectionResponse | undefined }> {
  try {
    return await remote.getTransfer(transferId, signal);
  } catch (error) {
    if (!(error instanceof CollectorError) || error.reason !== "TRANSFER_NOT_FOUND") throw error;
    return { receivedBytes: 0n };
  }
}

/**
 * Some of what was sent is still on its way when the sender is done.
 *
 * @returns when all was there, on the clock of `performance.now()`; undefined if that is not known
 */
async function whenArrived(
  remote: RemoteCollector,
  { transferId, totalSize }: Metadata,
  signal: AbortSignal,
): Promise<number | undefined> {
  try {
    for (;;) {
      const { receivedBytes } = await remote.getTransfer(transferId, signal);
      if (receivedBytes >= totalSize) return performance.now();
      await sleep(arrivalCheckMs, undefined, { signal });
    }
  } catch {
    // It is only about how long it took: whether it came is what the push itself answers.
    return undefined;
  }
}

function metadataOf(
  { source, dest, includeFiles, refresh }: RemoteCopyRequest,
  { facts }: OutgoingArchive,
  transferId: string,
): Metadata {
  const { collection, base, sizeBytes, sha256, recordCount, fileCount, formatVersion } = facts;
  return {
    sourceCollection: { $typeName: "collector.NamespacedName", ...source },
    destNamespace: dest.namespace,
    destName: dest.name,
    includeFiles,
    totalSize: sizeBytes,
    sizeUnknown: false,
    verifyOnly: false,
    keepAsBackup: false,
    messageType: collection?.messageType,
    recordCount,
    fileCount,
    transferId,
    offset: 0n,
    formatVersion,
    sha256: new Uint8Array(Buffer.from(sha256, "hex")),
    baseRevision: base?.revision ?? 0n,
    baseIncarnation: base?.incarnation ?? "",
    refresh,
  };
}
