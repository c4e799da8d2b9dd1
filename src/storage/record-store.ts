import type {
  ListPage,
  ListQuery,
  Passage,
  PassageQuery,
  ReadOptions,
  RecordScan,
  SearchHits,
  SearchQuery,
} from "./record-query.ts";
import type {
  CopyOptions,
  SnapshotOptions,
  StoreChanges,
  StoreIntake,
  StoreSnapshot,
} from "./store-copies.ts";
import type { StoreFiles } from "./store-files.ts";
import type {
  IndexDefinition,
  IndexState,
  StoreLayout,
  StoreShape,
  TextIndexDefinition,
  VectorIndexDefinition,
} from "./store-layout.ts";
import type { StoredRecord } from "./stored-record.ts";

/** What is derived from a record's bytes to find it by. An engine keeps and indexes it. */
export interface DerivedData {
  /** A JSON object: what filters and indexes read. Integers in it are exact up to 64 bits. */
  readonly document: string;
  /** Version of the {@link StoreShape} that this was derived for. */
  readonly shape: bigint;
  /** One list per text index of the shape: the text of each of its fields. */
  readonly texts: readonly (readonly string[])[];
  /** One per vector index of the shape: undefined for none, `keep` for what the record has. */
  readonly vectors: readonly (Float32Array | "keep" | undefined)[];
  /** When the record expires, in microseconds of Unix time; undefined: never. */
  readonly expiresUs: bigint | undefined;
}

/** The bytes of a record together with what was derived from them. */
export interface RecordContent extends DerivedData {
  readonly data: Uint8Array;
}

/** One step of a write. A step that fails fails the whole write. */
export type WriteStep =
  | {
      readonly kind: "create";
      readonly id: string;
      readonly content: RecordContent;
      readonly labels: Readonly<Record<string, string>>;
    }
  | {
      readonly kind: "update";
      readonly id: string;
      /** Undefined keeps the bytes: only labels change. */
      readonly content: RecordContent | undefined;
      /** Undefined keeps the labels. */
      readonly labels: Readonly<Record<string, string>> | undefined;
      /** The version the record must have. */
      readonly ifVersion?: bigint | undefined;
      /** Creates the record if it is missing; needs `content`. */
      readonly allowMissing?: boolean | undefined;
    }
  | {
      readonly kind: "delete";
      readonly id: string;
      readonly ifVersion?: bigint | undefined;
      /** A missing record is a success that changes nothing. */
      readonly allowMissing?: boolean | undefined;
    }
  | {
      /**
       * Replaces what was derived from a record, not the record: no new version, no revision. Does
       * nothing if the record is gone or has another version.
       */
      readonly kind: "derive";
      readonly id: string;
      readonly ifVersion: bigint;
      readonly derived: DerivedData;
    }
  | {
      /** Deletes a record if its time has come; otherwise does nothing. */
      readonly kind: "expire";
      readonly id: string;
    }
  | {
      /**
       * Writes a record as another store of the same history has it, and brings the store to that
       * revision, which has to be later than its own. Only for stores that nobody else writes to.
       */
      readonly kind: "replay";
      readonly id: string;
      readonly content: RecordContent;
      readonly labels: Readonly<Record<string, string>>;
      readonly revision: bigint;
      readonly createdRevision: bigint;
      readonly createdUs: bigint;
      readonly updatedUs: bigint;
    }
  | {
      /** As `replay`, for a record that was deleted. It may be missing. */
      readonly kind: "replayDelete";
      readonly id: string;
      readonly revision: bigint;
      readonly atUs: bigint;
    };

export interface Write {
  readonly steps: readonly WriteStep[];
  /**
   * Makes a repeated write happen once: a second write with the same `id` and `fingerprint` within
   * 24 h answers what the first did; with another fingerprint it is refused.
   */
  readonly request?: { readonly id: string; readonly fingerprint: string } | undefined;
  /** Asks for {@link StepOutcome.before}; costs a read of each record that changes. */
  readonly wantsBefore?: boolean | undefined;
}

/** A record as conditions see it. */
export interface RecordView {
  readonly id: string;
  readonly version: bigint;
  readonly createdUs: bigint;
  readonly updatedUs: bigint;
  readonly labels: Readonly<Record<string, string>>;
  readonly document: string;
}

