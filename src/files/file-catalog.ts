import { create } from "@bufbuild/protobuf";
import { KeyedLock } from "../collections/keyed-lock.ts";
import { checkRecordId, refuseSystemWrite } from "../collections/names.ts";
import { CollectorError, invalidField } from "../errors.ts";
import type {
  DeleteFileRequest,
  DownloadFileRequest,
  ListAttachedFilesRequest,
  UploadFileRequest_Header,
} from "../gen/collector/files_pb.ts";
import { type FileInfo, FileInfoSchema, type FileName } from "../gen/collector/files_pb.ts";
import type { Limits } from "../lib/limits.ts";
import { encodePageToken, readPage } from "../lib/page-token.ts";
import { TransferSlots } from "../lib/transfer-slots.ts";
import type { RecordStore } from "../storage/record-store.ts";
import type { FileUpload, StoredFile, StoreFiles } from "../storage/store-files.ts";
import {
  checkContentType,
  checkFileName,
  checkFilePrefix,
  checkSha256,
  fileUri,
} from "./file-names.ts";
import { FileQuota, type QuotaShare } from "./file-quota.ts";

/** Where collections are found. */
export interface FileOwners {
  /** @throws {CollectorError} COLLECTION_NOT_FOUND */
  store(namespace: string, name: string): RecordStore;
  storesIn(namespace: string): readonly RecordStore[];
}

export interface FileCatalogOptions {
  readonly collections: FileOwners;
  readonly limits: Limits;
}

/** Content of a file on its way to a caller. It has to be disposed: it holds a file handle. */
export interface FileDownload extends AsyncDisposable {
  readonly file: FileInfo;
  /** Is iterated once. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** How often a download starts over because its file is replaced again and again. */
const replacedMax = 5;

type Target = Pick<FileName, "namespace" | "collectionName" | "recordId">;

/** The files of all collections. */
export class FileCatalog {
  readonly #collections: FileOwners;
  readonly #limits: Limits;
  readonly #quota: FileQuota;
  readonly #slots: TransferSlots;
  /** What is done to a name is done one after the other, so that the quota knows what was replaced. */
  readonly #names = new KeyedLock();

