import { randomUUIDv7 } from "node:crypto";
import { create, type DescMessage } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { CollectorError, invalidField } from "../errors.ts";
import type {
  DeleteCollectionRequest,
  RenameCollectionRequest,
} from "../gen/collector/collection_admin_pb.ts";
import { type Collection, CollectionSchema, Durability } from "../gen/collector/collection_pb.ts";
import type { DescribeResponse, ModifyRequest } from "../gen/collector/collection_server_pb.ts";
import type { NamespacedName } from "../gen/collector/common_pb.ts";
import type { Operation } from "../gen/collector/operations_pb.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import type { Limits } from "../lib/limits.ts";
import { type Log, silentLog } from "../lib/log.ts";
import type { OperationResumer, OperationStore } from "../operations/operation-store.ts";
import { systemNamespace } from "../registry/names.ts";
import type { TypeSource } from "../registry/type-snapshot.ts";
import type { TypeUsage } from "../registry/type-usage.ts";
import type { StorageEngine, StoreLocation } from "../storage/record-store.ts";
import { CatalogEntry } from "./catalog-entry.ts";
import { CatalogIndex, type DiscoverQuery } from "./catalog-index.ts";
import {
  changedDefinition,
  checkDefinition,
  checkEtag,
  layoutOf,
  locationOf,
  newDefinition,
} from "./definitions.ts";
import { describeCollection } from "./describe.ts";
import { KeyedLock } from "./keyed-lock.ts";
import { type ModifyPlan, planModify } from "./modify.ts";
import { checkCollectionName, refuseSystemWrite } from "./names.ts";
import { type RecordCollection, typeNameOf } from "./record-collection.ts";
import { systemLocation, systemStorePrefix } from "./system-collections.ts";
import type { SystemRecords } from "./system-records.ts";
import { typeSignature } from "./type-signature.ts";
import { indexBuildKind, typeUpgradeKind, Upkeep } from "./upkeep.ts";

export interface CollectionCatalogOptions {
  readonly engine: StorageEngine;
  /** Collection `collections` of namespace `system`. */
  readonly definitions: SystemRecords<Collection>;
  /** The collections of namespace `system`, by name, with the types of their records. */
  readonly systemCollections: Readonly<Record<string, DescMessage>>;
  readonly types: TypeSource;
  readonly operations: OperationStore;
  readonly limits: Limits;
  /** Where this server is reached, as `http://host:port`. Asked for each answer. */
  readonly endpoint: () => string;
  /** Makes sure that a namespace is known before a collection is made in it. */
  readonly ensureNamespace?: (namespace: string) => Promise<void>;
  readonly clock?: Clock;
  readonly log?: Log;
}

export interface DiscoveredCollections {
  readonly collections: Collection[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

export interface ModifiedCollection {
  readonly collection: Collection;
  /** The work on indexes, ended or not; undefined if there is none to do. */
  readonly operation?: Operation;
}

/**
 * All collections: their definitions, in memory and as records of collection `system/collections`,
 * and the way to their records.
 *
 * A collection is made store first and definition second, and goes the other way round. What a crash
 * leaves between the two is a store that no definition names; it is dropped at the next start.
 */
export class CollectionCatalog implements TypeUsage {
  readonly #options: Required<CollectionCatalogOptions>;
  readonly #index = new CatalogIndex();
  readonly #upkeep: Upkeep;
  /** By full names and by ids of collections whose definitions change. */
  readonly #locks = new KeyedLock();
  /** Collections on the way into the catalog, by id: their types count as used. */
  readonly #creating = new Map<string, { namespace: string; typeName: string }>();

  private constructor(options: Required<CollectionCatalogOptions>) {
    this.#options = options;
    const { operations, types, limits } = options;
    this.#upkeep = new Upkeep({
      operations,
      types,
      limits,
      change: (entry, changes) =>
        this.#locked(entry, () => this.#replace(entry, changes(entry.definition))),
      answer: (entry) => this.#answer(entry),
    });
  }

