import { randomUUIDv7 } from "node:crypto";
import type { DescMessage } from "@bufbuild/protobuf";
import { CollectorError } from "../errors.ts";
import type {
  DeleteCollectionRequest,
  RenameCollectionRequest,
} from "../gen/collector/collection_admin_pb.ts";
import type { Collection } from "../gen/collector/collection_pb.ts";
import type { DescribeResponse } from "../gen/collector/collection_server_pb.ts";
import type { NamespacedName } from "../gen/collector/common_pb.ts";
import { systemClock } from "../lib/clock.ts";
import { silentLog } from "../lib/log.ts";
import type { OperationStore } from "../operations/operation-store.ts";
import { systemNamespace } from "../registry/names.ts";
import type { TypeUsage } from "../registry/type-usage.ts";
import type { RecordStore } from "../storage/record-store.ts";
import { Alterations } from "./alterations.ts";
import type { CatalogEntry } from "./catalog-entry.ts";
import type { DiscoverQuery } from "./catalog-index.ts";
import { DefinitionTable, type DefinitionTableOptions } from "./definition-table.ts";
import {
  type CheckedDefinition,
  checkDefinition,
  checkEtag,
  locationOf,
  newDefinition,
} from "./definitions.ts";
import { describeCollection } from "./describe.ts";
import { ExpirySweeper } from "./expiry-sweeper.ts";
import { checkCollectionName, checkReference, refuseSystemWrite } from "./names.ts";
import { type RecordCollection, typeNameOf } from "./record-collection.ts";
import { missingType } from "./record-failures.ts";
import { replacedCollection } from "./replaceable-store.ts";
import { outdatedSignature, outdatedTypeVersion } from "./type-signature.ts";
import { Watches } from "./watch/watches.ts";

export interface CollectionCatalogOptions
  extends Omit<DefinitionTableOptions, "clock" | "log" | "watches" | "sweeper">,
    Partial<Pick<DefinitionTableOptions, "clock" | "log" | "watches">> {
  /** The collections of namespace `system`, by name, with the types of their records. */
  readonly systemCollections: Readonly<Record<string, DescMessage>>;
  readonly operations: OperationStore;
  /** Where this server is reached, as `http://host:port`. Asked for each answer. */
  readonly endpoint: () => string;
  /**
   * Makes sure that a namespace is known before a collection is made in it, and waits for changes of
   * the registry that are under way: they may have found no use of a type or namespace before.
   */
  readonly ensureNamespace?: (namespace: string) => Promise<void>;
}

