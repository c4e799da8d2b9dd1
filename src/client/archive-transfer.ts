import { randomUUID } from "node:crypto";
import type {
  BackupMetadata,
  PushCollectionRequest_Metadata,
  PushCollectionResponse,
  VerifyBackupResponse,
} from "../gen/collector/collection_repo_pb.ts";
import { persist } from "./archive-attempts.ts";
import { type ArchiveContent, type ArchiveInput, openContent } from "./archive-content.ts";
import { type DownloadedArchive, Receiver } from "./archive-receiver.ts";
import { Sender } from "./archive-sender.ts";
import { unexpected } from "./archive-transfer-failures.ts";
import { ClientError } from "./client-error.ts";
import { limitsOf } from "./collection.ts";
import { collectionNameOf } from "./collection-name.ts";
import { cancelled, type LongCallOptions } from "./long-call.ts";
import { openSink, type SinkTarget } from "./open-sink.ts";
import type { Services } from "./services.ts";
import type { Sink } from "./sink.ts";
import { untilLeft } from "./until-left.ts";

/** Where the bytes of an archive go that comes: the path of a file, or what takes them, one piece after the other. */
export type ArchiveOutput = SinkTarget;

/** What a file here is to be made of. */
export type ArchiveSource =
  | {
      /** `name` or `namespace/name`: the collection as it is now. */
      readonly collection: string;
      /** Attached files too, which is the default. */
      readonly includeFiles?: boolean;
    }
  | {
      readonly backupId: string;
      /** Also one that holds only what changed since another, which `Backups.keepArchive` takes. */
      readonly incremental?: boolean;
    };

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

/** What was found in an archive that was sent. */
export interface VerifiedArchive {
  readonly response: VerifyBackupResponse;
  /** How often a broken connection was taken up again. */
  readonly resumed: number;
}

/** What is known of a backup whose archive was sent. */
export interface KeptArchive {
  readonly response: BackupMetadata;
  /** How often a broken connection was taken up again. */
  readonly resumed: number;
}

/** Newest format of archives that this client knows to carry; it does not look inside. */
const newestFormat = 2;

/** How long a transfer that is not needed any more may take to be given up. */
const abandonMs = 5000;

/** See `Backups.download`. */
export async function downloadArchive(
  services: Services,
  namespace: string,
  source: ArchiveSource,
  output: ArchiveOutput,
  options: LongCallOptions,
): Promise<DownloadedArchive> {
  const sink = await sinkOf(output, options.signal);
  const receiver = new Receiver(sink, options);
  // The server first writes the archive, which is then as it was at one moment.
  options.onProgress?.({ operation: "", phase: "preparing", done: 0n, total: 0n });
  try {
    const resumed = await persist(options.signal, receiver, async () => {
      const request = {
        formatVersion: newestFormat,
        transferId: receiver.transferId,
        offset: BigInt(receiver.received),
        reportProgress: options.onProgress !== undefined,
        ...requestOf(source, namespace),
      };
      const call = (signal: AbortSignal) => services.repo.pullCollection(request, untimed(signal));
      await receiver.take(untilLeft(call, options.signal));
    });
    const archive = receiver.complete(typeof output === "string" ? output : "", resumed);
    await sink.finish();
    return archive;
  } catch (error) {
    await sink.discard();
    throw options.signal?.aborted === true ? cancelled(error) : error;
  } finally {
    if (receiver.transferId !== "") await abandon(services, receiver.transferId);
  }
}

async function sinkOf(output: ArchiveOutput, signal: AbortSignal | undefined): Promise<Sink> {
  try {
    return await openSink(output, signal);
  } catch (error) {
    throw signal?.aborted === true ? cancelled(error) : error;
  }
}

/** See `Backups.upload`. */
export async function uploadArchive(
  services: Services,
  input: ArchiveInput,
  options: UploadOptions,
): Promise<UploadedArchive> {
  const { as, overwrite = false } = options;
  const { namespace, name } =
    as === undefined ? { namespace: "", name: "" } : collectionNameOf(as, "");
  const destination = { destNamespace: namespace, destName: name, overwrite };
  const content = await openContent(input, true, options);
  return await send(services, content, destination, options);
}

/** See `Backups.verifyArchive`. */
export async function verifyArchive(
  services: Services,
  input: ArchiveInput,
  options: LongCallOptions,
): Promise<VerifiedArchive> {
  // An archive has its own checksums, and that it is the one that is here shows by those of the chunks.
  const content = await openContent(input, false, options);
  const { response, resumed } = await send(services, content, { verifyOnly: true }, options);
  const { verification } = response;
  if (verification !== undefined) return { response: verification, resumed };
  throw unexpected("this server is too old to verify an archive from elsewhere");
}

/** See `Backups.keepArchive`. */
export async function keepArchive(
  services: Services,
  input: ArchiveInput,
  options: LongCallOptions,
): Promise<KeptArchive> {
  const content = await openContent(input, false, options);
  const { response, resumed } = await send(services, content, { keepAsBackup: true }, options);
  const { backup } = response;
  if (backup !== undefined) return { response: backup, resumed };
  throw unexpected("this server is too old to keep a backup from elsewhere");
}

async function send(
  services: Services,
  content: ArchiveContent,
  purpose: Purpose,
  options: LongCallOptions,
): Promise<UploadedArchive> {
  const { signal } = options;
  const { sizeBytes, sha256 } = content;
  const transferId = randomUUID();
  // A server that does not know these would make a collection. It refuses an archive without a size.
  const isNew = purpose.verifyOnly === true || purpose.keepAsBackup === true;
  const sizeUnknown = sizeBytes === undefined || isNew;
  const metadata = {
    ...purpose,
    totalSize: sizeUnknown ? 0n : BigInt(sizeBytes),
    sizeUnknown,
    includeFiles: true,
    transferId,
    // At least: the server reads in the archive which it is.
    formatVersion: 1,
    sha256,
  };
  const sender = new Sender(content, metadata, options);
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

/** What is to become of an archive. */
type Purpose = Partial<
  Pick<
    PushCollectionRequest_Metadata,
    "destNamespace" | "destName" | "overwrite" | "verifyOnly" | "keepAsBackup"
  >
>;

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
  | {
      readonly backupId: string;
      readonly includeFiles: boolean;
      readonly incrementalBackup: boolean;
    }
  | {
      readonly sourceCollection: { readonly namespace: string; readonly name: string };
      readonly includeFiles: boolean;
    } {
  if ("backupId" in source) {
    const { backupId, incremental: incrementalBackup = false } = source;
    return { backupId, incrementalBackup, includeFiles: true };
  }
  const { collection, includeFiles = true } = source;
  return { sourceCollection: collectionNameOf(collection, namespace), includeFiles };
}

function untimed(signal: AbortSignal | undefined): { timeoutMs?: number; signal?: AbortSignal } {
  return limitsOf({ timeoutMs: 0, ...(signal === undefined ? {} : { signal }) });
}