  constructor({ collections, limits }: FileCatalogOptions) {
    this.#collections = collections;
    this.#limits = limits;
    this.#quota = new FileQuota({ limits, sum: (namespace) => this.#sumOf(namespace) });
    this.#slots = new TransferSlots({
      slotsMax: limits.fileTransfersMax,
      what: "files are being sent or received",
      limit: "fileTransfersMax",
    });
  }

  /**
   * Stores a file, durably. An upload that fails, whatever the reason, leaves nothing.
   *
   * @param signal gives the upload up, also when all has come: some callers end their stream and then
   * reset it when they mean to cancel
   * @throws {CollectorError} FILE_NAME_INVALID, COLLECTION_NOT_FOUND, RECORD_NOT_FOUND, FILE_EXISTS,
   * FILE_MISMATCH, FILE_TOO_LARGE, QUOTA_EXCEEDED, CONTENT_MISMATCH, DISK_FULL, OVERLOADED,
   * SYSTEM_READ_ONLY; what `chunks` throws
   */
  async upload(
    header: UploadFileRequest_Header,
    chunks: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<FileInfo> {
    const file = this.#checkName(header.file, "header.file");
    const contentType = checkContentType(header.contentType, "header.content_type");
    const sha256 = checkSha256(header.sha256, "header.sha256");
    const ifMatch = checkSha256(header.ifMatch, "header.if_match");
    const condition = { ifMatch, createOnly: header.createOnly };
    refuseSystemWrite(file.namespace);
    const store = this.#collections.store(file.namespace, file.collectionName);
    using _slot = this.#slots.take();
    await this.#checkOwner(store, file.recordId);
    // What would be refused in the end is refused before it is sent.
    checkCondition(await store.files.stat(file.recordId, file.name), condition);

    using share = this.#quota.open(file.namespace);
    await using upload = await store.files.begin();
    await this.#receive(chunks, upload, share);
    const found = await upload.finish();
    signal.throwIfAborted();
    if (sha256 !== undefined && found !== sha256) throw contentMismatch(found, sha256);
    const target = { owner: file.recordId, name: file.name, contentType };
    const stored = await this.#names.run([keyOf(file)], async () => {
      const replaced = await store.files.stat(file.recordId, file.name);
      const done = await store.files.put(upload, target, condition);
      share.settle(replaced?.sizeBytes ?? 0n);
      return done;
    });
    return toInfo(file, stored);
  }

  /**
   * Finds a file and opens its content, which stays whole even if the file is replaced or removed.
   *
   * @throws {CollectorError} FILE_NOT_FOUND, COLLECTION_NOT_FOUND, RANGE_INVALID, OVERLOADED
   */
  async download(
    request: Pick<DownloadFileRequest, "file" | "offset" | "length">,
  ): Promise<FileDownload> {
    const { offset, length } = request;
    if (offset < 0n)
      throw invalidField("ARGUMENT_INVALID", "offset", `is ${offset}; send 0 or more`);
    if (length < 0n)
      throw invalidField("ARGUMENT_INVALID", "length", `is ${length}; send 0 or more`);
    const file = this.#checkName(request.file, "file");
    const { files } = this.#collections.store(file.namespace, file.collectionName);
    const slot = this.#slots.take();
    try {
      for (let attempt = 1; ; attempt += 1) {
        const stored = await find(files, file);
        const { sha256, sizeBytes } = stored;
        if (offset > sizeBytes) throw behindEnd(offset, sizeBytes);
        const rest = sizeBytes - offset;
        const range = { offset, length: length === 0n || length > rest ? rest : length };
        const chunks = files.read(sha256, range)[Symbol.asyncIterator]();
        try {
          const first = await chunks.next();
          return {
            file: toInfo(file, stored),
            chunks: resume(first, chunks),
            [Symbol.asyncDispose]: async () => {
              slot[Symbol.dispose]();
              await chunks.return?.();
            },
          };
        } catch (error) {
          await chunks.return?.();
          // Replaced or removed since it was looked up: then it is looked up again.
          const now = await files.stat(file.recordId, file.name);
          if (now?.sha256 === sha256 || attempt === replacedMax) throw error;
        }
      }
    } catch (error) {
      slot[Symbol.dispose]();
      throw error;
    }
  }

  /** @throws {CollectorError} FILE_NOT_FOUND, COLLECTION_NOT_FOUND */
  async stat(name: FileName | undefined): Promise<FileInfo> {
    const file = this.#checkName(name, "file");
    const { files } = this.#collections.store(file.namespace, file.collectionName);
    return toInfo(file, await find(files, file));
  }

  /** By name. @throws {CollectorError} COLLECTION_NOT_FOUND, PAGE_SIZE_INVALID, PAGE_TOKEN_INVALID */
  async list(
    request: Omit<ListAttachedFilesRequest, "$typeName" | "$unknown">,
  ): Promise<{ files: FileInfo[]; nextPageToken: string }> {
    const { namespace, collectionName, recordId, prefix } = request;
    if (recordId !== "") checkRecordId(recordId, this.#limits, "record_id");
    checkFilePrefix(prefix, "prefix");
    const { files } = this.#collections.store(namespace, collectionName);
    const query = ["ListAttachedFiles", namespace, collectionName, recordId, prefix];
    const { size, after } = readPage(request, query, this.#limits);
    const page = await files.list({ owner: recordId, prefix, after, limit: size });
    return {
      files: page.files.map((stored) =>
        toInfo({ namespace, collectionName, recordId, name: stored.name }, stored),
      ),
      nextPageToken: page.next === undefined ? "" : encodePageToken(query, page.next),
    };
  }

  /**
   * Removes a file; its content goes soon after.
   *
   * @throws {CollectorError} FILE_NOT_FOUND, FILE_MISMATCH, COLLECTION_NOT_FOUND, SYSTEM_READ_ONLY
   */
  async delete(
    request: Pick<DeleteFileRequest, "file" | "ifMatch" | "allowMissing">,
  ): Promise<void> {
    const file = this.#checkName(request.file, "file");
    const ifMatch = checkSha256(request.ifMatch, "if_match");
    refuseSystemWrite(file.namespace);
    const { files } = this.#collections.store(file.namespace, file.collectionName);
    await this.#names.run([keyOf(file)], async () => {
      const stored = await files.stat(file.recordId, file.name);
      const isRemoved =
        stored !== undefined && (await files.remove(file.recordId, file.name, { ifMatch }));
      if (isRemoved) this.#quota.free(file.namespace, stored.sizeBytes);
      else if (!request.allowMissing) throw notFound(file);
    });
  }

  async #receive(
    chunks: AsyncIterable<Uint8Array>,
    upload: FileUpload,
    share: QuotaShare,
  ): Promise<void> {
    const { fileBytesMax, fileChunkBytesMax } = this.#limits;
    for await (const chunk of chunks) {
      if (chunk.byteLength > fileChunkBytesMax) {
        throw tooLarge("chunk", chunk.byteLength, "fileChunkBytesMax", fileChunkBytesMax);
      }
      const size = Number(upload.sizeBytes) + chunk.byteLength;
      if (size > fileBytesMax) throw tooLarge("file", size, "fileBytesMax", fileBytesMax);
      await share.take(chunk.byteLength);
      await upload.write(chunk);
    }
  }

  /** @throws {CollectorError} ARGUMENT_MISSING, FILE_NAME_INVALID, ID_INVALID */
  #checkName(file: FileName | undefined, field: string): FileName {
    if (file === undefined) throw invalidField("ARGUMENT_MISSING", field, "names no file");
    checkFileName(file.name, `${field}.name`);
    if (file.recordId !== "") checkRecordId(file.recordId, this.#limits, `${field}.record_id`);
    if (file.collectionName === "") {
      throw invalidField("ARGUMENT_MISSING", `${field}.collection_name`, "names no collection");
    }
    return file;
  }

  async #checkOwner(store: RecordStore, recordId: string): Promise<void> {
    if (recordId === "") return;
    const [record] = await store.get([recordId]);
    if (record !== undefined) return;
    throw new CollectorError("RECORD_NOT_FOUND", "there is no record with this id", {
      subject: { id: recordId },
    });
  }

  async #sumOf(namespace: string): Promise<bigint> {
    let sum = 0n;
    for (const { files } of this.#collections.storesIn(namespace)) {
      try {
        sum += (await files.stats()).bytes;
      } catch (error) {
        // Deleted meanwhile, with its files.
        const isGone = error instanceof CollectorError && error.reason === "COLLECTION_NOT_FOUND";
        if (!isGone) throw error;
      }
    }
    return sum;
  }
}