export interface DiscoveredCollections {
  readonly collections: Collection[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

/** What a collection is, and what is being made of it. */
export interface CopySource extends Readonly<Pick<CatalogEntry, "definition" | "altering">> {
  /** What is derived of its records is being made anew. */
  readonly isDeriving: boolean;
  /** Operations that have worked on it since the start. */
  readonly changes: number;
}

interface TypeInUse {
  readonly namespace: string;
  readonly typeName: string;
}

/** All collections: their definitions, and the way to their records. */
export class CollectionCatalog implements TypeUsage {
  readonly alterations: Alterations;
  readonly #options: CollectionCatalogOptions & DefinitionTableOptions;
  readonly #table: DefinitionTable;
  /** Of collections on the way into the catalog: these types count as used. */
  readonly #creating = new Set<TypeInUse>();

  private constructor(
    options: CollectionCatalogOptions & DefinitionTableOptions,
    table: DefinitionTable,
  ) {
    const { operations, types, limits, clock } = options;
    this.#options = options;
    this.#table = table;
    this.alterations = new Alterations({
      table,
      operations,
      types,
      limits,
      clock,
      answer: (entry) => this.#answer(entry),
    });
    const signatureOf = this.alterations.signatures();
    for (const entry of table.index.all) entry.typeSignature = signatureOf(entry);
  }

  /** Costs one list of all definitions. The types have to be there already. */
  static async open(given: CollectionCatalogOptions): Promise<CollectionCatalog> {
    const watches = new Watches(given.limits);
    const { clock = systemClock, log = silentLog } = given;
    const sweeper = new ExpirySweeper({ clock, log });
    const options = { watches, ...given, clock, log, sweeper };
    const table = await DefinitionTable.open(options, options.systemCollections);
    return new CollectionCatalog(options, table);
  }

  /**
   * Begins to remove expired records from the disk, until the result is disposed. To be called once, when
   * the operations were resumed.
   */
  sweepExpired(): ExpirySweeper {
    const { sweeper } = this.#options;
    sweeper.start();
    return sweeper;
  }

  /**
   * Makes a collection. It is durable, and empty, when the promise resolves.
   *
   * @throws {CollectorError} COLLECTION_EXISTS, and what {@link checkDefinition} throws, also if the
   * type is taken away while the collection waits for its turn
   */
  async create(
    collection: Collection | undefined,
    { validateOnly = false }: { readonly validateOnly?: boolean } = {},
  ): Promise<Collection> {
    const { types, limits, clock, endpoint } = this.#options;
    const checked = checkDefinition(collection, types, limits);
    const { namespace, name } = checked;
    if (validateOnly) {
      this.#refuseTaken(namespace, name, "collection.name");
      return { ...newDefinition(checked, "", clock.nowUs()), serverEndpoint: endpoint() };
    }
    const use = { namespace, typeName: checked.desc.typeName };
    this.#creating.add(use);
    try {
      return await this.#table.underNames(namespace, [name], async () => {
        this.#refuseTaken(namespace, name, "collection.name");
        const settled = await this.#settle(collection, checked);
        const entry = await this.#table.create(
          newDefinition(settled, randomUUIDv7(), clock.nowUs()),
        );
        entry.typeSignature = this.alterations.signatures()(entry);
        return this.#answer(entry);
      });
    } finally {
      this.#creating.delete(use);
    }
  }

  /** The records of a collection. Costs two look-ups. @throws {CollectorError} COLLECTION_NOT_FOUND */
  open(namespace: string, name: string): RecordCollection {
    return this.#table.index.get(namespace, name).records;
  }

  /** Where a collection's records and files are stored. @throws {CollectorError} COLLECTION_NOT_FOUND */
  store(namespace: string, name: string): RecordStore {
    return this.#table.index.get(namespace, name).store;
  }

  /** The stores of all collections of a namespace. */
  storesIn(namespace: string): readonly RecordStore[] {
    return Array.from(this.#table.index.inNamespace(namespace), ({ store }) => store);
  }

  /** @throws {CollectorError} ARGUMENT_MISSING, COLLECTION_NOT_FOUND */
  get(reference: Pick<NamespacedName, "namespace" | "name"> | undefined): Collection {
    const { namespace, name } = checkReference(reference);
    return this.#answer(this.#table.index.get(namespace, name));
  }

  /** By namespace and name. @throws {CollectorError} PAGE_SIZE_INVALID, PAGE_TOKEN_INVALID */
  discover(query: DiscoverQuery): DiscoveredCollections {
    const { entries, nextPageToken } = this.#table.index.discover(query, this.#options.limits);
    return { collections: entries.map((entry) => this.#answer(entry)), nextPageToken };
  }

  /** @throws {CollectorError} COLLECTION_NOT_FOUND, and the storage's failures */
  async describe(namespace: string, name: string): Promise<Omit<DescribeResponse, "status">> {
    const entry = this.#table.index.get(namespace, name);
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
    const table = this.#table;
    refuseSystemWrite(namespace);
    await table.underNames(namespace, [name], async () => {
      if (request.allowMissing && table.index.find(namespace, name) === undefined) return;
      const entry = table.index.get(namespace, name);
      await table.changing(entry, async () => {
        checkEtag(entry.definition, request.ifMatch);
        if (!request.validateOnly) await table.remove(entry);
      });
      if (!entry.isDeleted) return;
      await this.alterations.cancelAll(entry);
      await table.dropStore(locationOf(entry.definition));
    });
  }

  /**
   * Puts a collection in force whose store is there, complete and checked, at {@link locationOf} of the
   * definition. It is durable when the promise resolves; if it fails, everything is as it was.
   *
   * @param replaces the definition that it replaces: one of the same id. Undefined: a new collection.
   * @param outdated its records were derived for another version of its types than the one in force: they are
   * derived anew behind, as an operation. What begins that if it cannot begin now is the next start.
   * @throws {CollectorError} COLLECTION_EXISTS, TYPE_NOT_REGISTERED; COLLECTION_REPLACED if what it
   * replaces is another one by now
   */
  async install(
    given: Collection,
    { replaces, outdated }: { replaces: Collection | undefined; outdated: boolean },
  ): Promise<Collection> {
    const definition = outdated ? { ...given, typeVersion: outdatedTypeVersion } : given;
    const { namespace, name } = definition;
    const table = this.#table;
    const { ensureNamespace, types } = this.#options;
    refuseSystemWrite(namespace);
    const use = { namespace, typeName: typeNameOf(definition) };
    this.#creating.add(use);
    try {
      return await table.underNames(namespace, [name], async () => {
        await ensureNamespace?.(namespace);
        const typeName = typeNameOf(definition);
        if (types.snapshot(namespace).types.getMessage(typeName) === undefined) {
          throw missingType(definition, typeName);
        }
        const put = async (replaced: CatalogEntry | undefined): Promise<Collection> => {
          const entry = await table.install(definition, replaced);
          entry.typeSignature = outdated ? outdatedSignature : this.alterations.signatures()(entry);
          if (outdated) await this.#tryAfter(entry, () => this.alterations.followType(entry));
          return this.#answer(entry);
        };
        if (replaces === undefined) {
          this.#refuseTaken(namespace, name, "name");
          return put(undefined);
        }
        const current = table.index.find(namespace, name);
        const isSame =
          current?.definition.collectionId === replaces.collectionId &&
          current.definition.generation === replaces.generation;
        if (current === undefined || !isSame) throw replacedCollection(`${namespace}/${name}`);
        await this.alterations.cancelAll(current);
        const installed = await table.changing(current, () => put(current));
        // One may have begun since.
        await this.#tryAfter(current, () => this.alterations.cancelAll(current));
        return installed;
      });
    } finally {
      this.#creating.delete(use);
    }
  }

  /** Does what follows on an installation that is durable: whatever it fails with, that stays. */
  async #tryAfter({ fullName }: CatalogEntry, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const { log } = this.#options;
      log.warn({ collection: fullName, err: error }, "what follows on an installation has failed");
    }
  }

  /** A collection as who copies it has to know it. @throws {CollectorError} COLLECTION_NOT_FOUND */
  copySource(namespace: string, name: string): CopySource {
    const entry = this.#table.index.get(namespace, name);
    const { definition, altering } = entry;
    const isDeriving = this.alterations.isDeriving(entry);
    return { definition, altering, isDeriving, changes: entry.operations.size };
  }

  /** The collections that callers made, by namespace and name; of every namespace if it is empty. In memory. */
  definitionsIn(namespace: string): readonly Collection[] {
    return this.#table.index.all
      .map(({ definition }) => definition)
      .filter((definition) => definition.namespace !== systemNamespace)
      .filter((definition) => namespace === "" || definition.namespace === namespace);
  }

  /** The definition of a collection, if there is one. */
  find(namespace: string, name: string): Collection | undefined {
    return this.#table.index.find(namespace, name)?.definition;
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
    const table = this.#table;
    refuseSystemWrite(namespace);
    checkCollectionName(newName, "new_name");
    return table.underNames(namespace, [name, newName], async () => {
      const entry = table.index.get(namespace, name);
      return table.changing(entry, async () => {
        checkEtag(entry.definition, request.ifMatch);
        if (newName === name) return this.#answer(entry);
        this.#refuseTaken(namespace, newName, "new_name");
        if (request.validateOnly) return { ...this.#answer(entry), name: newName };
        await table.replace(entry, { name: newName });
        return this.#answer(entry);
      });
    });
  }

  /** Names of the collections of a namespace, in order. */
  namesIn(namespace: string): readonly string[] {
    return Array.from(
      this.#table.index.inNamespace(namespace),
      ({ definition }) => definition.name,
    ).sort();
  }

  collectionsUsing(namespace: string, typeNames: ReadonlySet<string>): readonly string[] {
    const names: string[] = [];
    for (const { definition } of this.#table.index.inNamespace(namespace)) {
      if (typeNames.has(typeNameOf(definition))) names.push(definition.name);
    }
    for (const creating of this.#creating) {
      if (creating.namespace === namespace && typeNames.has(creating.typeName)) {
        names.push("(being created)");
      }
    }
    return names;
  }

  hasCollections(namespace: string): boolean {
    if (this.#table.index.hasNamespace(namespace)) return true;
    return [...this.#creating].some((creating) => creating.namespace === namespace);
  }

  /**
   * Checks a definition again when what was under way in the registry has ended. From its first check
   * on its type counts as used, so what the registry takes up later leaves the type alone.
   */
  async #settle(
    collection: Collection | undefined,
    checked: CheckedDefinition,
  ): Promise<CheckedDefinition> {
    const { types, limits, ensureNamespace } = this.#options;
    await ensureNamespace?.(checked.namespace);
    const settled = checkDefinition(collection, types, limits);
    if (settled.desc.typeName === checked.desc.typeName) return settled;
    // A short name that means another type by now, and that one may be about to go.
    throw missingType(checked, checked.desc.typeName);
  }

  #answer({ definition }: CatalogEntry): Collection {
    return { ...definition, serverEndpoint: this.#options.endpoint() };
  }

  #refuseTaken(namespace: string, name: string, field: string): void {
    if (this.#table.index.find(namespace, name) === undefined) return;
    const description = `a collection of this name is in namespace ${namespace} already`;
    throw new CollectorError("COLLECTION_EXISTS", `${field}: ${description}`, {
      subject: { namespace, collection: name },
      violations: [{ field, description }],
    });
  }
}
