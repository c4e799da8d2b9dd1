import { randomUUIDv7 } from "node:crypto";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import type { CollectionCatalog } from "../../collections/catalog.ts";
import { refuseSystemWrite } from "../../collections/names.ts";
import { timestampOfUs } from "../../collections/record-answers.ts";
import { CollectorError } from "../../errors.ts";
import {
  type BackupMetadata,
  BackupMetadata_Content,
  BackupMetadataSchema,
  Compression,
} from "../../gen/collector/collection_repo_pb.ts";
import { type NamespacedName, NamespacedNameSchema } from "../../gen/collector/common_pb.ts";
import { forEachBounded } from "../../lib/bounded.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import type { Registry } from "../../registry/registry.ts";
import { type BackupFolders, inFolder, removeSetFolder } from "../backup-folders.ts";
import { checkNotes } from "../backup-notes.ts";
import type { BackupCatalog } from "../backup-parts.ts";
import type { ArchiveKeys, CopyRun } from "../copy-parts.ts";
import { attempt } from "./attempt.ts";
import { entryCount, type RegistryCopies } from "./registry-copies.ts";

export interface ServerBackupOptions {
  readonly backups: BackupCatalog;
  readonly folders: BackupFolders;
  readonly catalog: CollectionCatalog;
  readonly registry: Registry;
  readonly registryCopies: RegistryCopies;
  readonly keys: Pick<ArchiveKeys, "recipients">;
  /** What COMPRESSION_UNSPECIFIED means. */
  readonly compression: Compression;
  readonly limits: Pick<Limits, "copiesMax">;
  readonly clock: Clock;
  readonly log: Log;
}

export interface BackUpServer {
  /** A folder, as a caller gives it; see BackupServerRequest. */
  readonly destPath: string;
  readonly excludeFiles: boolean;
  readonly metadata: Readonly<Record<string, string>>;
  /** Empty: all. */
  readonly namespace: string;
  readonly incremental: boolean;
  readonly compression: Compression;
}

/** Backups of one moment each, under one name. */
export interface BackupSet {
  readonly setId: string;
  /** That of the registry first. */
  readonly backups: readonly BackupMetadata[];
}

/** One that could not be made. */
interface Failure {
  readonly of: string;
  readonly error: CollectorError;
}

/** Failures that the message of the whole tells of. */
const toldMax = 10;

/** Backs up all of a server. */
export class ServerBackup {
  readonly #options: ServerBackupOptions;

  constructor(options: ServerBackupOptions) {
    this.#options = options;
  }

  /**
   * Makes a backup of every collection, and of the registry in the end: a set without that was cut. What is
   * made stays, whatever becomes of the rest.
   *
   * @throws {CollectorError} ARGUMENT_INVALID, NAMESPACE_NOT_FOUND, SYSTEM_READ_ONLY; CANCELLED; if some
   * could not be made, the reason of the first, and a message that names them
   */
  async run(request: BackUpServer, run: CopyRun): Promise<BackupSet> {
    const { backups, catalog, registry, folders, limits, log } = this.#options;
    const { namespace, destPath } = request;
    refuseSystemWrite(namespace);
    checkNotes(request.metadata);
    const namespaces = registry.moment(namespace).map((moment) => moment.namespace.name);
    const setId = randomUUIDv7();
    const destFolder = destPath === "" ? setId : destPath;
    await backups.locate(inFolder(destFolder, `${setId}.collector`), "dest_path");
    const named = namespaces.flatMap((of) =>
      catalog.namesIn(of).map((name) => create(NamespacedNameSchema, { namespace: of, name })),
    );
    const total = BigInt(named.length + 1);
    let done = 0n;
    const advance = (phase: string): void => run.report({ done, total, phase });
    const made: BackupMetadata[] = [];
    const failures: Failure[] = [];
    const gone = new Set<NamespacedName>();
    advance("backing up");
    try {
      await forEachBounded(named, limits.copiesMax, async (collection) => {
        const of = `${collection.namespace}/${collection.name}`;
        const outcome = await attempt(run, log, async () => {
          advance(of);
          return this.#backUp(collection, request, { setId, destFolder }, run);
        });
        if (outcome instanceof CollectorError) {
          // Deleted since: at the moment of its backup there was none.
          if (outcome.reason === "COLLECTION_NOT_FOUND") gone.add(collection);
          else failures.push({ of, error: outcome });
        } else made.push(outcome);
        done += 1n;
        advance(of);
      });
      run.signal.throwIfAborted();
      const collections = named.filter((collection) => !gone.has(collection));
      const ofRegistry = await attempt(run, log, async () => {
        advance("registry");
        return this.#backUpRegistry(request, { setId, destFolder, collections }, run);
      });
      if (ofRegistry instanceof CollectorError)
        failures.push({ of: "registry", error: ofRegistry });
      else made.unshift(ofRegistry);
    } finally {
      if (made.length === 0) await removeSetFolder(join(folders.own, setId), setId);
    }
    if (failures.length > 0) throw incomplete(setId, failures, total);
    return { setId, backups: [...made.slice(0, 1), ...made.slice(1).sort(byName)] };
  }

