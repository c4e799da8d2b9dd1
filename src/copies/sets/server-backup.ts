import { randomUUIDv7 } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import type { CollectionCatalog } from "../../collections/catalog.ts";
import { refuseSystemWrite } from "../../collections/names.ts";
import { timestampOfUs } from "../../collections/record-answers.ts";
import { CollectorError } from "../../errors.ts";
import {
  type BackupMetadata,
  BackupMetadata_Content,
  BackupMetadataSchema,
  type Compression,
} from "../../gen/collector/collection_repo_pb.ts";
import type { NamespacedName } from "../../gen/collector/common_pb.ts";
import { forEachBounded } from "../../lib/bounded.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import type { Registry } from "../../registry/registry.ts";
import { chosenCompression } from "../backup-compression.ts";
import { inFolder } from "../backup-folders.ts";
import { checkNotes } from "../backup-notes.ts";
import type { BackupCatalog } from "../backup-parts.ts";
import type { ArchiveKeys, CopyRun } from "../copy-parts.ts";
import { backUpListed, type ListedCollection } from "../listed-collection.ts";
import { attempt } from "./attempt.ts";
import { entryCount, type RegistryCopies } from "./registry-copies.ts";
import { SetNames } from "./set-names.ts";

export interface ServerBackupOptions {
  readonly backups: BackupCatalog;
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

/** A set that a policy makes. */
export interface BackUpByPolicy extends BackUpServer {
  readonly policy: string;
  /**
   * What the backup of a collection, given by its id, is to be based on, if it is incremental; undefined: it holds
   * everything.
   */
  readonly baseOf: (collectionId: string) => string | undefined;
}

/** What became of a set. */
export interface MadeSet {
  readonly setId: string;
  /** How many backups it should have. */
  readonly total: bigint;
  readonly failures: readonly SetFailure[];
}

/** Backups of one moment each, under one name. */
export interface BackupSet {
  readonly setId: string;
  /** That of the registry first. */
  readonly backups: readonly BackupMetadata[];
}

/** One that could not be made. */
export interface SetFailure {
  /** A collection, or `registry`. */
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
   * Makes a backup of every collection, whatever it is called by then, and of the registry in the end: a set
   * without that was cut. What is made stays, whatever becomes of the rest.
   *
   * @throws {CollectorError} ARGUMENT_INVALID, NAMESPACE_NOT_FOUND, SYSTEM_READ_ONLY; CANCELLED; if some
   * could not be made, the reason of the first, and a message that names them
   */
  async run(request: BackUpServer, run: CopyRun): Promise<BackupSet> {
    const backups: BackupMetadata[] = [];
    const { setId, failures, total } = await this.make(request, run, (backup) => {
      backups.push(backup);
    });
    if (failures.length > 0) throw incomplete(setId, failures, total);
    return { setId, backups: backups.sort(registryFirst) };
  }

  /**
   * The same, telling of each backup once it is there.
   *
   * @throws {CollectorError} as {@link run}, but for what could not be made: that is answered
   */
  async make(
    given: BackUpServer | BackUpByPolicy,
    run: CopyRun,
    onMade: (backup: BackupMetadata) => void,
  ): Promise<MadeSet> {
    const { backups, catalog, registry, limits, log } = this.#options;
    const compression = chosenCompression(given.compression, this.#options.compression);
    const request = { ...given, compression };
    const { namespace, destPath } = request;
    refuseSystemWrite(namespace);
    checkNotes(request.metadata);
    const namespaces = new Set(registry.moment(namespace).map((moment) => moment.namespace.name));
    const setId = randomUUIDv7();
    const destFolder = destPath === "" ? setId : destPath;
    await backups.locate(inFolder(destFolder, `${setId}.collector`), "dest_path");
    const listed = catalog.definitionsIn(namespace).filter((one) => namespaces.has(one.namespace));
    const total = BigInt(listed.length + 1);
    let done = 0n;
    const advance = (phase: string): void => run.report({ done, total, phase });
    const failures: SetFailure[] = [];
    const gone = new Set<ListedCollection>();
    const names = new SetNames();
    advance("backing up");
    await forEachBounded(listed, limits.copiesMax, async (collection) => {
      const of = `${collection.namespace}/${collection.name}`;
      const outcome = await attempt(run, log, async () => {
        advance(of);
        return this.#backUp(collection, request, { setId, destFolder, names }, run);
      });
      if (outcome instanceof CollectorError) failures.push({ of, error: outcome });
      // Deleted since: at the moment of its backup there was none.
      else if (outcome === undefined) gone.add(collection);
      else onMade(outcome);
      done += 1n;
      advance(of);
    });
    run.signal.throwIfAborted();
    const collections = listed
      .filter((collection) => !gone.has(collection))
      .map((collection) => names.of(collection));
    const ofRegistry = await attempt(run, log, async () => {
      advance("registry");
      return this.#backUpRegistry(request, { setId, destFolder, collections }, run);
    });
    if (ofRegistry instanceof CollectorError) failures.push({ of: "registry", error: ofRegistry });
    else onMade(ofRegistry);
    return { setId, total, failures };
  }

  #backUp(
    collection: ListedCollection,
    request: BackUpServer | BackUpByPolicy,
    set: { readonly setId: string; readonly destFolder: string; readonly names: SetNames },
    { signal }: CopyRun,
  ): Promise<BackupMetadata | undefined> {
    const { metadata, incremental, compression, excludeFiles } = request;
    const { setId, destFolder, names } = set;
    const base = "policy" in request ? request.baseOf(collection.collectionId) : undefined;
    const basis =
      "policy" in request
        ? { policy: request.policy, incremental: base !== undefined, preferredBaseId: base }
        : { incremental };
    return backUpListed(
      this.#options,
      collection,
      {
        destPath: "",
        destFolder,
        includeFiles: !excludeFiles,
        metadata,
        baseBackupId: "",
        compression,
        setId,
        ...basis,
      },
      // Several are made at a time: how far one is says nothing of the whole.
      { signal, report: () => undefined },
      (current) => names.claim(current),
    );
  }

  #backUpRegistry(
    request: BackUpServer | BackUpByPolicy,
    set: {
      readonly setId: string;
      readonly destFolder: string;
      readonly collections: readonly NamespacedName[];
    },
    run: CopyRun,
  ): Promise<BackupMetadata> {
    const { backups, registry, registryCopies, keys, clock } = this.#options;
    const { setId, destFolder, collections } = set;
    const { compression } = request;
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
      policy: "policy" in request ? request.policy : "",
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

/** Then by name. No collection has an empty one. */
function registryFirst(one: BackupMetadata, other: BackupMetadata): number {
  const [a, b] = [one, other].map(({ collection }) =>
    collection === undefined ? "" : `${collection.namespace} ${collection.name}`,
  );
  return (a ?? "") < (b ?? "") ? -1 : 1;
}

function incomplete(setId: string, failures: readonly SetFailure[], total: bigint): CollectorError {
  const [first] = failures;
  const told = failures.slice(0, toldMax).map(({ of, error }) => `${of}: ${error.message}`);
  const more = failures.length > toldMax ? `; and ${failures.length - toldMax} more` : "";
  return new CollectorError(
    first?.error.reason ?? "INTERNAL",
    `${failures.length} of the ${total} backups of set ${setId} could not be made: ${told.join("; ")}${more}`,
    { subject: { set: setId }, cause: first?.error },
  );
}
