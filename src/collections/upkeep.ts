import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { CollectorError } from "../errors.ts";
import { ReindexCollectionResponseSchema } from "../gen/collector/collection_admin_pb.ts";
import { type Collection, CollectionSchema } from "../gen/collector/collection_pb.ts";
import type { Operation } from "../gen/collector/operations_pb.ts";
import type { Clock } from "../lib/clock.ts";
import type { Limits } from "../lib/limits.ts";
import type { OperationRun, OperationWork } from "../operations/operation.ts";
import type { OperationStore } from "../operations/operation-store.ts";
import type { TypeSource } from "../registry/type-snapshot.ts";
import { alter, takeBack } from "./alteration.ts";
import type { CatalogEntry } from "./catalog-entry.ts";
import { type AlteredParts, type DefinitionChanges, withParts } from "./definitions.ts";
import { KeyedLock } from "./keyed-lock.ts";
import { typeNameOf } from "./record-collection.ts";
import { RecordRequests } from "./record-requests.ts";
import { rederive } from "./rederive.ts";
import { reindex, takeBackReindex } from "./reindex.ts";
import { outdatedSignature, outdatedTypeVersion, typeSignature } from "./type-signature.ts";

export const indexBuildKind = "index-build";
export const typeUpgradeKind = "type-upgrade";
export const alterKind = "alter";
export const reindexKind = "reindex";

export interface UpkeepOptions {
  readonly operations: OperationStore;
  readonly types: TypeSource;
  readonly limits: Limits;
  readonly clock: Clock;
  /** Changes a definition, durably. */
  readonly change: (
    entry: CatalogEntry,
    changes: (definition: Collection) => DefinitionChanges,
  ) => Promise<void>;
  /** A definition as callers see it. */
  readonly answer: (entry: CatalogEntry) => Collection;
}