  /**
   * Reads all definitions and drops stores that none of them names. Costs one list, whatever the
   * number of collections: their stores are opened when they are used.
   */
  static async open(options: CollectionCatalogOptions): Promise<CollectionCatalog> {
    const catalog = new CollectionCatalog({
      ensureNamespace: () => Promise.resolve(),
      clock: systemClock,
      log: silentLog,
      ...options,
    });
    for (const [name, schema] of Object.entries(options.systemCollections)) {
      catalog.#add(systemDefinition(name, schema), systemLocation(name));
    }
    await catalog.#load();
    catalog.#noteSignatures();
    await catalog.#dropOrphans();
    return catalog;
  }

  /**
   * What goes on with the operations that the last stop has cut, by kind, for
   * {@link OperationStore.resume}.
   */
  get resumers(): Readonly<Record<string, OperationResumer>> {
    return {
      [indexBuildKind]: (operation) => {
        const entry = this.#subjectOf(operation);
        return entry === undefined ? undefined : this.#upkeep.indexBuild(entry);
      },
      [typeUpgradeKind]: (operation) => {
        const entry = this.#subjectOf(operation);
        return entry === undefined ? undefined : this.#upkeep.typeUpgrade(entry);
      },
    };
  }

  /**
   * To be called when types of a namespace have changed, and for each namespace once at start, after
   * the operations were resumed: collections follow the newest version of their types. What was
   * derived by an older one is derived anew behind, as operations.
   *
   * @param namespace every one if undefined
   */
  async followTypes(namespace?: string): Promise<Operation[]> {
    const entries =
      namespace === undefined ? this.#index.all : [...this.#index.inNamespace(namespace)];
    const signatureOf = this.#signatures();
    const started: Operation[] = [];
    for (const entry of entries) {
      if (entry.definition.namespace === systemNamespace) continue;
      const operation = await this.#upkeep.followType(entry, signatureOf(entry));
      if (operation !== undefined) started.push(operation);
    }
    return started;
  }

