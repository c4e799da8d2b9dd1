import { create, type DescMessage } from "@bufbuild/protobuf";
import { CollectorError } from "../errors.ts";
import { type Collection, CollectionSchema, Durability } from "../gen/collector/collection_pb.ts";
import type { Clock } from "../lib/clock.ts";
import type { Limits } from "../lib/limits.ts";
import type { Log } from "../lib/log.ts";
import { systemNamespace } from "../registry/names.ts";
import type { TypeSource } from "../registry/type-snapshot.ts";
import type { StorageEngine, StoreLocation } from "../storage/record-store.ts";
import { CatalogEntry } from "./catalog-entry.ts";
import { CatalogIndex } from "./catalog-index.ts";
import { changedDefinition, type DefinitionChanges, layoutOf, locationOf } from "./definitions.ts";
import type { ExpirySweeper } from "./expiry-sweeper.ts";
import { KeyedLock } from "./keyed-lock.ts";
import { deletedCollection } from "./record-failures.ts";
import { replacedCollection } from "./replaceable-store.ts";
import { systemLocation, systemStorePrefix } from "./system-collections.ts";
import type { SystemRecords } from "./system-records.ts";
import type { Watches } from "./watch/watches.ts";

export interface DefinitionTableOptions {
  readonly engine: StorageEngine;
  /** Collection `collections` of namespace `system`. */
  readonly definitions: SystemRecords<Collection>;
  readonly types: TypeSource;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly watches: Watches;
  readonly log: Log;
  /** Removes the expired records of the collections that have an expiry. */
  readonly sweeper: ExpirySweeper;
}

/**
 * The definitions of all collections, in memory and on disk, and the stores they name.
 *
 * A collection is made store first and definition second, and goes the other way round. What a crash
 * leaves between the two is a store that no definition names; it is dropped at the next start.
 */
export class DefinitionTable {
  readonly index: CatalogIndex = new CatalogIndex();
  readonly #options: DefinitionTableOptions;
  /** By full names, for who makes or removes them, and by ids, for who changes definitions. */
  readonly #locks = new KeyedLock();

  private constructor(options: DefinitionTableOptions) {
    this.#options = options;
  }

  /**
   * Reads all definitions and drops stores that none of them names. Costs one list, whatever the
   * number of collections: their stores are opened when they are used.
   *
   * @param system the collections of namespace `system`, with the types of their records.
   */
  static async open(
    options: DefinitionTableOptions,
    system: Readonly<Record<string, DescMessage>>,
  ): Promise<DefinitionTable> {
    const table = new DefinitionTable(options);
    for (const [name, schema] of Object.entries(system)) {
      table.#add(systemDefinition(name, schema), systemLocation(name));
    }
    await table.#load();
    await table.#dropOrphans();
    return table;
  }

  /** Runs work that makes or removes collections of these names, after other such work. */
  underNames<T>(namespace: string, names: readonly string[], work: () => Promise<T>): Promise<T> {
    const keys = new Set(names.map((name) => `${namespace}/${name}`));
    return this.#locks.run([...keys], work);
  }

