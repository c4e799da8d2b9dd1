import type { Collection } from "../gen/collector/collection_pb.ts";
import type { RecordStore } from "../storage/record-store.ts";
import { RecordCollection, type RecordCollectionOptions } from "./record-collection.ts";
import { ReplaceableStore } from "./replaceable-store.ts";

/** One collection in the catalog's memory. Its definition is replaced, never changed. */
export class CatalogEntry {
  definition: Collection;
  isDeleted: boolean = false;
  /** Another entry has its name and its id, with other data. Who uses this one may finish. */
  isReplaced: boolean = false;
  /** Names of the operations that work on the collection. */
  readonly operations: Set<string> = new Set();
  /** Sum of the versions of all the types that its records are read by. */
  typeSignature: bigint = 0n;
  /** Its records are being derived anew, for whatever version is the newest when that ends. */
  isUpgrading: boolean = false;
  /** What the definition will be once the running operation has altered the collection. */
  altering: Collection | undefined;
  readonly store: ReplaceableStore;
  readonly #shared: Omit<RecordCollectionOptions, "state" | "store">;
  #records: RecordCollection | undefined;

  constructor(
    definition: Collection,
    store: RecordStore,
    shared: Omit<RecordCollectionOptions, "state" | "store">,
  ) {
    this.definition = definition;
    this.store = new ReplaceableStore(store, () => this.fullName);
    this.#shared = shared;
  }

  /** Made when first asked for: most collections of a start are not used soon. */
  get records(): RecordCollection {
    this.#records ??= new RecordCollection({ state: this, store: this.store, ...this.#shared });
    return this.#records;
  }

  /** What records are derived for: see {@link CollectionState}. */
  get derivedFor(): Collection {
    return this.altering ?? this.definition;
  }

  /** Full name, as in `default/products`. */
  get fullName(): string {
    return `${this.definition.namespace}/${this.definition.name}`;
  }
}
