import { randomUUIDv7 } from "node:crypto";
import { mkdir } from "node:fs/promises";
import type { CollectionCatalog } from "../collections/catalog.ts";
import { type CheckedDefinition, locationOf } from "../collections/definitions.ts";
import { typeNameOf } from "../collections/record-collection.ts";
import { CollectorError } from "../errors.ts";
import type { Collection, Origin } from "../gen/collector/collection_pb.ts";
import type { Clock } from "../lib/clock.ts";
import { removeFolder } from "../lib/remove-folder.ts";
import type { Registry } from "../registry/registry.ts";
import type { RecordStore, StoreLocation } from "../storage/record-store.ts";
import type { StoreIntake } from "../storage/store-copies.ts";
import { ProblemsFound } from "./archive-failures.ts";
import { copyCollection } from "./copied-definition.ts";
import { checkDestination, nameTaken } from "./copy-destination.ts";
import type {
  ArchiveInstaller,
  ArchiveKeys,
  ArchiveProblem,
  CopyRun,
  InstalledCollection,
  InstallRequest,
  NoteDigest,
} from "./copy-parts.ts";
import { takeBase, withoutContent } from "./installer-base.ts";
import { type ChainLink, checkChain } from "./installer-chain.ts";
import {
  checkArchivedDefinition,
  checkSameLayout,
  definitionOf,
  installedDefinition,
} from "./installer-definition.ts";
import {
  type ChainWork,
  linkContents,
  StoreMaker,
  type StoreMakerOptions,
} from "./installer-store.ts";
import { type ArchivedTypes, checkTypes, linkTypes, registerTypes } from "./schema-install.ts";

export interface InstallerOptions extends Omit<StoreMakerOptions, "identities"> {
  readonly catalog: CollectionCatalog;
  readonly registry: Registry;
  readonly keys: Pick<ArchiveKeys, "identities">;
  readonly clock: Clock;
  /** Id of this server, which local copies name as where they come from. */
  readonly collectorId: string;
}

type Place = Pick<InstallRequest, "namespace" | "name" | "mode">;

/** @param options its scratch folder is the installer's alone: what an earlier run has left in it goes. */
export async function openInstaller(options: InstallerOptions): Promise<ArchiveInstaller> {
  await removeFolder(options.scratchFolder);
  await mkdir(options.scratchFolder, { recursive: true });
  return createInstaller(options);
}

/** As {@link openInstaller}, with the scratch folder as it is. */
export function createInstaller(options: InstallerOptions): ArchiveInstaller {
  return new Installer(options);
}

class Installer implements ArchiveInstaller {
  readonly #options: InstallerOptions;
  readonly #maker: StoreMaker;
  /** Names that something is being installed at. */
  readonly #busy = new Set<string>();

  constructor(options: InstallerOptions) {
    this.#options = options;
    this.#maker = new StoreMaker({ ...options, identities: options.keys.identities });
  }

  async install(request: InstallRequest, run: CopyRun): Promise<InstalledCollection> {
    return this.#alone(request, async () => {
      const onto = request.onto ?? false;
      const chain = await this.#readChain(request.chain, onto, request.sha256);
      const last = chain.at(-1) ?? chain[0];
      const replaces = this.#destination(request, last.collection.collectionId);
      const { work, checked } = this.#work(last, request, request.withoutFiles ?? false, run);
      checkSameLayout(chain, work);
      await checkTypes(work.types, this.#placeOf(request));
      const location = newLocation(replaces);
      try {
        await using intake = await this.#options.engine.intake();
        const isBaseDerived =
          onto && (await takeBase(intake, chain[0], replaces, work, this.#options));
        if (!onto) await this.#maker.unpack(intake, chain[0], work);
        const store = await this.#complete(intake, location, run);
        await settleIndexes(store, work.definition, run);
        if (request.withoutFiles === true) await store.files.replaceAll([], () => undefined);
        await this.#maker
          .applyAll(store, onto ? chain : chain.slice(1), work)
          .catch((error: unknown) => {
            throw onto ? withoutContent(error) : error;
          });
        await this.#maker.checkCounts(store, last, work);
        const { incarnation, revision } = last.manifest;
        const origin = { ...request.origin, incarnation, revision };
        return await this.#publish(
          {
            place: request,
            checked,
            types: work.types,
            source: last.collection,
            replaces,
            location,
            deriveAnew: isBaseDerived || chain.some(({ manifest }) => manifest.deriveAnew),
          },
          origin,
          store,
          run,
        );
      } catch (error) {
        await this.#dropUnless(error, location);
        throw error instanceof ProblemsFound ? error.toError() : error;
      }
    });
  }

