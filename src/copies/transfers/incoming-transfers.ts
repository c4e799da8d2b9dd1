import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import type { CollectionCatalog } from "../../collections/catalog.ts";
import { CollectorError, invalidField } from "../../errors.ts";
import type { GetTransferResponse } from "../../gen/collector/backups_pb.ts";
import {
  type PushCollectionResponse,
  PushCollectionResponseSchema,
} from "../../gen/collector/collection_repo_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import type { TransferSlots } from "../../lib/transfer-slots.ts";
import type { OperationStore } from "../../operations/operation-store.ts";
import { destinationTaken } from "../copy-destination.ts";
import type { ArrivedArchive, CopyRun, KeepBackup } from "../copy-parts.ts";
import type { ArchiveChunk } from "./archive-chunks.ts";
import { checkCopy } from "./copy-state.ts";
import { IncomingArchive } from "./incoming-archive.ts";
import { IncomingTransfer } from "./incoming-transfer.ts";
import { type InstallArchiveParts, installArchive } from "./install-archive.ts";
import {
  checkPush,
  isSamePush,
  type PushMetadata,
  type PushPurpose,
  type PushRequest,
  transferNotFound,
} from "./transfer-requests.ts";
import { type VerifyArchiveParts, verifyArchive } from "./verify-archive.ts";

/** What kind of operation a push is, by what is to become of the archive. */
const kindOf: Readonly<Record<PushPurpose, string>> = {
  install: "push",
  verify: "verify",
  keep: "upload",
};

/** Answers of pushes that are remembered, for senders that have lost them. */
const answersMax = 1000;

export interface IncomingTransfersOptions extends InstallArchiveParts, VerifyArchiveParts {
  readonly catalog: Pick<CollectionCatalog, "find" | "store">;
  readonly operations: OperationStore;
  readonly keepBackup: KeepBackup;
  readonly slots: TransferSlots;
  readonly limits: Pick<
    Limits,
    "transferIdleMs" | "archiveBytesMax" | "streamIdleMs" | "diskReserveBytes"
  >;
  readonly log: Log;
  /** Absolute; exists, and is empty. On the disk of the data. */
  readonly folder: string;
}

/** An archive that is there as a whole. */
interface ArrivedFile extends ArrivedArchive {
  readonly sizeBytes: bigint;
}

interface Entry {
  readonly id: string;
  readonly request: PushRequest;
  readonly opened: Promise<IncomingTransfer>;
  idle: NodeJS.Timeout | undefined;
}

/** The archives that others are pushing here, each until it is a collection, given up or forgotten. */
export class IncomingTransfers implements AsyncDisposable {
  readonly #options: IncomingTransfersOptions;
  /** By id, in the order in which they were begun. */
  readonly #entries = new Map<string, Entry>();
  readonly #answered = new Map<string, Entry>();
  #isClosed = false;

  constructor(options: IncomingTransfersOptions) {
    this.#options = options;
  }

  /**
   * Takes an archive, or goes on with one, and makes a collection of it. With a transfer id, what came stays
   * when the call breaks off, and the work goes on when all of it came.
   *
   * @param namespace of the call
   * @throws {CollectorError} what {@link checkPush}, {@link IncomingArchive.receive} and
   * {@link installArchive} throw; TRANSFER_NOT_FOUND, COLLECTION_EXISTS, OVERLOADED
   */
  async receive(
    metadata: PushMetadata,
    namespace: string,
    chunks: AsyncIterable<ArchiveChunk>,
    signal: AbortSignal,
  ): Promise<PushCollectionResponse> {
    const request = checkPush(metadata, namespace, this.#options.limits);
    const entry = this.#known(request) ?? this.#begin(request);
    clearTimeout(entry.idle);
    const transfer = await entry.opened;
    if (transfer.response !== undefined) return transfer.response;
    try {
      return await transfer.receive(request.offset, chunks, signal);
    } catch (error) {
      const isLost = request.transferId === "" || isOfRoom(error);
      if (isLost) transfer.giveUp(error);
      if (isLost) await transfer.ended();
      throw error;
    } finally {
      if (transfer.isWaiting) this.#waitFor(entry, transfer);
    }
  }

  /** @throws {CollectorError} TRANSFER_NOT_FOUND */
  async get(transferId: string): Promise<Pick<GetTransferResponse, "receivedBytes" | "response">> {
    const entry = this.#entries.get(transferId) ?? this.#answered.get(transferId);
    if (entry === undefined) throw transferNotFound(transferId);
    const { receivedBytes, response } = await entry.opened;
    return { receivedBytes, ...(response === undefined ? {} : { response }) };
  }

  /** Resolves when nothing of it is left but the collection, if that is there already. */
  async abandon(transferId: string): Promise<boolean> {
    const answered = this.#answered.get(transferId);
    if (answered !== undefined) this.#forgetAnswer(answered);
    const entry = this.#entries.get(transferId);
    if (entry === undefined) return answered !== undefined;
    const transfer = await entry.opened;
    transfer.giveUp(new CollectorError("CANCELLED", "the transfer was given up"));
    await transfer.ended();
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const entry of this.#answered.values()) clearTimeout(entry.idle);
    const reason = shuttingDown();
    await Promise.all(
      Array.from(this.#entries.values(), async ({ opened, idle }) => {
        clearTimeout(idle);
        const transfer = await opened.catch(() => undefined);
        transfer?.giveUp(reason);
        await transfer?.ended();
      }),
    );
  }