  /**
   * Runs work that changes a definition, after other such work on it.
   *
   * @throws {CollectorError} COLLECTION_NOT_FOUND if the collection has gone before its turn.
   */
  changing<T>(entry: CatalogEntry, work: () => Promise<T>): Promise<T> {
    return this.#locks.run([entry.definition.collectionId], async () => {
      if (entry.isReplaced) throw replacedCollection(entry.fullName);
      if (!entry.isDeleted) return work();
      throw deletedCollection(entry.definition);
    });
  }

  /** Makes the store, then the definition. To be called under the collection's name. */
  async create(definition: Collection): Promise<CatalogEntry> {
    const { engine, definitions } = this.#options;
    const location = locationOf(definition);
    await engine.create(location, layoutOf(definition));
    try {
      await definitions.write([{ kind: "put", id: definition.collectionId, value: definition }]);
    } catch (error) {
      const isUnknown = error instanceof CollectorError && error.reason === "WRITE_OUTCOME_UNKNOWN";
      // If it is unknown, the definition may be on the disk; the next start finds out.
      if (!isUnknown) await this.dropStore(location);
      throw error;
    }
    return this.#add(definition, location);
  }

  /**
   * Puts a collection in force whose store is there already, instead of another one or as a new one. To be
   * called under the collection's name, and by {@link changing} if it replaces one.
   *
   * Calls on what was replaced may finish; its watches end. Its store goes when nobody uses it.
   */
  async install(definition: Collection, replaced: CatalogEntry | undefined): Promise<CatalogEntry> {
    const { definitions, sweeper } = this.#options;
    await definitions.write([{ kind: "put", id: definition.collectionId, value: definition }]);
    if (replaced !== undefined) {
      replaced.isReplaced = true;
      sweeper.remove(replaced);
      this.index.remove(replaced);
    }
    const entry = this.#add(definition, locationOf(definition));
    if (replaced !== undefined) {
      replaced.records.endWatches(replacedCollection(replaced.fullName));
      void this.#retire(replaced);
    }
    return entry;
  }

  async #retire({ definition, store }: CatalogEntry): Promise<void> {
    const location = locationOf(definition);
    await store.retire();
    await this.dropStore(location);
  }

  /** Writes a changed definition and puts it in force. To be called by {@link changing}. */
  async replace(entry: CatalogEntry, changes: DefinitionChanges): Promise<void> {
    const definition = changedDefinition(entry.definition, changes, this.#options.clock.nowUs());
    const id = definition.collectionId;
    await this.#options.definitions.write([{ kind: "put", id, value: definition }]);
    this.index.remove(entry);
    entry.definition = definition;
    this.index.add(entry);
    this.#schedule(entry);
  }

  /** Removes the definition; its store is still there. To be called by {@link changing}. */
  async remove(entry: CatalogEntry): Promise<void> {
    await this.#options.definitions.write([{ kind: "delete", id: entry.definition.collectionId }]);
    entry.isDeleted = true;
    this.#options.sweeper.remove(entry);
    entry.records.endWatches();
    this.index.remove(entry);
  }

  /** Drops a store that no definition names any more; if that fails, the next start does it. */
  async dropStore(location: StoreLocation): Promise<void> {
    try {
      await this.#options.engine.drop(location);
    } catch (error) {
      const { storeId } = location;
      this.#options.log.warn({ store: storeId, err: error }, "store could not be dropped");
    }
  }

  #add(definition: Collection, location: StoreLocation): CatalogEntry {
    const { engine, types, limits, clock, watches, sweeper } = this.#options;
    const shared = { types, limits, clock, watches, locks: new KeyedLock() };
    const entry = new CatalogEntry(definition, engine.store(location), {
      ...shared,
      onExpiry: (expiresUs) => sweeper.note(entry, expiresUs),
    });
    this.index.add(entry);
    if (definition.expiry !== undefined) sweeper.add(entry);
    return entry;
  }

  #schedule(entry: CatalogEntry): void {
    const { sweeper } = this.#options;
    if (entry.definition.expiry === undefined) sweeper.remove(entry);
    else sweeper.add(entry);
  }

  async #load(): Promise<void> {
    const { definitions, log } = this.#options;
    const replaced: string[] = [];
    for await (const { value } of definitions.all()) {
      // Only a create whose outcome nobody knew, sent again, leaves two; the later was acknowledged.
      const earlier = this.index.find(value.namespace, value.name);
      if (earlier !== undefined) replaced.push(earlier.definition.collectionId);
      this.#add(value, locationOf(value));
    }
    if (replaced.length === 0) return;
    log.warn({ collections: replaced }, "removing definitions whose creation was never answered");
    await definitions.write(replaced.map((id) => ({ kind: "delete", id })));
  }

  async #dropOrphans(): Promise<void> {
    const { engine, log } = this.#options;
    const named = new Set(this.index.all.map(({ definition }) => keyOf(locationOf(definition))));
    for (const location of await engine.list()) {
      if (location.storeId.startsWith(systemStorePrefix) || named.has(keyOf(location))) continue;
      log.info({ store: location.storeId }, "dropping a store that no collection names");
      await this.dropStore(location);
    }
  }
}

function keyOf({ storeId, generation }: StoreLocation): string {
  return `${storeId}/${generation}`;
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
