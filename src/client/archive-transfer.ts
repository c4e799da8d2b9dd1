import { createHash, type Hash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { crc32 } from "node:zlib";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import type {
  PullCollectionChunk,
  PullCollectionChunk_Metadata,
  PushCollectionRequestSchema,
  PushCollectionResponse,
} from "../gen/collector/collection_repo_pb.ts";
import { ClientError } from "./client-error.ts";
import { limitsOf } from "./collection.ts";
import { collectionNameOf } from "./collection-name.ts";
import { cancelled, type LongCallOptions } from "./long-call.ts";
import type { Services } from "./services.ts";

/** What a file here is to be made of. */
export type ArchiveSource =
  | {
      /** `name` or `namespace/name`: the collection as it is now. */
      readonly collection: string;
      /** Attached files too, which is the default. */
      readonly includeFiles?: boolean;
    }
  | { readonly backupId: string };

/** An archive that is complete in a file here. */
export interface DownloadedArchive {
  /** What the server says is in it. */
  readonly metadata: PullCollectionChunk_Metadata;
  readonly path: string;
  /** Lower-case hex. */
  readonly sha256: string;
  /** How often a broken connection was taken up again. */
  readonly resumed: number;
}

export interface UploadOptions extends LongCallOptions {
  /** `name` or `namespace/name` to restore under; what it was called if it is left out. */
  readonly as?: string | undefined;
  /** Replaces the collection that has the name, in one step once the archive is verified. */
  readonly overwrite?: boolean;
}

/** What became of an archive that was sent. */
export interface UploadedArchive {
  readonly response: PushCollectionResponse;
  /** How often a broken connection was taken up again. */
  readonly resumed: number;
}

/** Newest format of archives that this client knows to carry; it does not look inside. */
const formatVersion = 1;

/** Largest chunk that is sent. */
const chunkBytes = 1024 * 1024;

/** How long it is tried to get a broken connection back, counted from the last byte that moved. */
const giveUpAfterMs = 30_000;
const firstPauseMs = 100;
const longestPauseMs = 3000;

/** How long a transfer that is not needed any more may take to be given up. */
const abandonMs = 5000;

/** What tells that a connection broke, beside what transports report without a server's word. */
const resumable: ReadonlySet<string> = new Set([
  "CONNECTION_FAILED",
  "CONTENT_MISMATCH",
  "OVERLOADED",
  "SHUTTING_DOWN",
]);
const brokenCodes: ReadonlySet<Code> = new Set([
  Code.Aborted,
  Code.Canceled,
  Code.Internal,
  Code.Unavailable,
  Code.Unknown,
]);

/** See `Backups.download`. */
export async function downloadArchive(
  services: Services,
  namespace: string,
  source: ArchiveSource,
  path: string,
  options: LongCallOptions,
): Promise<DownloadedArchive> {
  const partial = `${path}.part`;
  const file = await open(partial, "w");
  const receiver = new Receiver(file, options);
  // The server first writes the archive, which is then as it was at one moment.
  options.onProgress?.({ operation: "", phase: "preparing", done: 0n, total: 0n });
  try {
    const resumed = await persist(options.signal, receiver, async () => {
      const request = {
        formatVersion,
        transferId: receiver.transferId,
        offset: BigInt(receiver.received),
        ...requestOf(source, namespace),
      };
      await receiver.take(services.repo.pullCollection(request, untimed(options.signal)));
    });
    const archive = receiver.complete(path, resumed);
    await file.sync();
    await file.close();
    await rename(partial, path);
    await syncFolder(dirname(path));
    return archive;
  } catch (error) {
    await file.close();
    await rm(partial, { force: true });
    throw options.signal?.aborted === true ? cancelled(error) : error;
  } finally {
    if (receiver.transferId !== "") await abandon(services, receiver.transferId);
  }
}

/** See `Backups.upload`. */
export async function uploadArchive(
  services: Services,
  path: string,
  options: UploadOptions,
): Promise<UploadedArchive> {
  const { as, overwrite = false, signal } = options;
  const { size } = await stat(path);
  const { namespace, name } =
    as === undefined ? { namespace: "", name: "" } : collectionNameOf(as, "");
  const metadata = {
    destNamespace: namespace,
    destName: name,
    totalSize: BigInt(size),
    includeFiles: true,
    transferId: randomUUID(),
    formatVersion,
    sha256: await sha256Of(path, size, options),
    overwrite,
  };
  const { transferId } = metadata;
  const sender = new Sender(path, metadata, options);
  let response: PushCollectionResponse | undefined;
  try {
    const resumed = await persist(signal, sender, async () => {
      const known = await received(services, transferId, signal);
      response = known.response;
      if (response !== undefined) return;
      sender.isBegun = true;
      const requests = sender.requests(known.receivedBytes);
      response = await services.repo.pushCollection(requests, untimed(signal));
    });
    if (response === undefined) throw unexpected("the server answered nothing");
    return { response, resumed };
  } catch (error) {
    await abandon(services, transferId);
    if (signal?.aborted === true) throw cancelled(error);
    throw sender.failure ?? error;
  }
}

interface Attempted {
  /** False while nothing has begun that could be gone on with. */
  readonly isBegun: boolean;
  /** Grows with what has moved. */
  readonly moved: number;
}

/** Tries until it succeeds; answers how often it was begun again. */
async function persist(
  signal: AbortSignal | undefined,
  state: Attempted,
  attempt: () => Promise<void>,
): Promise<number> {
  let pauseMs = firstPauseMs;
  let movedMs = performance.now();
  for (let resumed = 0; ; resumed += 1) {
    const before = state.moved;
    try {
      await attempt();
      return resumed;
    } catch (error) {
      if (signal?.aborted === true || !state.isBegun || !isBroken(error)) throw error;
      if (state.moved > before) {
        pauseMs = firstPauseMs;
        movedMs = performance.now();
      }
      if (performance.now() - movedMs > giveUpAfterMs) throw error;
      await sleep(pauseMs, undefined, signal === undefined ? {} : { signal });
      pauseMs = Math.min(pauseMs * 2, longestPauseMs);
    }
  }
}

function isBroken(error: unknown): boolean {
  if (!(error instanceof ClientError)) return false;
  if (resumable.has(error.reason)) return true;
  const isUnsaid = error.reason === "UNRECOGNIZED" || error.reason === "CANCELLED";
  return isUnsaid && brokenCodes.has(error.code) && Object.keys(error.subject).length === 0;
}

/** Writes what arrives and checks it. */
class Receiver implements Attempted {
  readonly #file: FileHandle;
  readonly #onProgress: LongCallOptions["onProgress"];
  readonly #hash: Hash = createHash("sha256");
  #metadata: PullCollectionChunk_Metadata | undefined;
  #received = 0;

  constructor(file: FileHandle, options: LongCallOptions) {
    this.#file = file;
    this.#onProgress = options.onProgress;
  }

  /** Empty until the server has named the transfer. */
  get transferId(): string {
    return this.#metadata?.transferId ?? "";
  }

  /** Bytes that are written and hashed. */
  get received(): number {
    return this.#received;
  }

  get isBegun(): boolean {
    return this.transferId !== "";
  }

  get moved(): number {
    return this.#received;
  }

  /** Resolves when all of the archive is there. */
  async take(messages: AsyncIterable<PullCollectionChunk>): Promise<void> {
    for await (const { data, chunkCrc32 } of messages) {
      if (data.case === "metadata") this.#begin(data.value);
      else if (data.case === "chunk") await this.#write(data.value, chunkCrc32);
    }
    const total = this.#metadata?.totalSize;
    if (total === undefined) throw unexpected("the server sent no archive");
    if (BigInt(this.#received) < total) throw mismatch("the archive broke off");
  }

  /** @throws {ClientError} ARCHIVE_DAMAGED if what arrived is not what was sent */
  complete(path: string, resumed: number): DownloadedArchive {
    const metadata = this.#metadata;
    if (metadata === undefined) throw unexpected("the server sent no archive");
    const digest = this.#hash.digest();
    const isSame = metadata.sha256.byteLength === 0 || digest.equals(metadata.sha256);
    if (isSame && BigInt(this.#received) === metadata.totalSize) {
      return { metadata, path, sha256: digest.toString("hex"), resumed };
    }
    throw new ClientError("ARCHIVE_DAMAGED", "the archive was changed on its way", {
      code: Code.DataLoss,
    });
  }

  #begin(metadata: PullCollectionChunk_Metadata): void {
    if (metadata.offset !== BigInt(this.#received)) {
      throw unexpected(`the server goes on at byte ${metadata.offset}, not ${this.#received}`);
    }
    this.#metadata = metadata;
  }

  async #write(chunk: Uint8Array, crc: number | undefined): Promise<void> {
    if (this.#metadata === undefined) throw unexpected("the server sent no metadata");
    if (crc !== undefined && crc32(chunk) !== crc) throw mismatch("a chunk was changed on its way");
    const total = this.#metadata.totalSize;
    if (BigInt(this.#received + chunk.byteLength) > total) throw unexpected("too much was sent");
    await this.#file.writev([chunk], this.#received);
    this.#hash.update(chunk);
    this.#received += chunk.byteLength;
    const done = BigInt(this.#received);
    this.#onProgress?.({ operation: "", phase: "receiving", done, total });
  }
}

/** Sends a file from where the server has it. */
class Sender implements Attempted {
  readonly #path: string;
  readonly #metadata: { readonly totalSize: bigint };
  readonly #options: LongCallOptions;
  /** Set once the server was reached. */
  isBegun = false;
  /** What reading the file has failed with. */
  failure: unknown;
  moved = 0;

  constructor(path: string, metadata: { readonly totalSize: bigint }, options: LongCallOptions) {
    this.#path = path;
    this.#metadata = metadata;
    this.#options = options;
  }

  async *requests(
    offset: bigint,
  ): AsyncIterable<MessageInitShape<typeof PushCollectionRequestSchema>> {
    const { totalSize: total } = this.#metadata;
    const { onProgress } = this.#options;
    this.moved = Math.max(this.moved, Number(offset));
    yield { data: { case: "metadata", value: { ...this.#metadata, offset } } };
    let done = offset;
    try {
      for await (const chunk of read(this.#path, Number(offset))) {
        yield { data: { case: "chunk", value: chunk }, chunkCrc32: crc32(chunk) };
        done += BigInt(chunk.byteLength);
        onProgress?.({ operation: "", phase: "sending", done, total });
      }
      onProgress?.({ operation: "", phase: "checking", done: 0n, total: 0n });
    } catch (error) {
      this.failure = error;
      throw error;
    }
  }
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

interface Arrived {
  readonly receivedBytes: bigint;
  readonly response?: PushCollectionResponse | undefined;
}

async function received(
  services: Services,
  transferId: string,
  signal: AbortSignal | undefined,
): Promise<Arrived> {
  try {
    const limits = limitsOf(signal === undefined ? {} : { signal });
    return await services.transfers.getTransfer({ transferId }, limits);
  } catch (error) {
    const isNew = error instanceof ClientError && error.reason === "TRANSFER_NOT_FOUND";
    if (isNew) return { receivedBytes: 0n };
    throw error;
  }
}

/** Frees what the server has staged. It does so by itself later, so a failure is none of ours. */
async function abandon(services: Services, transferId: string): Promise<void> {
  try {
    await services.transfers.abandonTransfer({ transferId }, { timeoutMs: abandonMs });
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
  }
}

function requestOf(
  source: ArchiveSource,
  namespace: string,
):
  | { readonly backupId: string; readonly includeFiles: boolean }
  | {
      readonly sourceCollection: { readonly namespace: string; readonly name: string };
      readonly includeFiles: boolean;
    } {
  if ("backupId" in source) return { backupId: source.backupId, includeFiles: true };
  const { collection, includeFiles = true } = source;
  return { sourceCollection: collectionNameOf(collection, namespace), includeFiles };
}

function untimed(signal: AbortSignal | undefined): { timeoutMs?: number; signal?: AbortSignal } {
  return limitsOf({ timeoutMs: 0, ...(signal === undefined ? {} : { signal }) });
}

/** Makes a rename last. Folders cannot be opened everywhere; there a rename lasts by itself. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  await using folder = await open(path, "r");
  await folder.sync();
}

function unexpected(message: string): ClientError {
  return new ClientError("UNRECOGNIZED", message, { code: Code.FailedPrecondition });
}

function mismatch(message: string): ClientError {
  return new ClientError("CONTENT_MISMATCH", message, { code: Code.Aborted });
}