/** The content from its first chunk on, which is there already. */
async function* resume(
  first: IteratorResult<Uint8Array>,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  for (let next = first; next.done !== true; next = await rest.next()) yield next.value;
}

async function find(files: StoreFiles, file: FileName): Promise<StoredFile> {
  const stored = await files.stat(file.recordId, file.name);
  if (stored === undefined) throw notFound(file);
  return stored;
}

function toInfo(
  { namespace, collectionName, recordId, name }: Target & Pick<FileName, "name">,
  stored: StoredFile,
): FileInfo {
  const file = { namespace, collectionName, recordId, name };
  return create(FileInfoSchema, {
    file,
    sizeBytes: stored.sizeBytes,
    sha256: stored.sha256,
    contentType: stored.contentType,
    createdAt: toTimestamp(stored.createdUs),
    updatedAt: toTimestamp(stored.updatedUs),
    uri: fileUri(file),
  });
}

function toTimestamp(us: bigint): { seconds: bigint; nanos: number } {
  return { seconds: us / 1_000_000n, nanos: Number(us % 1_000_000n) * 1000 };
}

function keyOf({ namespace, collectionName, recordId, name }: FileName): string {
  return [namespace, collectionName, recordId, name].join("\0");
}

function checkCondition(
  stored: StoredFile | undefined,
  condition: { readonly ifMatch: string | undefined; readonly createOnly: boolean },
): void {
  const { ifMatch, createOnly } = condition;
  if (createOnly && stored !== undefined) {
    throw new CollectorError("FILE_EXISTS", "a file of this name exists already", {
      subject: { file: stored.name },
    });
  }
  if (ifMatch !== undefined && stored?.sha256 !== ifMatch) {
    const state = stored === undefined ? "does not exist" : `has SHA-256 ${stored.sha256}`;
    throw new CollectorError("FILE_MISMATCH", `the file ${state}, not ${ifMatch}; stat it again`, {
      subject: stored === undefined ? {} : { file: stored.name },
    });
  }
}

function notFound({ recordId, name }: FileName): CollectorError {
  const owner = recordId === "" ? "the collection" : "the record";
  return new CollectorError("FILE_NOT_FOUND", `${owner} has no file of this name`, {
    subject: { file: name, ...(recordId === "" ? {} : { record: recordId }) },
  });
}

function behindEnd(offset: bigint, size: bigint): CollectorError {
  const description = `is ${offset}, and the file has ${size} bytes`;
  return invalidField("RANGE_INVALID", "offset", description);
}

function tooLarge(what: string, seen: number, limit: string, max: number): CollectorError {
  return new CollectorError(
    "FILE_TOO_LARGE",
    `the ${what} has ${seen} bytes or more, the limit ${limit} is ${max}`,
  );
}

function contentMismatch(found: string, wanted: string): CollectorError {
  return new CollectorError(
    "CONTENT_MISMATCH",
    `what arrived has SHA-256 ${found}, and header.sha256 says ${wanted}; send it again`,
  );
}
