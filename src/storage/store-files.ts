/** A file attached to a record or to the store as a whole. */
export interface StoredFile {
  /** Id of the record; empty if it belongs to the store as a whole. */
  readonly owner: string;
  readonly name: string;
  /** Lower-case hex. */
  readonly sha256: string;
  readonly sizeBytes: bigint;
  readonly contentType: string;
  readonly createdUs: bigint;
  readonly updatedUs: bigint;
}

/** What a store says of its files. */
export interface FileStats {
  readonly count: bigint;
  readonly bytes: bigint;
}

/** Content on its way into a store. Disposing it before {@link StoreFiles.put} leaves nothing behind. */
export interface FileUpload extends AsyncDisposable {
  readonly sizeBytes: bigint;
  /** @throws {CollectorError} DISK_FULL, STORAGE_UNAVAILABLE */
  write(chunk: Uint8Array): Promise<void>;
  /** Ends the content and makes it durable. @returns its SHA-256 in lower-case hex. */
  finish(): Promise<string>;
}

export interface FilePage {
  /** By name. */
  readonly files: readonly StoredFile[];
  /** The last name, if there are more. */
  readonly next: string | undefined;
}

/** A condition on the file that is replaced or removed. */
export interface FileCondition {
  /** SHA-256 that it must have. */
  readonly ifMatch?: string | undefined;
  /** There must be none. */
  readonly createOnly?: boolean | undefined;
}

/**
 * The files of one store: names in the database, content by its SHA-256 beside it, equal content once.
 * Files of a record go in the write that deletes it; content that no name refers to goes soon after.
 */
export interface StoreFiles {
  /** Begins an upload. */
  begin(): Promise<FileUpload>;

  /**
   * Gives finished content a name, durably.
   *
   * @throws {CollectorError} RECORD_NOT_FOUND if the owner is no record, FILE_EXISTS, FILE_MISMATCH
   */
  put(
    upload: FileUpload,
    file: Pick<StoredFile, "owner" | "name" | "contentType">,
    condition?: FileCondition,
  ): Promise<StoredFile>;

  /** Undefined if there is none. */
  stat(owner: string, name: string): Promise<StoredFile | undefined>;

  /** Names with the prefix, after a name, in order of their bytes. */
  list(query: {
    readonly owner: string;
    readonly prefix: string;
    readonly after: string | undefined;
    readonly limit: number;
  }): Promise<FilePage>;

  /** @returns false if there was none. @throws {CollectorError} FILE_MISMATCH */
  remove(owner: string, name: string, condition?: Pick<FileCondition, "ifMatch">): Promise<boolean>;

  /**
   * Reads content, in chunks of 64 KiB to 1 MiB. It can be read to its end even if the file is removed
   * meanwhile.
   *
   * @throws {CollectorError} STORAGE_CORRUPT if the content is missing.
   */
  read(
    sha256: string,
    range: { readonly offset: bigint; readonly length: bigint },
  ): AsyncIterable<Uint8Array>;

  stats(): Promise<FileStats>;

  /** Keeps all content from being removed, until the result is disposed. */
  hold(): Disposable;

  /** Removes content that no name refers to and no upload is about to. @returns how much was removed. */
  sweep(): Promise<FileStats>;

  /**
   * Makes these the files of the store, whatever it had, in one durable step. For stores that nobody
   * else writes to.
   *
   * @param contentOf where content that the store may not have yet is; it is linked or copied. Undefined:
   * the store has it.
   * @throws {CollectorError} CONTENT_MISMATCH if content is missing, DISK_FULL
   */
  replaceAll(
    files: readonly StoredFile[],
    contentOf: (sha256: string) => string | undefined,
  ): Promise<void>;
}