/** What the catalog does behind the callers' backs, as operations: indexes and derived data. */
export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #requests: RecordRequests;
  /** One collection is derived anew at a time: it is not urgent, and there may be many. */
  readonly #turns = new KeyedLock();

  constructor(options: UpkeepOptions) {
    this.#options = options;
    this.#requests = new RecordRequests(options.limits, options.clock);
  }

  /**
   * Begins to build and drop indexes until they are what the definition says then, and to alter the
   * collection.
   *
   * @param parts what to alter; undefined if only indexes on fields change.
   * @param ready the work waits for it: the definition is about to be changed.
   */
  async startModification(
    entry: CatalogEntry,
    parts: AlteredParts | undefined,
    ready: Promise<void>,
    onFailure: (error: unknown) => void,
  ): Promise<Operation> {
    const work = parts === undefined ? this.indexBuild(entry) : this.alteration(entry, parts);
    const kind = parts === undefined ? indexBuildKind : alterKind;
    const aim = parts === undefined ? entry.definition : withParts(entry.definition, parts);
    return this.#start(entry, kind, aim, async (run) => {
      try {
        await ready;
        return await work(run);
      } catch (error) {
        onFailure(error);
        throw error;
      }
    });
  }

  /** The work of an alteration, also after a restart: indexes on fields first, then the rest. */
  alteration(entry: CatalogEntry, parts: AlteredParts): OperationWork {
    const build = this.indexBuild(entry);
    const requests = this.#requests;
    return async (run) => {
      const commit = async (altered: AlteredParts): Promise<void> =>
        this.#options.change(entry, () => ({ altered }));
      try {
        await build(run);
        await alter({ entry, requests, commit, run }, parts);
      } catch (error) {
        if (!run.stopping.aborted) await takeBack({ entry, requests, run });
        throw error;
      }
      return anyPack(CollectionSchema, this.#options.answer(entry));
    };
  }

  /**
   * Begins to make anew what the records of a collection are found by; joins what does so already.
   *
   * @throws {CollectorError} OPERATION_RUNNING while the collection is being changed
   */
  async startReindex(entry: CatalogEntry, onFailure: (error: unknown) => void): Promise<Operation> {
    const running = this.runningOn(entry).find(({ kind }) => kind !== typeUpgradeKind);
    if (running?.kind === reindexKind) return running;
    if (running !== undefined) throw busy(entry, running);
    const work = this.reindexing(entry);
    return this.#start(entry, reindexKind, entry.definition, async (run) => {
      try {
        return await work(run);
      } catch (error) {
        onFailure(error);
        throw error;
      }
    });
  }

  /** The work of a reindex, also after a restart: then it starts over. */
  reindexing(entry: CatalogEntry): OperationWork {
    const requests = this.#requests;
    return async (run) => {
      try {
        const { recordCount, skippedCount } = await reindex({ entry, requests, run });
        const collection = this.#options.answer(entry);
        const response = { collection, recordCount, skippedCount };
        return anyPack(
          ReindexCollectionResponseSchema,
          create(ReindexCollectionResponseSchema, response),
        );
      } catch (error) {
        if (!run.stopping.aborted) await takeBackReindex({ entry, requests, run });
        throw error;
      }
    };
  }

  /** The work of an index build, also after a restart. */
  indexBuild(entry: CatalogEntry): OperationWork {
    return async (run) => {
      try {
        await this.#reconcileIndexes(entry, run);
      } catch (error) {
        if (isCancelled(run)) await this.#giveUpUnfinished(entry);
        throw error;
      }
      return anyPack(CollectionSchema, this.#options.answer(entry));
    };
  }

  async #reconcileIndexes(entry: CatalogEntry, run: OperationRun): Promise<void> {
    const wanted = entry.definition.indexedFields;
    const { indexes } = await entry.store.stats();
    for (const { path } of indexes) {
      run.signal.throwIfAborted();
      if (wanted.includes(path)) continue;
      run.report({ phase: `dropping the index on ${path}` });
      await entry.store.dropIndex(path);
    }
    const missing = wanted.filter((path) => !isReady(indexes, path));
    let before = 0n;
    for (const path of missing) {
      run.signal.throwIfAborted();
      let total = 0n;
      await entry.store.addIndex(
        { path },
        {
          signal: run.signal,
          onProgress: (progress) => {
            ({ total } = progress);
            run.report({
              done: before + progress.done,
              total: before + progress.total,
              phase: `building the index on ${path}`,
            });
          },
        },
      );
      before += total;
    }
  }

  /** After a cancel: the definition names only what is there. */
  async #giveUpUnfinished(entry: CatalogEntry): Promise<void> {
    if (entry.isDeleted || entry.isReplaced) return;
    const { indexes } = await entry.store.stats();
    await this.#options.change(entry, ({ indexedFields }) => ({
      indexedFields: indexedFields.filter((path) => isReady(indexes, path)),
    }));
    for (const { path, state } of indexes) {
      if (state !== "ready") await entry.store.dropIndex(path);
    }
  }

  /**
   * Begins to derive a collection's records anew if its type, or one inside it, has another version
   * than when they were derived. New writes follow the new version already.
   *
   * @returns undefined if nothing has to be done.
   * @throws {CollectorError} SHUTTING_DOWN, and the storage's failures. Then the next call begins it.
   */
  async followType(entry: CatalogEntry, signature: bigint): Promise<Operation | undefined> {
    const { definition } = entry;
    const version = this.#versionOf(definition);
    const isCurrent = definition.typeVersion === version && entry.typeSignature === signature;
    if (isCurrent || entry.isUpgrading) {
      entry.typeSignature = signature;
      return undefined;
    }
    try {
      const work = this.typeUpgrade(entry);
      const operation = await this.#start(entry, typeUpgradeKind, definition, work);
      entry.typeSignature = signature;
      return operation;
    } catch (error) {
      entry.isUpgrading = false;
      entry.typeSignature = outdatedSignature;
      throw error;
    }
  }

  /** The work of a type upgrade, also after a restart. */
  typeUpgrade(entry: CatalogEntry): OperationWork {
    entry.isUpgrading = true;
    return async (run) => {
      run.report({ phase: "waiting for its turn" });
      try {
        await this.#turns.run([typeUpgradeKind], () => this.#upgrade(entry, run));
      } finally {
        entry.isUpgrading = false;
      }
      return anyPack(CollectionSchema, this.#options.answer(entry));
    };
  }

  async #upgrade(entry: CatalogEntry, run: OperationRun): Promise<void> {
    while (entry.isUpgrading) {
      run.signal.throwIfAborted();
      const signature = this.#signatureOf(entry.definition);
      const version = this.#versionOf(entry.definition);
      await rederive({
        store: entry.store,
        requests: this.#requests,
        target: () => entry.records.target(),
        signal: run.signal,
        report: run.report,
        phase: "deriving records",
      });
      if (entry.definition.typeVersion !== version) {
        await this.#options.change(entry, () => ({ typeVersion: version }));
      }
      // From the look to the note nothing else runs, so no newer version is missed.
      entry.isUpgrading = signature !== this.#signatureOf(entry.definition);
    }
  }

  /** The operations on a collection that have not ended. */
  runningOn(entry: CatalogEntry): Operation[] {
    return this.#options.operations.running.filter(({ name }) => entry.operations.has(name));
  }

  /** Whether something derives records anew, or takes that back, or has to begin it yet. */
  isDeriving(entry: CatalogEntry): boolean {
    if (entry.definition.typeVersion === outdatedTypeVersion) return true;
    return this.runningOn(entry).some(({ kind }) => kind !== indexBuildKind);
  }

  /** Cancels all work on a collection and waits until it has stopped. */
  async cancelAll(entry: CatalogEntry): Promise<void> {
    const { operations } = this.#options;
    for (const { name } of this.runningOn(entry)) {
      await operations.cancel(name);
      await operations.wait(name, {});
    }
  }

  /** @param aim kept with the operation: the collection, and what it is to become. */
  async #start(
    entry: CatalogEntry,
    kind: string,
    aim: Collection,
    work: OperationWork,
  ): Promise<Operation> {
    const { definition, fullName } = entry;
    const operation = await this.#options.operations.start(
      {
        kind,
        namespace: definition.namespace,
        subject: fullName,
        metadata: anyPack(CollectionSchema, aim),
      },
      work,
    );
    entry.operations.add(operation.name);
    return operation;
  }

  #versionOf(definition: Collection): bigint {
    return this.#options.types.snapshot(definition.namespace).typeVersion(typeNameOf(definition));
  }

  #signatureOf(definition: Collection): bigint {
    return typeSignature(this.#options.types, definition.namespace, typeNameOf(definition));
  }
}

/** Refuses to change a collection that is being changed. */
export function busy(entry: CatalogEntry, running: Operation): CollectorError {
  return new CollectorError(
    "OPERATION_RUNNING",
    `${entry.fullName} is being changed by ${running.name}; wait for it or cancel it`,
    { subject: { operation: running.name } },
  );
}

function isReady(indexes: readonly { path: string; state: string }[], path: string): boolean {
  return indexes.some((index) => index.path === path && index.state === "ready");
}

function isCancelled({ signal }: OperationRun): boolean {
  const reason: unknown = signal.reason;
  return reason instanceof CollectorError && reason.reason === "CANCELLED";
}
