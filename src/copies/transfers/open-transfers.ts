import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { CollectionCatalog } from "../../collections/catalog.ts";
import type { DescribeCopyResponse } from "../../gen/collector/backups_pb.ts";
import type { Compression } from "../../gen/collector/collection_repo_pb.ts";
import type { NamespacedName } from "../../gen/collector/common_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import { removeFolder } from "../../lib/remove-folder.ts";
import { TransferSlots } from "../../lib/transfer-slots.ts";
import type { OperationStore } from "../../operations/operation-store.ts";
import type { BackupCatalog } from "../backup-parts.ts";
import type { CollectionArchiver, KeepBackup } from "../copy-parts.ts";
import { ArchiveStager } from "./archive-stager.ts";
import { describeCopy } from "./copy-state.ts";
import { IncomingTransfers } from "./incoming-transfers.ts";
import type { InstallArchiveParts } from "./install-archive.ts";
import { OutgoingTransfers } from "./outgoing-transfers.ts";
import type { VerifyArchiveParts } from "./verify-archive.ts";

export interface TransfersOptions extends InstallArchiveParts, VerifyArchiveParts {
  /** Absolute; what an earlier run has left in it goes. On the disk of the data. */
  readonly folder: string;
  readonly catalog: CollectionCatalog;
  readonly archiver: CollectionArchiver;
  readonly backups: Pick<BackupCatalog, "get" | "chainOf" | "hold">;
  readonly keepBackup: KeepBackup;
  readonly operations: OperationStore;
  /** Of archives that are sent. */
  readonly compression: Compression;
  readonly limits: Limits;
  readonly log: Log;
}

/** How archives travel from and to here. Disposing it gives up those that are on their way. */
export class Transfers implements AsyncDisposable {
  readonly stager: ArchiveStager;
  readonly outgoing: OutgoingTransfers;
  readonly incoming: IncomingTransfers;
  /** Absolute; for archives that are fetched from elsewhere. */
  readonly incomingFolder: string;
  readonly slots: TransferSlots;
  readonly #catalog: CollectionCatalog;

  private constructor(options: TransfersOptions, folders: { outgoing: string; incoming: string }) {
    this.#catalog = options.catalog;
    this.incomingFolder = folders.incoming;
    this.slots = new TransferSlots({
      slotsMax: options.limits.transfersMax,
      what: "archives are on their way",
      limit: "transfersMax",
      reclaim: () => this.outgoing.reclaim(),
    });
    this.stager = new ArchiveStager({ ...options, folder: folders.outgoing });
    this.outgoing = new OutgoingTransfers({ ...options, stager: this.stager, slots: this.slots });
    this.incoming = new IncomingTransfers({
      ...options,
      slots: this.slots,
      folder: folders.incoming,
    });
  }

  /** Forgets the transfers of an earlier run: what is sent again begins anew. */
  static async open(options: TransfersOptions): Promise<Transfers> {
    const folders = {
      outgoing: join(options.folder, "outgoing"),
      incoming: join(options.folder, "incoming"),
    };
    for (const folder of Object.values(folders)) {
      await removeFolder(folder);
      await mkdir(folder, { recursive: true });
    }
    return new Transfers(options, folders);
  }

  /** What a copy holds of its source. @throws {CollectorError} ARGUMENT_MISSING */
  async describeCopy(
    collection: Pick<NamespacedName, "namespace" | "name"> | undefined,
  ): Promise<Omit<DescribeCopyResponse, "$typeName">> {
    return await describeCopy(this.#catalog, collection);
  }

  /** Gives up a transfer, whichever way it goes; a missing one is a success. */
  async abandon(transferId: string): Promise<void> {
    if (await this.outgoing.abandon(transferId)) return;
    await this.incoming.abandon(transferId);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.outgoing[Symbol.asyncDispose](), this.incoming[Symbol.asyncDispose]()]);
  }
}