  #backUp(
    { namespace, name }: NamespacedName,
    request: BackUpServer,
    { setId, destFolder }: { readonly setId: string; readonly destFolder: string },
    { signal }: CopyRun,
  ): Promise<BackupMetadata> {
    const { metadata, incremental, compression, excludeFiles } = request;
    return this.#options.backups.create(
      {
        namespace,
        name,
        destPath: "",
        destFolder,
        includeFiles: !excludeFiles,
        metadata,
        baseBackupId: "",
        incremental,
        compression,
        setId,
      },
      // Several are made at a time: how far one is says nothing of the whole.
      { signal, report: () => undefined },
    );
  }

  #backUpRegistry(
    request: BackUpServer,
    set: {
      readonly setId: string;
      readonly destFolder: string;
      readonly collections: readonly NamespacedName[];
    },
    run: CopyRun,
  ): Promise<BackupMetadata> {
    const { backups, registry, registryCopies, keys, clock } = this.#options;
    const { setId, destFolder, collections } = set;
    const compression = request.compression || this.#options.compression;
    const moment = timestampOfUs(clock.nowUs());
    const namespaces = registry.moment(request.namespace);
    const { recipients } = keys;
    const backup = create(BackupMetadataSchema, {
      content: BackupMetadata_Content.REGISTRY,
      metadata: { ...request.metadata },
      recordCount: entryCount(namespaces),
      compression,
      encrypted: recipients.length > 0,
      setId,
      createTime: moment,
      timestamp: moment.seconds,
    });
    return backups.add(backup, { destPath: "", destFolder }, (path, backupId) => {
      const { metadata, policy } = backup;
      const written = { backupId, metadata, setId, policy };
      const options = { namespaces, moment, collections, path, compression, recipients };
      return registryCopies.write({ ...options, backup: written }, run);
    });
  }
}

function byName(one: BackupMetadata, other: BackupMetadata): number {
  const [a, b] = [one, other].map(
    ({ collection }) => `${collection?.namespace ?? ""} ${collection?.name ?? ""}`,
  );
  return (a ?? "") < (b ?? "") ? -1 : 1;
}

function incomplete(setId: string, failures: readonly Failure[], total: bigint): CollectorError {
  const [first] = failures;
  const told = failures.slice(0, toldMax).map(({ of, error }) => `${of}: ${error.message}`);
  const more = failures.length > toldMax ? `; and ${failures.length - toldMax} more` : "";
  return new CollectorError(
    first?.error.reason ?? "INTERNAL",
    `${failures.length} of the ${total} backups of set ${setId} could not be made: ${told.join("; ")}${more}`,
    { subject: { set: setId }, cause: first?.error },
  );
}