  #known(request: PushRequest): Entry | undefined {
    const { transferId } = request;
    if (transferId === "") return undefined;
    const known = this.#entries.get(transferId) ?? this.#answered.get(transferId);
    if (known === undefined && request.offset > 0n) throw transferNotFound(transferId);
    if (known === undefined || isSamePush(known.request, request)) return known;
    const description = "is of another archive or place; take a new one";
    throw invalidField("ARGUMENT_INVALID", "transfer_id", description);
  }

  #begin(request: PushRequest): Entry {
    if (this.#isClosed) throw shuttingDown();
    this.#refuseTaken(request);
    const slot = this.#options.slots.take();
    const id = request.transferId === "" ? randomUUID() : request.transferId;
    const opened = this.#open(id, request);
    const entry: Entry = { id, request, opened, idle: undefined };
    this.#entries.set(id, entry);
    void this.#settle(entry, slot);
    return entry;
  }

  async #open(id: string, request: PushRequest): Promise<IncomingTransfer> {
    const { folder, limits, operations, log, catalog } = this.#options;
    const { sizeBytes, sha256, arrival, purpose } = request;
    const { base, namespace, name } = arrival;
    if (base !== undefined && namespace !== "" && name !== "" && purpose === "install") {
      await checkCopy(catalog, { namespace, name }, base);
    }
    const archive = await IncomingArchive.create({
      path: join(folder, randomUUID()),
      sizeBytes,
      bytesMax: limits.archiveBytesMax,
      diskReserveBytes: limits.diskReserveBytes,
    });
    const transfer = new IncomingTransfer({
      id,
      request,
      archive,
      log,
      streamIdleMs: limits.streamIdleMs,
      install: async (run) => {
        const file = { path: archive.path, sha256, sizeBytes: BigInt(archive.receivedBytes) };
        return await this.#make(file, request, run);
      },
    });
    const subject = [namespace, name].filter((part) => part !== "").join("/");
    try {
      await operations.start({ kind: kindOf[purpose], namespace, subject }, async (run) =>
        anyPack(PushCollectionResponseSchema, await transfer.work(run)),
      );
    } catch (error) {
      await archive[Symbol.asyncDispose]();
      throw error;
    }
    return transfer;
  }

  async #settle(entry: Entry, slot: Disposable): Promise<void> {
    // Who has begun it is told of a failure.
    const transfer = await entry.opened.catch(() => undefined);
    await transfer?.ended();
    clearTimeout(entry.idle);
    slot[Symbol.dispose]();
    this.#entries.delete(entry.id);
    if (transfer?.response !== undefined) this.#remember(entry);
  }

  async #make(
    file: ArrivedFile,
    request: PushRequest,
    run: CopyRun,
  ): Promise<PushCollectionResponse> {
    switch (request.purpose) {
      case "install":
        return await this.#install(file, request, run);
      case "verify":
        return await this.#verify(file, run);
      case "keep":
        return await this.#keep(file, run);
    }
  }

  async #install(
    file: ArrivedFile,
    { arrival }: PushRequest,
    run: CopyRun,
  ): Promise<PushCollectionResponse> {
    const installed = await installArchive(this.#options, file, arrival, run);
    return create(PushCollectionResponseSchema, {
      collectionId: installed.collection.collectionId,
      recordsCloned: installed.recordCount,
      filesCloned: installed.fileCount,
      bytesReceived: file.sizeBytes,
    });
  }

  async #verify(file: ArrivedFile, run: CopyRun): Promise<PushCollectionResponse> {
    const verification = await verifyArchive(this.#options, file, run);
    return create(PushCollectionResponseSchema, { bytesReceived: file.sizeBytes, verification });
  }

  async #keep(file: ArrivedFile, run: CopyRun): Promise<PushCollectionResponse> {
    const backup = await this.#options.keepBackup(file, run);
    return create(PushCollectionResponseSchema, { bytesReceived: file.sizeBytes, backup });
  }

  /** Before anything is sent in vain. */
  #refuseTaken({ purpose, arrival: { mode, namespace, name } }: PushRequest): void {
    if (purpose !== "install" || mode !== "create" || name === "" || namespace === "") return;
    if (this.#options.catalog.find(namespace, name) === undefined) return;
    throw destinationTaken({ namespace, name }, "collection");
  }

  #waitFor(entry: Entry, transfer: IncomingTransfer): void {
    clearTimeout(entry.idle);
    const { transferIdleMs } = this.#options.limits;
    entry.idle = setTimeout(() => {
      const problem = `nobody has gone on with the transfer for ${transferIdleMs} ms, the limit transferIdleMs`;
      transfer.giveUp(new CollectorError("DEADLINE_EXCEEDED", problem));
    }, transferIdleMs).unref();
  }

  #remember(entry: Entry): void {
    if (entry.request.transferId === "" || this.#isClosed) return;
    this.#answered.set(entry.id, entry);
    const forget = (): void => this.#forgetAnswer(entry);
    entry.idle = setTimeout(forget, this.#options.limits.transferIdleMs).unref();
    if (this.#answered.size <= answersMax) return;
    const [oldest] = this.#answered.values();
    if (oldest !== undefined) this.#forgetAnswer(oldest);
  }

  #forgetAnswer(entry: Entry): void {
    clearTimeout(entry.idle);
    this.#answered.delete(entry.id);
  }
}

/** Whether nothing can come of what has arrived, however often it is tried. */
function isOfRoom(error: unknown): boolean {
  if (!(error instanceof CollectorError)) return false;
  return ["DISK_FULL", "STORAGE_UNAVAILABLE", "FILE_TOO_LARGE"].includes(error.reason);
}

function shuttingDown(): CollectorError {
  return new CollectorError("SHUTTING_DOWN", "the server is stopping");
}
