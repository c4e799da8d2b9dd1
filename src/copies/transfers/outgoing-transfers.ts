import { randomUUID } from "node:crypto";
import { CollectorError, invalidField } from "../../errors.ts";
import type { CopyState, PullCollectionRequest } from "../../gen/collector/collection_repo_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import type { TransferSlots } from "../../lib/transfer-slots.ts";
import type { CopyRun } from "../copy-parts.ts";
import type { ArchiveChunk, ChunkRoom } from "./archive-chunks.ts";
import type { ArchiveStager } from "./archive-stager.ts";
import { contentsMax } from "./copy-state.ts";
import type { ArchiveFacts, OutgoingArchive } from "./outgoing-archive.ts";
import { checkFormat, transferNotFound } from "./transfer-requests.ts";

export interface OutgoingTransfersOptions {
  readonly stager: ArchiveStager;
  readonly slots: TransferSlots;
  readonly limits: Pick<Limits, "transferIdleMs">;
  readonly log: Log;
}

export type PullRequest = Pick<
  PullCollectionRequest,
  | "sourceCollection"
  | "includeFiles"
  | "transferId"
  | "offset"
  | "formatVersion"
  | "have"
  | "backupId"
  | "incrementalBackup"
>;

/** An archive that is being sent. Disposing it leaves the transfer to be gone on with. */
export interface OutgoingStream extends Disposable {
  readonly transferId: string;
  readonly offset: bigint;
  readonly facts: ArchiveFacts;
  readonly chunks: AsyncIterable<ArchiveChunk>;
}

/** In which time a receiver comes back whose connection broke, in ms; ours tries for 20 s. */
const comesBackWithinMs = 30_000;

interface OutgoingTransfer {
  readonly id: string;
  readonly archive: OutgoingArchive;
  readonly slot: Disposable;
  /** Ends the stream that is under way. */
  stream: AbortController | undefined;
  /** All of it was sent once. */
  isSent: boolean;
  /** Since when nobody goes on with it, by the monotonic clock. */
  restsSinceMs: number;
  idle: NodeJS.Timeout | undefined;
}

/** The archives that others are fetching from here, each until it is given up or nobody asks for it. */
export class OutgoingTransfers implements AsyncDisposable {
  readonly #options: OutgoingTransfersOptions;
  /** By id, in the order in which they were begun. */
  readonly #transfers = new Map<string, OutgoingTransfer>();
  #isClosed = false;

  constructor(options: OutgoingTransfersOptions) {
    this.#options = options;
  }

  /**
   * Begins to send an archive of this moment, or goes on with one.
   *
   * @param room that is left around the bytes of chunks
   * @throws {CollectorError} ARGUMENT_MISSING, ARGUMENT_INVALID, TRANSFER_NOT_FOUND, ARCHIVE_TOO_NEW,
   * OVERLOADED, and what {@link ArchiveStager} throws
   */
  async open(request: PullRequest, room: ChunkRoom, run: CopyRun): Promise<OutgoingStream> {
    const { transferId, offset } = request;
    // Whether the archive is for this reader is known when it is there.
    checkFormat(request.formatVersion, 1);
    const isNew = transferId === "";
    if (offset < 0n || (isNew && offset > 0n)) {
      const description = isNew ? "needs the transfer_id that it is of" : "is negative";
      throw invalidField("ARGUMENT_INVALID", "offset", description);
    }
    const transfer = isNew ? await this.#begin(request, run) : this.#transfers.get(transferId);
    if (transfer === undefined) throw transferNotFound(transferId);
    const { sizeBytes } = transfer.archive.facts;
    if (offset > sizeBytes) {
      const description = `is ${offset}, and the archive has ${sizeBytes} bytes`;
      throw invalidField("ARGUMENT_INVALID", "offset", description);
    }
    return this.#send(transfer, offset, room, run.signal);
  }

  /** @returns false if there is none of this id */
  async abandon(transferId: string): Promise<boolean> {
    const transfer = this.#transfers.get(transferId);
    if (transfer === undefined) return false;
    await this.#remove(transfer, new CollectorError("CANCELLED", "the transfer was given up"));
    return true;
  }

