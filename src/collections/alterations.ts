import { anyUnpack } from "@bufbuild/protobuf/wkt";
import type { ReindexCollectionRequest } from "../gen/collector/collection_admin_pb.ts";
import { type Collection, CollectionSchema } from "../gen/collector/collection_pb.ts";
import type { Operation } from "../gen/collector/operations_pb.ts";
import type { OperationResumer, OperationStore } from "../operations/operation-store.ts";
import { systemNamespace } from "../registry/names.ts";
import type { CatalogEntry } from "./catalog-entry.ts";
import type { DefinitionTable, DefinitionTableOptions } from "./definition-table.ts";
import { partsOf } from "./definitions.ts";
import { type ModifyCollection, type ModifyWaiting, modifyCollection } from "./modify.ts";
import { checkReference, refuseSystemWrite } from "./names.ts";
import { typeNameOf } from "./record-collection.ts";
import { typeSignature } from "./type-signature.ts";
import { alterKind, indexBuildKind, reindexKind, typeUpgradeKind, Upkeep } from "./upkeep.ts";

export interface AlterationsOptions
  extends Required<Pick<DefinitionTableOptions, "types" | "limits" | "clock">> {
  readonly table: DefinitionTable;
  readonly operations: OperationStore;
  /** A definition as callers see it. */
  readonly answer: (entry: CatalogEntry) => Collection;
}

export interface ModifiedCollection {
  readonly collection: Collection;
  /** The work on indexes, ended or not; undefined if there is none to do. */
  readonly operation?: Operation;
}

/** How collections change that are there: at a caller's wish, and after their types. */
export class Alterations {
  readonly #options: AlterationsOptions;
  readonly #upkeep: Upkeep;

  constructor(options: AlterationsOptions) {
    const { table } = options;
    this.#options = options;
    this.#upkeep = new Upkeep({
      ...options,
      change: (entry, changes) =>
        table.changing(entry, () => table.replace(entry, changes(entry.definition))),
    });
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
      [alterKind]: (operation) => {
        const { metadata } = operation;
        const entry = this.#subjectOf(operation);
        const aim = metadata === undefined ? undefined : anyUnpack(metadata, CollectionSchema);
        if (entry === undefined || aim === undefined) return undefined;
        return this.#upkeep.alteration(entry, partsOf(aim));
      },
      [reindexKind]: (operation) => {
        const entry = this.#subjectOf(operation);
        return entry === undefined ? undefined : this.#upkeep.reindexing(entry);
      },
      [typeUpgradeKind]: (operation) => {
        const entry = this.#subjectOf(operation);
        return entry === undefined ? undefined : this.#upkeep.typeUpgrade(entry);
      },
    };
  }

  /**
   * To be called when types of a namespace have changed, and once at start, after the operations
   * were resumed: collections follow the newest version of their types. What was derived by an older
   * one is derived anew behind, as operations.
   *
   * @param namespace every one if undefined
   * @returns the operations that it began
   */
  async followTypes(namespace?: string): Promise<Operation[]> {
    const { index } = this.#options.table;
    const entries = namespace === undefined ? index.all : [...index.inNamespace(namespace)];
    const signatureOf = this.signatures();
    const started: Operation[] = [];
    for (const entry of entries) {
      if (entry.definition.namespace === systemNamespace || entry.isDeleted || entry.isReplaced)
        continue;
      const operation = await this.#upkeep.followType(entry, signatureOf(entry));
      if (operation !== undefined) started.push(operation);
    }
    return started;
  }

  /** As {@link followTypes}, for one collection. */
  async followType(entry: CatalogEntry): Promise<void> {
    await this.#upkeep.followType(entry, this.signatures()(entry));
  }

  /**
   * Changes indexed fields, labels, text search, vector fields and expiry. Indexes are built and dropped,
   * and records derived anew, by an operation, which goes on whether or not somebody waits.
   *
   * @param waiting how long to wait for it; not at all if the request says so.
   * @throws {CollectorError} COLLECTION_NOT_FOUND, FIELD_UNKNOWN, ARGUMENT_INVALID, LABEL_INVALID,
   * VERSION_MISMATCH, SYSTEM_READ_ONLY; OPERATION_RUNNING while other changes are under way; what
   * the work failed with, if it failed while it was waited for.
   */
  async modify(request: ModifyCollection, waiting: ModifyWaiting): Promise<ModifiedCollection> {
    refuseSystemWrite(request.namespace);
    const entry = this.#options.table.index.get(request.namespace, request.collectionName);
    const parts = { ...this.#options, upkeep: this.#upkeep };
    const operation = await modifyCollection(entry, request, waiting, parts);
    return {
      collection: this.#options.answer(entry),
      ...(operation === undefined ? {} : { operation }),
    };
  }

  /**
   * Makes anew what the records of a collection are found by, as an operation, which goes on whether or
   * not somebody waits.
   *
   * @throws {CollectorError} ARGUMENT_MISSING, COLLECTION_NOT_FOUND, SYSTEM_READ_ONLY; OPERATION_RUNNING
   * while the collection is being changed; what the work failed with, if it failed while it was waited for.
   */
  async reindex(
    request: Pick<ReindexCollectionRequest, "collection" | "returnImmediately">,
    waiting: ModifyWaiting,
  ): Promise<Operation> {
    const { namespace, name } = checkReference(request.collection);
    refuseSystemWrite(namespace);
    const entry = this.#options.table.index.get(namespace, name);
    const failure: { error?: unknown } = {};
    const operation = await this.#options.table.changing(entry, () =>
      this.#upkeep.startReindex(entry, (error) => {
        failure.error = error;
      }),
    );
    if (request.returnImmediately) return operation;
    const seen = await this.#options.operations.wait(operation.name, waiting);
    if (seen.result.case === "error" && failure.error !== undefined) throw failure.error;
    return seen;
  }

  isDeriving(entry: CatalogEntry): boolean {
    return this.#upkeep.isDeriving(entry);
  }

  /** Ends the operations that work on a collection, and waits for that. */
  cancelAll(entry: CatalogEntry): Promise<void> {
    return this.#upkeep.cancelAll(entry);
  }

  /** Signatures of the types in force, each found once. */
  signatures(): (entry: CatalogEntry) => bigint {
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

  /** The collection that an operation of an earlier run works on, whatever it is called now. */
  #subjectOf(operation: Operation): CatalogEntry | undefined {
    const { metadata, name } = operation;
    const collection = metadata === undefined ? undefined : anyUnpack(metadata, CollectionSchema);
    const id = collection?.collectionId;
    const entry = this.#options.table.index.all.find(
      ({ definition }) => definition.collectionId === id,
    );
    entry?.operations.add(name);
    return entry;
  }
}