  async verify(
    paths: readonly string[],
    run: CopyRun,
    noteDigest: NoteDigest = () => undefined,
  ): Promise<readonly ArchiveProblem[]> {
    const { archives, keys, engine } = this.#options;
    const problems: ArchiveProblem[] = [];
    for (const [index, path] of paths.entries()) {
      const { faults, sha256 } = await archives.unpack({
        path,
        identities: keys.identities,
        targets: new Map(),
        signal: run.signal,
        onProgress: (progress) => run.report({ ...progress, phase: "reading" }),
      });
      problems.push(...faults.map((fault) => ({ archive: index, ...fault })));
      if (sha256 !== undefined) noteDigest(index, sha256);
    }
    if (problems.length > 0) return problems;
    const location = newLocation(undefined);
    try {
      const chain = await this.#readChain(paths, false);
      const last = chain.at(-1) ?? chain[0];
      const place = { namespace: "default", name: "verified" };
      const { work } = this.#work(last, place, false, run);
      checkSameLayout(chain, work);
      await using intake = await engine.intake();
      await this.#maker.unpack(intake, chain[0], work);
      if (chain.length > 1) {
        const store = await this.#complete(intake, location, run);
        await settleIndexes(store, work.definition, run);
        await this.#maker.applyAll(store, chain.slice(1), work);
        await this.#maker.checkCounts(store, last, work);
      }
      return [];
    } catch (error) {
      if (error instanceof ProblemsFound) return error.problems;
      if (!(error instanceof CollectorError) || error.reason !== "ARCHIVE_INVALID") throw error;
      const description = error.message;
      return [{ archive: paths.length - 1, part: "manifest", offset: -1n, description }];
    } finally {
      if (await engine.exists(location)) await engine.drop(location);
    }
  }