  /**
   * Gives up the oldest transfer that was sent to its end, if there is one, else the one that nobody has gone
   * on with for longest, if that is longer than a receiver takes to come back.
   */
  reclaim(): void {
    const resting = [...this.#transfers.values()].filter(({ stream }) => stream === undefined);
    const longest = resting.toSorted((one, other) => one.restsSinceMs - other.restsSinceMs)[0];
    const sent = resting.find(({ isSent }) => isSent);
    const graceMs = Math.min(comesBackWithinMs, this.#options.limits.transferIdleMs / 4);
    const isLeft = longest !== undefined && performance.now() - longest.restsSinceMs >= graceMs;
    const given = sent ?? (isLeft ? longest : undefined);
    if (given !== undefined) this.#forget(given, "made room for another one");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const reason = shuttingDown();
    await Promise.all([...this.#transfers.values()].map((t) => this.#remove(t, reason)));
  }

  async #begin(request: PullRequest, run: CopyRun): Promise<OutgoingTransfer> {
    const { signal } = run;
    const { stager, slots } = this.#options;
    const { backupId, incrementalBackup, sourceCollection: source, includeFiles, have } = request;
    if (backupId === "" && (source === undefined || source.name === "")) {
      throw invalidField("ARGUMENT_MISSING", "source_collection", "names no collection");
    }
    if (backupId !== "" && source !== undefined) {
      const problem = "and source_collection exclude each other: a backup is of one collection";
      throw invalidField("ARGUMENT_INVALID", "backup_id", problem);
    }
    checkHave(have);
    if (this.#isClosed) throw shuttingDown();
    const slot = slots.take();
    try {
      const { namespace = "", name = "" } = source ?? {};
      const archive =
        backupId === ""
          ? await stager.collection({ namespace, name, includeFiles, have }, run)
          : await stager.backup(backupId, incrementalBackup);
      try {
        checkFormat(request.formatVersion, archive.facts.formatVersion);
      } catch (error) {
        await archive[Symbol.asyncDispose]();
        throw error;
      }
      const id = randomUUID();
      const transfer = {
        id,
        archive,
        slot,
        stream: undefined,
        isSent: false,
        idle: undefined,
        restsSinceMs: performance.now(),
      };
      if (this.#isClosed || signal.aborted) {
        await archive[Symbol.asyncDispose]();
        throw signal.aborted ? signal.reason : shuttingDown();
      }
      this.#transfers.set(id, transfer);
      return transfer;
    } catch (error) {
      slot[Symbol.dispose]();
      throw error;
    }
  }

  #send(
    transfer: OutgoingTransfer,
    offset: bigint,
    room: ChunkRoom,
    signal: AbortSignal,
  ): OutgoingStream {
    const { id: transferId, archive } = transfer;
    // The receiver comes back before the end of its connection is noticed here.
    transfer.stream?.abort(
      new CollectorError("OPERATION_RUNNING", "another call goes on with this transfer"),
    );
    clearTimeout(transfer.idle);
    const stream = new AbortController();
    transfer.stream = stream;
    return {
      transferId,
      offset,
      facts: archive.facts,
      chunks: this.#chunks(transfer, offset, room, AbortSignal.any([signal, stream.signal])),
      [Symbol.dispose]: () => {
        if (transfer.stream !== stream) return;
        transfer.stream = undefined;
        this.#rest(transfer);
      },
    };
  }

  async *#chunks(
    transfer: OutgoingTransfer,
    offset: bigint,
    room: ChunkRoom,
    signal: AbortSignal,
  ): AsyncGenerator<ArchiveChunk, undefined> {
    yield* transfer.archive.chunks(offset, signal, room);
    transfer.isSent = true;
  }

  /** Waits for somebody to go on with a transfer. */
  #rest(transfer: OutgoingTransfer): void {
    if (!this.#transfers.has(transfer.id)) return;
    const { transferIdleMs } = this.#options.limits;
    transfer.restsSinceMs = performance.now();
    transfer.idle = setTimeout(() => {
      this.#forget(transfer, "nobody has gone on with it");
    }, transferIdleMs).unref();
  }

  #forget(transfer: OutgoingTransfer, why: string): void {
    const { log } = this.#options;
    const { id } = transfer;
    log.debug({ transfer: id, why }, "transfer forgotten");
    this.#remove(transfer, transferNotFound(id)).catch((error: unknown) => {
      log.warn({ transfer: id, err: error }, "an archive that was sent could not be removed");
    });
  }

  async #remove(transfer: OutgoingTransfer, reason: CollectorError): Promise<void> {
    this.#transfers.delete(transfer.id);
    clearTimeout(transfer.idle);
    transfer.stream?.abort(reason);
    transfer.slot[Symbol.dispose]();
    await transfer.archive[Symbol.asyncDispose]();
  }
}

/** @throws {CollectorError} ARGUMENT_INVALID */
function checkHave(have: CopyState | undefined): void {
  if (have === undefined) return;
  const { contentSha256 } = have;
  if (contentSha256.length > contentsMax) {
    const description = `has ${contentSha256.length} items; send at most ${contentsMax}`;
    throw invalidField("ARGUMENT_INVALID", "have.content_sha256", description);
  }
  if (contentSha256.every(({ length }) => length === 32)) return;
  const description = "has an item that is no SHA-256: those have 32 bytes";
  throw invalidField("ARGUMENT_INVALID", "have.content_sha256", description);
}

function shuttingDown(): CollectorError {
  return new CollectorError("SHUTTING_DOWN", "the server is stopping");
}
