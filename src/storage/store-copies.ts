import type { ContentList } from "../lib/content-list.ts";
import type { FileStats, StoredFile } from "./store-files.ts";
import type { StoreLayout } from "./store-layout.ts";

/** How far a copy is, in bytes. */
export interface CopyProgress {
  readonly done: bigint;
  /** 0 if not known. */
  readonly total: bigint;
}

export interface CopyOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: CopyProgress) => void) | undefined;
}

/** Contents of attached files. No file of theirs is ever changed: they may be linked. */
export interface HeldContents {
  readonly list: ContentList;
  /** Absolute; has each of them where `contentPath` says. */
  readonly folder: string;
}

/** Highest revision that a copy can have: more writes fit above than any collection sees. */
export const revisionMax: bigint = 2n ** 62n;

/** What a copy holds, told from inside of it. */
export interface CopyFacts {
  /** Engine and version of the data's form, such as `sqlite/2`. */
  readonly format: string;
  readonly revision: bigint;
  readonly incarnation: string;
  /** Records, those aside whose time has come. */
  readonly recordCount: bigint;
  /** Names of attached files, and the sum of their sizes; 0 in a copy without files. */
  readonly files: FileStats;
}

export interface SnapshotOptions extends CopyOptions {
  /** Absolute; where the data is written. Nothing is there yet. Removed again if the copy fails. */
  readonly path: string;
  /** Without files the copy has no names of files either. */
  readonly files: boolean;
  /**
   * True if the file is removed again soon: then it is not brought to the disk as it grows, unless it takes
   * much of the memory, and only later if it is still there.
   */
  readonly isTransient?: boolean | undefined;
}

/**
 * A copy of one store at one moment, in a file: all of it but the content of attached files. Not made
 * durable. The file is the caller's; disposing lets go of the contents, which stay in the store until
 * then. It rejects if the disk could not take the file: what was read of it may be wrong then.
 */
export interface StoreSnapshot extends CopyFacts, AsyncDisposable {
  readonly dataBytes: bigint;
  /** What the files of the copy have. */
  readonly contents: HeldContents;
  /** What serves queries in the copy; what was being built at its moment is not in it. */
  readonly layout: Omit<StoreLayout, "durability">;
}

/** A record as it was written last, or its delete. */
export type StoreChange =
  | {
      readonly kind: "written";
      readonly id: string;
      /** Of its last write: its version. */
      readonly revision: bigint;
      readonly createdRevision: bigint;
      readonly createdUs: bigint;
      readonly updatedUs: bigint;
      readonly labels: Readonly<Record<string, string>>;
      readonly data: Uint8Array;
      /** By the name of the vector index. */
      readonly vectors: Readonly<Record<string, Float32Array>>;
    }
  | {
      readonly kind: "deleted";
      readonly id: string;
      readonly revision: bigint;
      readonly atUs: bigint;
    };

/** What has changed in a store up to one moment. Holds that moment until it is disposed. */
export interface StoreChanges extends CopyFacts, AsyncDisposable {
  /** Every attached file at that moment; none if they were not asked for. */
  readonly names: readonly StoredFile[];
  readonly contents: HeldContents;
  /** The next changes by revision, a few hundred KiB of them; undefined at the end. */
  next(): Promise<readonly StoreChange[] | undefined>;
}

/** What a store that comes from elsewhere has to be. */
export interface CopyExpectation extends CopyFacts {
  readonly layout: StoreLayout;
  /** What comes with it; undefined: not looked at. */
  readonly contents: ContentList | undefined;
}

/** Says of each record whether it is one, in a process of its own. */
export interface RecordCheck {
  /**
   * URL of a module that exports `createRecordCheck(input: Uint8Array)`, which answers a function
   * `(data: Uint8Array) => string | undefined`, or a promise of that: what is wrong with a record's bytes, if
   * anything is.
   */
  readonly module: string;
  readonly input: Uint8Array;
}

/**
 * A store that is being made from a copy. Its bytes are hostile until {@link check} has found nothing.
 * Disposing it before {@link complete} removes all of it.
 */
export interface StoreIntake extends AsyncDisposable {
  /** Absolute; where the copy's data has to be written. */
  readonly dataPath: string;
  /** Absolute; where contents have to be written, or linked, as `contentPath` says. Exists, and is empty. */
  readonly contentsFolder: string;
  /**
   * Reads all of the data: its form, its integrity, counts and records, and that the contents of all
   * files have come. Costs about as much as a few full scans, in a process of its own.
   *
   * @returns what is wrong, each with where it is, at most 100; empty if nothing is.
   * @throws {CollectorError} CANCELLED, STORAGE_UNAVAILABLE, DISK_FULL
   */
  check(
    expected: CopyExpectation,
    record: RecordCheck | undefined,
    options?: CopyOptions,
  ): Promise<readonly string[]>;
  /**
   * Makes it a store, durably. It gets a new incarnation and keeps revisions, ids, versions and times.
   * Its data has been checked.
   *
   * @throws {CollectorError} COLLECTION_EXISTS, DISK_FULL
   */
  complete(location: { readonly storeId: string; readonly generation: bigint }): Promise<void>;
}