/** What one step did. For a delete, the record's state before it. */
export interface StepOutcome {
  readonly id: string;
  readonly version: bigint;
  readonly createdUs: bigint;
  readonly updatedUs: bigint;
  readonly labels: Readonly<Record<string, string>>;
  readonly change: "created" | "updated" | "deleted" | "none";
  /** The record as it was, if the write asked and there was one. */
  readonly before?: RecordView | undefined;
}

export interface WriteOutcome {
  readonly outcomes: readonly StepOutcome[];
  /** The store's revision after the write: one step further per step that changed a record. */
  readonly revision: bigint;
  /** True if this is the answer of an earlier write with the same request id. */
  readonly replayed: boolean;
}

/** One entry of the change history, the latest of its record. */
export interface Change {
  readonly revision: bigint;
  readonly id: string;
  readonly kind: "written" | "deleted";
  readonly atUs: bigint;
  /** The record as it is, unless it is deleted. */
  readonly record:
    | (StoredRecord & {
        readonly document: string;
        /** The revision that created the record. */
        readonly createdRevision: bigint;
      })
    | undefined;
}

export interface ChangePage {
  /** In order of revision; a record written twice appears once, at its last revision. */
  readonly changes: readonly Change[];
  /** Whether there is more after these: they are cut at the limit, or where they would be too large. */
  readonly more: boolean;
  /** The store's revision when this was read. */
  readonly revision: bigint;
  /** Deletes at or before this revision are forgotten; a reader from further back must start over. */
  readonly horizon: bigint;
}

export interface StoreStats {
  readonly recordCount: bigint;
  readonly sizeBytes: bigint;
  readonly revision: bigint;
  /** New whenever the store's content is replaced as a whole: revisions of two incarnations do not compare. */
  readonly incarnation: string;
  readonly indexes: readonly IndexState[];
  readonly durability: StoreLayout["durability"];
  readonly shape: StoreShape;
}

export interface BuildProgress {
  readonly done: bigint;
  readonly total: bigint;
}

/** How an index is built. */
export interface BuildOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: BuildProgress) => void) | undefined;
}

/**
 * The records of one collection in one generation.
 *
 * Every method may also fail with STORAGE_UNAVAILABLE, STORAGE_CORRUPT, OVERLOADED or, when the
 * engine is closing, SHUTTING_DOWN.
 */
export interface RecordStore {
  /**
   * Reads records by id: a few microseconds each, and never behind a scan or a write.
   *
   * @returns one item per id, in their order; undefined for a missing record. Every write that was
   * acknowledged before the call is seen.
   */
  get(ids: readonly string[]): Promise<readonly (StoredRecord | undefined)[]>;

  /**
   * Applies all steps or none, in order, each seeing the ones before. When the promise resolves the
   * write is as durable as the layout says. Writes of one store are applied in the order of the
   * calls.
   *
   * @throws {CollectorError} RECORD_EXISTS, RECORD_NOT_FOUND, VERSION_MISMATCH: `subject.step` is
   * the index of the first step that failed, `subject.id` its record. SHAPE_OUTDATED: content was
   * derived for another shape. REQUEST_ID_REUSED. DISK_FULL:
   * nothing was written. WRITE_OUTCOME_UNKNOWN: the disk failed and the write may or may not be
   * found later.
   */
  write(write: Write): Promise<WriteOutcome>;

  /** @throws {CollectorError} PAGE_TOKEN_INVALID, CANCELLED, QUERY_TIMEOUT */
  list(query: ListQuery, options?: ReadOptions): Promise<ListPage>;

  /** @throws {CollectorError} CANCELLED, QUERY_TIMEOUT; QUERY_INVALID for an index that is not ready */
  search(query: SearchQuery, options?: ReadOptions): Promise<SearchHits>;

  /** The passages that match, per list of texts; none for texts without a match. */
  passages(query: PassageQuery, options?: ReadOptions): Promise<readonly (readonly Passage[])[]>;