  async clone(
    request: Parameters<ArchiveInstaller["clone"]>[0],
    run: CopyRun,
  ): Promise<InstalledCollection & { readonly bytes: bigint }> {
    const { catalog, registry, limits, engine, collectorId } = this.#options;
    return this.#alone(request, async () => {
      const { source, includeFiles } = request;
      const found = catalog.get(source);
      const replaces = this.#destination(request, found.collectionId);
      const typeName = typeNameOf(found);
      const schema = registry.closure(source.namespace, [], [typeName]);
      const types = linkTypes(schema, typeName, registry);
      await checkTypes(types, this.#placeOf(request));
      const location = newLocation(replaces);
      try {
        await using intake = await engine.intake();
        await using copy = await copyCollection(
          this.#options,
          { ...source, files: includeFiles, path: intake.dataPath },
          run,
        );
        const { definition: collection, snapshot, deriveAnew } = copy;
        const checked = checkArchivedDefinition(collection, request, types, limits);
        await linkContents(intake, snapshot, run);
        const store = await this.#complete(intake, location, run);
        await settleIndexes(store, collection, run);
        const { incarnation, revision, recordCount } = snapshot;
        const stats = await store.stats();
        const mayExpire = deriveAnew || collection.expiry !== undefined;
        if (!mayExpire && stats.recordCount !== recordCount) {
          throw new CollectorError("STORAGE_CORRUPT", "a copy has not the records of its source");
        }
        const origin = {
          backupId: "",
          collectorId,
          collection: { $typeName: "collector.NamespacedName" as const, ...source },
          collectionId: collection.collectionId,
          incarnation,
          revision,
        };
        const installed = await this.#publish(
          { place: request, checked, types, source: collection, replaces, location, deriveAnew },
          origin,
          store,
          run,
        );
        return { ...installed, bytes: snapshot.dataBytes + snapshot.files.bytes };
      } catch (error) {
        await this.#dropUnless(error, location);
        throw error;
      }
    });
  }

  /** Registers the types and makes the collection visible: what comes last. */
  async #publish(
    made: {
      readonly place: Place;
      readonly checked: CheckedDefinition;
      readonly types: ArchivedTypes;
      readonly source: Collection;
      readonly replaces: Collection | undefined;
      readonly location: StoreLocation;
      readonly deriveAnew: boolean;
    },
    origin: Omit<Origin, "$typeName" | "copiedAt">,
    store: RecordStore,
    run: CopyRun,
  ): Promise<InstalledCollection> {
    const { catalog, clock, registry } = this.#options;
    const { place, types, location, replaces } = made;
    run.report({ phase: "installing" });
    const { recordCount } = await store.stats();
    const { count: fileCount } = await store.files.stats();
    run.signal.throwIfAborted();
    const isSameType = await registerTypes(types, this.#placeOf(place));
    const isCurrent = isSameType && !made.deriveAnew;
    const typeVersion = registry.snapshot(place.namespace).typeVersion(types.desc.typeName);
    const definition = installedDefinition({
      ...made,
      collectionId: location.storeId,
      generation: location.generation,
      typeVersion,
      origin,
      nowUs: clock.nowUs(),
    });
    const collection = await catalog.install(definition, { replaces, outdated: !isCurrent });
    return { collection, recordCount, fileCount };
  }

  async #readChain(
    paths: readonly string[],
    onto: boolean,
    lastSha256 = "",
  ): Promise<[ChainLink, ...ChainLink[]]> {
    const { archives, keys } = this.#options;
    const read: Pick<ChainLink, "path" | "manifest" | "sha256">[] = [];
    for (const [index, path] of paths.entries()) {
      const sha256 = index === paths.length - 1 ? lastSha256 : "";
      read.push({ path, manifest: await archives.manifest(path, keys.identities), sha256 });
    }
    return checkChain(read, onto);
  }

  #work(
    last: ChainLink,
    place: Pick<Place, "namespace" | "name">,
    withoutFiles: boolean,
    run: CopyRun,
  ): { work: ChainWork; checked: CheckedDefinition } {
    const { registry, limits } = this.#options;
    const types = linkTypes(last.manifest.schema, typeNameOf(last.collection), registry);
    const checked = checkArchivedDefinition(last.collection, place, types, limits);
    return { checked, work: { definition: definitionOf(last, checked), types, withoutFiles, run } };
  }

  /** What is there already. @throws {CollectorError} COLLECTION_EXISTS */
  #destination({ namespace, name, mode }: Place, sourceId: string): Collection | undefined {
    const current = this.#options.catalog.find(namespace, name);
    if (current === undefined || mode === "replace") return current;
    if (mode === "refresh" && current.origin?.collectionId === sourceId) return current;
    throw nameTaken({ namespace, name }, mode === "create" ? "collection" : "no copy");
  }

  async #alone<T>({ namespace, name }: Place, work: () => Promise<T>): Promise<T> {
    checkDestination({ namespace, name });
    const key = `${namespace}/${name}`;
    if (this.#busy.has(key)) {
      const problem = `another copy is being installed as ${key}; wait for it or cancel it`;
      throw new CollectorError("OPERATION_RUNNING", problem, {
        subject: { namespace, collection: name },
      });
    }
    this.#busy.add(key);
    try {
      return await work();
    } finally {
      this.#busy.delete(key);
    }
  }

  #placeOf({ namespace }: Pick<Place, "namespace">): { registry: Registry; namespace: string } {
    return { registry: this.#options.registry, namespace };
  }

  async #complete(
    intake: StoreIntake,
    location: StoreLocation,
    run: CopyRun,
  ): Promise<RecordStore> {
    run.signal.throwIfAborted();
    return this.#maker.complete(intake, location);
  }

  /**
   * Drops a store, unless the catalog names it: then it is a collection's data, whatever has failed since. If
   * it is unknown whether the definition is on the disk, the next start finds out.
   */
  async #dropUnless(error: unknown, location: StoreLocation): Promise<void> {
    if (error instanceof CollectorError && error.reason === "WRITE_OUTCOME_UNKNOWN") return;
    const { engine, catalog } = this.#options;
    const { storeId, generation } = location;
    const isNamed = catalog
      .definitionsIn("")
      .map(locationOf)
      .some((named) => named.storeId === storeId && named.generation === generation);
    if (isNamed) return;
    // The failure is told; a store that cannot be dropped now goes at the next start.
    await engine.drop(location).catch(() => undefined);
  }
}

function newLocation(replaces: Collection | undefined): StoreLocation {
  if (replaces === undefined) return { storeId: randomUUIDv7(), generation: 1n };
  const { storeId, generation } = locationOf(replaces);
  return { storeId, generation: generation + 1n };
}

/** Finishes what the source was about to do when it was copied. */
async function settleIndexes(store: RecordStore, source: Collection, run: CopyRun): Promise<void> {
  const { indexes } = await store.stats();
  const isReady = (path: string): boolean =>
    indexes.some((index) => index.path === path && index.state === "ready");
  for (const { path } of indexes) {
    if (!source.indexedFields.includes(path)) await store.dropIndex(path);
  }
  for (const path of source.indexedFields) {
    if (!isReady(path)) await store.addIndex({ path }, { signal: run.signal });
  }
}
