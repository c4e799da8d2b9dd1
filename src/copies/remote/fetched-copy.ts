import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { formatVersion } from "../../archive/format.ts";
import type { CollectionCatalog } from "../../collections/catalog.ts";
import { CollectorError } from "../../errors.ts";
import type {
  CopyState,
  PullCollectionChunk_Metadata,
} from "../../gen/collector/collection_repo_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import { destinationTaken } from "../copy-destination.ts";
import type { CopyRun } from "../copy-parts.ts";
import { IncomingArchive } from "../transfers/incoming-archive.ts";
import { type InstallArchiveParts, installArchive } from "../transfers/install-archive.ts";
import type { Transfers } from "../transfers/open-transfers.ts";
import { checkFormat } from "../transfers/transfer-requests.ts";
import { Attempts } from "./attempts.ts";
import { sayFarewell } from "./farewell.ts";
import type {
  CollectionPlace,
  RemoteCollector,
  RemoteCopyRequest,
  RemoteCopyResult,
} from "./remote-collector.ts";

/** How often the archive is asked for anew, as the other side has forgotten the one that was under way. */
const restartsMax = 3;

export interface FetchedCopyOptions extends InstallArchiveParts {
  readonly remote: RemoteCollector;
  readonly catalog: Pick<CollectionCatalog, "find">;
  readonly transfers: Pick<Transfers, "describeCopy" | "incomingFolder" | "slots">;
  readonly limits: Pick<Limits, "archiveBytesMax" | "diskReserveBytes" | "streamIdleMs">;
  readonly log: Log;
}

type Metadata = PullCollectionChunk_Metadata;

/** An archive that is on its way here, and what was told of it. */
interface Arriving {
  readonly archive: IncomingArchive;
  readonly metadata: Metadata;
}

interface Arrived extends Arriving, AsyncDisposable {
  readonly transferMs: number;
}

/** Copies a collection of another collector to this one. */
export class FetchedCopy {
  readonly #options: FetchedCopyOptions;

  constructor(options: FetchedCopyOptions) {
    this.#options = options;
  }

  /** @throws {CollectorError} as `RemoteCopies.fetch`; BASE_UNUSABLE if only what changed was brought */
  async make(
    request: RemoteCopyRequest,
    mayBeDelta: boolean,
    run: CopyRun,
  ): Promise<RemoteCopyResult> {
    const { source, dest, includeFiles, refresh } = request;
    const { catalog, transfers, remote } = this.#options;
    if (!refresh && catalog.find(dest.namespace, dest.name) !== undefined)
      throw destinationTaken(request.dest, "collection");
    // Tried once: who names a server that is down hears of it at once.
    const { exists } = await remote.describeCopy(source, run.signal);
    if (!exists) throw notThere(remote.endpoint, source);
    const state = mayBeDelta ? (await transfers.describeCopy(dest)).state : undefined;
    using _slot = transfers.slots.take();
    await using arrived = await this.#receive(request, state, run);
    const { metadata, archive, transferMs } = arrived;
    run.report({ phase: "verifying" });
    const isIncremental = metadata.incremental;
    const installed = await installArchive(
      this.#options,
      { path: archive.path, sha256: Buffer.from(metadata.sha256).toString("hex") },
      {
        ...dest,
        mode: refresh ? "refresh" : "create",
        includeFiles,
        recordCount: metadata.recordCount,
        fileCount: metadata.fileCount,
        messageName: "",
        base: isIncremental ? state : undefined,
      },
      run,
    );
    return {
      collectionId: installed.collection.collectionId,
      recordCount: installed.recordCount,
      fileCount: installed.fileCount,
      bytes: metadata.totalSize,
      isIncremental,
      transferMs,
    };
  }

  async #receive(
    { source, includeFiles }: RemoteCopyRequest,
    have: CopyState | undefined,
    run: CopyRun,
  ): Promise<Arrived> {
    const { remote, log } = this.#options;
    const { signal } = run;
    const attempts = new Attempts(signal);
    let arriving: Arriving | undefined;
    let restarts = 0;
    let transferMs = 0;
    const giveBack = async (): Promise<void> => {
      const gone = arriving;
      arriving = undefined;
      await gone?.archive[Symbol.asyncDispose]();
      if (gone !== undefined) await sayFarewell(remote, gone.metadata.transferId, log);
    };
    run.report({ phase: "copying" });
    try {
      for (;;) {
        const before: number = arriving?.archive.receivedBytes ?? 0;
        try {
          await using pulled = await remote.pull(
            {
              sourceCollection: { $typeName: "collector.NamespacedName", ...source },
              includeFiles,
              formatVersion,
              transferId: arriving?.metadata.transferId ?? "",
              offset: BigInt(before),
              ...(have === undefined ? {} : { have }),
            },
            run,
          );
          const { metadata } = pulled;
          arriving ??= await this.#begin(metadata);
          const { archive } = arriving;
          const beganMs = performance.now();
          try {
            await archive.receive(metadata.offset, pulled.chunks, {
              signal,
              idleMs: this.#options.limits.streamIdleMs,
              onProgress: (progress) => run.report({ ...progress, phase: "receiving" }),
            });
          } finally {
            transferMs += performance.now() - beganMs;
          }
          return { ...arriving, transferMs, [Symbol.asyncDispose]: giveBack };
        } catch (error) {
          if ((arriving?.archive.receivedBytes ?? 0) > before) attempts.noteProgress();
          if (arriving !== undefined && isForgotten(error) && restarts < restartsMax) {
            restarts += 1;
            await giveBack();
            run.report({ phase: "copying" });
          } else {
            await attempts.afterFailure(error);
          }
        }
      }
    } catch (error) {
      await giveBack();
      throw error;
    }
  }

  /** @throws {CollectorError} ARCHIVE_TOO_NEW, FILE_TOO_LARGE, DISK_FULL, ARCHIVE_INVALID */
  async #begin(metadata: Metadata): Promise<Arriving> {
    const { remote, transfers, limits } = this.#options;
    const { totalSize, transferId } = metadata;
    checkFormat(formatVersion, metadata.formatVersion);
    if (totalSize > BigInt(limits.archiveBytesMax)) {
      throw new CollectorError(
        "FILE_TOO_LARGE",
        `the archive of ${remote.endpoint} has ${totalSize} bytes, the limit archiveBytesMax is ${limits.archiveBytesMax}`,
      );
    }
    if (totalSize <= 0n || transferId === "") {
      throw new CollectorError("ARCHIVE_INVALID", `${remote.endpoint} tells of no archive`);
    }
    const archive = await IncomingArchive.create({
      path: join(transfers.incomingFolder, randomUUID()),
      sizeBytes: Number(totalSize),
      bytesMax: limits.archiveBytesMax,
      diskReserveBytes: limits.diskReserveBytes,
    });
    return { archive, metadata };
  }
}

function isForgotten(error: unknown): boolean {
  return error instanceof CollectorError && error.reason === "TRANSFER_NOT_FOUND";
}

function notThere(endpoint: string, { namespace, name }: CollectionPlace): CollectorError {
  return new CollectorError(
    "COLLECTION_NOT_FOUND",
    `source_collection: on ${endpoint}, there is no collection ${name} in namespace ${namespace}`,
    { subject: { namespace, collection: name, endpoint } },
  );
}