  /**
   * Makes a collection. It is durable, and empty, when the promise resolves.
   *
   * @throws {CollectorError} COLLECTION_EXISTS, and what {@link checkDefinition} throws
   */
  async create(
    collection: Collection | undefined,
    { validateOnly = false }: { readonly validateOnly?: boolean } = {},
  ): Promise<Collection> {
    const { types, limits, clock, engine, definitions } = this.#options;
    const checked = checkDefinition(collection, types, limits);
    const { namespace, name } = checked;
    if (validateOnly) {
      this.#refuseTaken(namespace, name, "collection.name");
      return {
        ...newDefinition(checked, "", clock.nowUs()),
        serverEndpoint: this.#options.endpoint(),
      };
    }
    const id = randomUUIDv7();
    this.#creating.set(id, { namespace, typeName: checked.desc.typeName });
    try {
      return await this.#locks.run([`${namespace}/${name}`], async () => {
        this.#refuseTaken(namespace, name, "collection.name");
        await this.#options.ensureNamespace(namespace);
        const definition = newDefinition(checked, id, clock.nowUs());
        const location = locationOf(definition);
        await engine.create(location, layoutOf(definition));
        try {
          await definitions.write([{ kind: "put", id, value: definition }]);
        } catch (error) {
          await this.#dropUnnamed(location, error);
          throw error;
        }
        return this.#answer(this.#add(definition, location, this.#signatures()));
      });
    } finally {
      this.#creating.delete(id);
    }
  }

  /** The records of a collection. Costs two look-ups. @throws {CollectorError} COLLECTION_NOT_FOUND */
  open(namespace: string, name: string): RecordCollection {
    return this.#index.get(namespace, name).records;
  }

  /** @throws {CollectorError} ARGUMENT_MISSING, COLLECTION_NOT_FOUND */
  get(reference: Pick<NamespacedName, "namespace" | "name"> | undefined): Collection {
    return this.#answer(this.#named(reference));
  }

  /** By namespace and name. @throws {CollectorError} PAGE_SIZE_INVALID, PAGE_TOKEN_INVALID */
  discover(query: DiscoverQuery): DiscoveredCollections {
    const { entries, nextPageToken } = this.#index.discover(query, this.#options.limits);
    return { collections: entries.map((entry) => this.#answer(entry)), nextPageToken };
  }

  /** @throws {CollectorError} COLLECTION_NOT_FOUND, and the storage's failures */
  async describe(namespace: string, name: string): Promise<Omit<DescribeResponse, "status">> {
    const entry = this.#index.get(namespace, name);
    return describeCollection(entry, this.#answer(entry));
  }

  /**
   * Removes a collection with all its records. Calls on it that are under way may finish.
   *
   * @throws {CollectorError} COLLECTION_NOT_FOUND, VERSION_MISMATCH, SYSTEM_READ_ONLY
   */
  async delete(
    request: Pick<
      DeleteCollectionRequest,
      "collection" | "allowMissing" | "ifMatch" | "validateOnly"
    >,
  ): Promise<void> {
    const { namespace, name } = checkReference(request.collection);
    refuseSystemWrite(namespace);
    await this.#locks.run([`${namespace}/${name}`], async () => {
      if (request.allowMissing && this.#index.find(namespace, name) === undefined) return;
      const entry = this.#index.get(namespace, name);
      await this.#locked(entry, async () => {
        checkEtag(entry.definition, request.ifMatch);
        if (request.validateOnly) return;
        const { definitions } = this.#options;
        await definitions.write([{ kind: "delete", id: entry.definition.collectionId }]);
        entry.isDeleted = true;
        this.#index.remove(entry);
      });
      if (entry.isDeleted) await this.#dropStore(entry);
    });
  }

  /**
   * Gives a collection another name in its namespace.
   *
   * @throws {CollectorError} COLLECTION_NOT_FOUND, COLLECTION_EXISTS, NAME_INVALID, VERSION_MISMATCH,
   * SYSTEM_READ_ONLY
   */
  async rename(
    request: Pick<RenameCollectionRequest, "collection" | "newName" | "ifMatch" | "validateOnly">,
  ): Promise<Collection> {
    const { namespace, name } = checkReference(request.collection);
    const { newName } = request;
    refuseSystemWrite(namespace);
    checkCollectionName(newName, "new_name");
    const keys = [...new Set([`${namespace}/${name}`, `${namespace}/${newName}`])];
    return this.#locks.run(keys, async () => {
      const entry = this.#index.get(namespace, name);
      return this.#locked(entry, async () => {
        checkEtag(entry.definition, request.ifMatch);
        if (newName === name) return this.#answer(entry);
        this.#refuseTaken(namespace, newName, "new_name");
        if (request.validateOnly) return { ...this.#answer(entry), name: newName };
        await this.#replace(entry, { name: newName });
        return this.#answer(entry);
      });
    });
  }

  /**
   * Changes indexed fields and labels. Indexes are built and dropped by an operation, which goes on
   * whether or not somebody waits.
   *
   * @param waiting how long to wait for it; not at all if `returnImmediately` is set.
   * @throws {CollectorError} COLLECTION_NOT_FOUND, FIELD_UNKNOWN, ARGUMENT_INVALID, LABEL_INVALID,
   * VERSION_MISMATCH, SYSTEM_READ_ONLY; OPERATION_RUNNING while other indexes are being built; what
   * the work failed with, if it failed while it was waited for.
   */
  async modify(
    request: Omit<ModifyRequest, "$typeName" | "$unknown">,
    waiting: { readonly timeoutMs?: number | undefined; readonly signal?: AbortSignal | undefined },
  ): Promise<ModifiedCollection> {
    refuseSystemWrite(request.namespace);
    const entry = this.#index.get(request.namespace, request.collectionName);
    const failure: { error?: unknown } = {};
    const operation = await this.#locked(entry, async () => {
      const plan = await planModify(entry, request, this.#upkeep, this.#options.limits);
      if (request.validateOnly) return undefined;
      return this.#applyModify(entry, plan, failure);
    });
    if (operation === undefined) return { collection: this.#answer(entry) };
    if (request.returnImmediately) return { collection: this.#answer(entry), operation };
    const seen = await this.#options.operations.wait(operation.name, waiting);
    if (seen.done && seen.result.case === "error" && failure.error !== undefined)
      throw failure.error;
    return { collection: this.#answer(entry), operation: seen };
  }

  async #applyModify(
    entry: CatalogEntry,
    plan: ModifyPlan,
    failure: { error?: unknown },
  ): Promise<Operation | undefined> {
    const { changes, changesIndexes, joins } = plan;
    if (!changesIndexes) {
      if (changes !== undefined) await this.#replace(entry, changes);
      return joins;
    }
    // The operation is durable before the definition is: after a crash it makes the two agree.
    const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
    const operation = await this.#upkeep.startIndexBuild(entry, ready, (error) => {
      failure.error = error;
    });
    try {
      if (changes !== undefined) await this.#replace(entry, changes);
      resolve();
    } catch (error) {
      reject(error);
      throw error;
    }
    return operation;
  }

  collectionsUsing(namespace: string, typeNames: ReadonlySet<string>): readonly string[] {
    const names: string[] = [];
    for (const { definition } of this.#index.inNamespace(namespace)) {
      if (typeNames.has(typeNameOf(definition))) names.push(definition.name);
    }
    for (const creating of this.#creating.values()) {
      if (creating.namespace === namespace && typeNames.has(creating.typeName)) {
        names.push("(being created)");
      }
    }
    return names;
  }

  hasCollections(namespace: string): boolean {
    if (this.#index.hasNamespace(namespace)) return true;
    return [...this.#creating.values()].some((creating) => creating.namespace === namespace);
  }

  #named(reference: Pick<NamespacedName, "namespace" | "name"> | undefined): CatalogEntry {
    const { namespace, name } = checkReference(reference);
    return this.#index.get(namespace, name);
  }

  #add(
    definition: Collection,
    location: StoreLocation,
    signatureOf?: (entry: CatalogEntry) => bigint,
  ): CatalogEntry {
    const { engine, types, limits } = this.#options;
    const shared = { types, limits, locks: new KeyedLock() };
    const entry = new CatalogEntry(definition, engine.store(location), shared);
    if (signatureOf !== undefined) entry.typeSignature = signatureOf(entry);
    this.#index.add(entry);
    return entry;
  }

  /** Runs work that changes a definition, after other such work on it. */
  #locked<T>(entry: CatalogEntry, work: () => Promise<T>): Promise<T> {
    return this.#locks.run([entry.definition.collectionId], async () => {
      if (!entry.isDeleted) return work();
      throw new CollectorError("COLLECTION_NOT_FOUND", `collection ${entry.fullName} was deleted`, {
        subject: { namespace: entry.definition.namespace, collection: entry.definition.name },
      });
    });
  }

  /** Writes a changed definition and puts it in force. */
  async #replace(
    entry: CatalogEntry,
    changes: Parameters<typeof changedDefinition>[1],
  ): Promise<void> {
    const definition = changedDefinition(entry.definition, changes, this.#options.clock.nowUs());
    const id = definition.collectionId;
    await this.#options.definitions.write([{ kind: "put", id, value: definition }]);
    this.#index.remove(entry);
    entry.definition = definition;
    this.#index.add(entry);
  }

  #answer({ definition }: CatalogEntry): Collection {
    return { ...definition, serverEndpoint: this.#options.endpoint() };
  }

  #refuseTaken(namespace: string, name: string, field: string): void {
    if (this.#index.find(namespace, name) === undefined) return;
    const description = `a collection of this name is in namespace ${namespace} already`;
    throw new CollectorError("COLLECTION_EXISTS", `${field}: ${description}`, {
      subject: { namespace, collection: name },
      violations: [{ field, description }],
    });
  }

  #subjectOf(operation: Operation): CatalogEntry | undefined {
    const { metadata, name } = operation;
    const collection = metadata === undefined ? undefined : anyUnpack(metadata, CollectionSchema);
    const id = collection?.collectionId;
    const entry = this.#index.all.find(({ definition }) => definition.collectionId === id);
    entry?.operations.add(name);
    return entry;
  }

  #signatures(): (entry: CatalogEntry) => bigint {
    const known = new Map<string, bigint>();
    return ({ definition }) => {
      const typeName = typeNameOf(definition);
      const key = `${definition.namespace}/${typeName}`;
      const signature =
        known.get(key) ?? typeSignature(this.#options.types, definition.namespace, typeName);
      known.set(key, signature);
      return signature;
    };
  }

  #noteSignatures(): void {
    const signatureOf = this.#signatures();
    for (const entry of this.#index.all) entry.typeSignature = signatureOf(entry);
  }

  async #dropStore(entry: CatalogEntry): Promise<void> {
    try {
      await this.#upkeep.cancelAll(entry);
      await this.#options.engine.drop(locationOf(entry.definition));
    } catch (error) {
      // The collection is gone all the same; the next start drops what is left.
      const { collectionId } = entry.definition;
      this.#options.log.warn({ store: collectionId, err: error }, "store could not be dropped");
    }
  }

  /** Takes back a store whose definition could not be written. */
  async #dropUnnamed(location: StoreLocation, failure: unknown): Promise<void> {
    // Then the definition may be on the disk all the same; the next start finds out.
    const isUnknown =
      failure instanceof CollectorError && failure.reason === "WRITE_OUTCOME_UNKNOWN";
    if (isUnknown) return;
    try {
      await this.#options.engine.drop(location);
    } catch (error) {
      const { storeId } = location;
      this.#options.log.warn({ store: storeId, err: error }, "store could not be dropped");
    }
  }

  async #load(): Promise<void> {
    const { definitions, log } = this.#options;
    const replaced: string[] = [];
    for await (const { value } of definitions.all()) {
      // Only a create whose outcome nobody knew, sent again, leaves two; the later was acknowledged.
      const earlier = this.#index.find(value.namespace, value.name);
      if (earlier !== undefined) replaced.push(earlier.definition.collectionId);
      this.#add(value, locationOf(value));
    }
    if (replaced.length === 0) return;
    log.warn({ collections: replaced }, "removing definitions whose creation was never answered");
    await definitions.write(replaced.map((id) => ({ kind: "delete", id })));
  }

  async #dropOrphans(): Promise<void> {
    const { engine, log } = this.#options;
    const named = new Set(this.#index.all.map(({ definition }) => keyOf(locationOf(definition))));
    for (const location of await engine.list()) {
      if (location.storeId.startsWith(systemStorePrefix) || named.has(keyOf(location))) continue;
      log.info({ store: location.storeId }, "dropping a store that no collection names");
      await engine.drop(location);
    }
  }
}

function keyOf({ storeId, generation }: StoreLocation): string {
  return `${storeId}/${generation}`;
}

function checkReference(
  reference: Pick<NamespacedName, "namespace" | "name"> | undefined,
): Pick<NamespacedName, "namespace" | "name"> {
  if (reference !== undefined && reference.name !== "") return reference;
  throw invalidField("ARGUMENT_MISSING", "collection.name", "names no collection");
}

function systemDefinition(name: string, schema: DescMessage): Collection {
  return create(CollectionSchema, {
    namespace: systemNamespace,
    name,
    messageType: { namespace: systemNamespace, messageName: schema.typeName },
    metadata: {},
    collectionId: systemStorePrefix + name,
    generation: 1n,
    durability: Durability.FULL,
    etag: "1",
  });
}