  /**
   * Begins to read all records as they are now. The log of writes grows meanwhile, so few scans can
   * run at a time.
   *
   * @throws {CollectorError} OVERLOADED if too many scans run.
   */
  scan(options?: { readonly signal?: AbortSignal | undefined }): Promise<RecordScan>;

  /** Ids of records whose time has come, at most `limit`. */
  expired(limit: number): Promise<readonly string[]>;

  /** What changed after `revision`, at most `limit` items. */
  changes(revision: bigint, limit: number, options?: ReadOptions): Promise<ChangePage>;

  stats(): Promise<StoreStats>;

  /**
   * Adds an index and fills it in small steps while reads and writes go on; resolves when it is
   * ready. A second call for the same path joins the first. After a crash or an abort the index is
   * in state `building`, and a further call goes on where it stopped.
   */
  addIndex(definition: IndexDefinition, options?: BuildOptions): Promise<void>;

  /**
   * As {@link addIndex}, also where the index is ready: it serves until another is built beside it, and
   * that then takes its place in one step. After an abort what was built stays, for a further call.
   */
  rebuildIndex(definition: IndexDefinition, options?: BuildOptions): Promise<void>;

  /** Drops what an aborted {@link rebuildIndex} has left, in small steps; the index serves on. */
  dropRebuild(path: string): Promise<void>;

  /** Drops an index, ready or not, in small steps; a missing one is a success. */
  dropIndex(path: string): Promise<void>;

  /** What has to be derived for a write. Known without a wait after the first call. */
  shape(): Promise<StoreShape>;

  /**
   * Adds empty text and vector indexes in state `building`, to be filled by `derive` steps: from now on
   * content has to be derived for the new shape. Indexes that were being built and are not asked for
   * are dropped; one that is being built to the same definition goes on. A vector index of a name that
   * is not asked for is dropped at once.
   *
   * @param text undefined drops the text index at once.
   * @param anew adds indexes beside those that serve, also where these are what is asked for.
   */
  reshape(wanted: {
    readonly text: TextIndexDefinition | undefined;
    readonly vectors: readonly VectorIndexDefinition[];
    readonly anew?: boolean | undefined;
  }): Promise<StoreShape>;

  /** Puts the indexes that are being built in the place of those that serve, and drops the latter. */
  completeShape(): Promise<StoreShape>;

  /**
   * Copies the store as it is at one moment of this call, while reads and writes go on. In a process of its
   * own; costs as much as writing the data anew.
   *
   * @throws {CollectorError} CANCELLED, DISK_FULL
   */
  snapshot(options: SnapshotOptions): Promise<StoreSnapshot>;

  /**
   * Begins to read what has changed after a revision, as of now.
   *
   * @throws {CollectorError} HISTORY_GONE if deletes after it are forgotten; OVERLOADED, CANCELLED
   */
  changesSince(
    revision: bigint,
    options: CopyOptions & { readonly files: boolean },
  ): Promise<StoreChanges>;

  readonly files: StoreFiles;
}

/** Names a store on disk: made by the server, never from a caller's text. */
export interface StoreLocation {
  /** Lower-case letters, digits and dashes. */
  readonly storeId: string;
  /** Each generation is a folder of its own. */
  readonly generation: bigint;
}

/** A database engine: it makes, lends and removes stores. */
export interface StorageEngine extends AsyncDisposable {
  /** Makes an empty store, durably. @throws if it exists. */
  create(location: StoreLocation, layout: StoreLayout): Promise<void>;

  /**
   * The store at `location`. Costs nothing until it is used: the engine opens what is in use and
   * closes what is not, within its limits, and the returned object stays valid meanwhile.
   */
  store(location: StoreLocation): RecordStore;

  /** True if the store exists. */
  exists(location: StoreLocation): Promise<boolean>;

  /** Removes a store once nothing uses it any more; a missing one is a success. */
  drop(location: StoreLocation): Promise<void>;

  /** Begins to make a store from a copy. */
  intake(): Promise<StoreIntake>;

  /** Every store found, to remove what no catalog entry names. */
  list(): Promise<readonly StoreLocation[]>;

  /** Finishes acknowledged work, refuses new work with SHUTTING_DOWN and closes everything. */
  close(): Promise<void>;
}
