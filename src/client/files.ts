import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import type { FileInfo, UploadFileRequestSchema } from "../gen/collector/files_pb.ts";
import { ClientError } from "./client-error.ts";
import { type CallLimits, limitsOf } from "./collection.ts";
import type { Services } from "./services.ts";
import { untilLeft } from "./until-left.ts";

/** What the server knows about a file. */
export interface AttachedFile {
  /** As in `photos/front.jpg`. */
  readonly name: string;
  /** Empty if the file belongs to the collection. */
  readonly recordId: string;
  readonly sizeBytes: bigint;
  /** Lower-case hex. Pass it as `ifMatch` to replace only what was seen. */
  readonly sha256: string;
  readonly contentType: string;
  readonly createdAt: Date | undefined;
  readonly updatedAt: Date | undefined;
  /** Where plain HTTP reads it, as a path on the server. */
  readonly uri: string;
}

/** A file with its content. */
export interface FileContent {
  readonly file: AttachedFile;
  /** Is iterated once; giving up the iteration ends the transfer. */
  readonly content: AsyncIterable<Uint8Array>;
}

export interface FileOptions extends CallLimits {
  /** The record that the file belongs to; left out, it belongs to the collection. */
  readonly recordId?: string;
}

export interface PutFileOptions extends FileOptions {
  /** Media type, as in `image/jpeg`. */
  readonly contentType?: string;
  /** SHA-256 that the content must have, in hex. */
  readonly sha256?: string;
  /** Fails with FILE_MISMATCH unless the file that is there has this SHA-256. */
  readonly ifMatch?: string;
  /** Fails with FILE_EXISTS if there is a file of this name. */
  readonly createOnly?: boolean;
}

export interface GetFileOptions extends FileOptions {
  /** First byte to read. */
  readonly offset?: bigint;
  /** How many bytes to read; all that follow if it is left out. */
  readonly length?: bigint;
}

export interface ListFilesOptions extends FileOptions {
  readonly prefix?: string;
  /** Files fetched at a time. */
  readonly pageSize?: number;
}

/** What can be sent: bytes, or bytes as they come, such as a stream of Node or of the web. */
export type FileSource = Uint8Array | AsyncIterable<Uint8Array>;

export interface CollectionFilesOptions {
  readonly files: Services["files"];
  readonly namespace: string;
  readonly collection: string;
}

/** Largest chunk that is sent. */
const chunkBytes = 256 * 1024;

/** Transfers take as long as they take, unless the caller says otherwise; 0 means that here. */
const noTimeoutMs = 0;

/** The files of a collection and of its records. */
export class CollectionFiles {
  readonly #files: Services["files"];
  readonly #namespace: string;
  readonly #collection: string;

  constructor(options: CollectionFilesOptions) {
    this.#files = options.files;
    this.#namespace = options.namespace;
    this.#collection = options.collection;
  }

  /**
   * Stores a file; it is durable when the promise resolves, and not there before.
   *
   * @throws {ClientError} FILE_EXISTS, FILE_MISMATCH, RECORD_NOT_FOUND, FILE_TOO_LARGE, QUOTA_EXCEEDED;
   * what `content` throws
   */
  async put(
    name: string,
    content: FileSource,
    options: PutFileOptions = {},
  ): Promise<AttachedFile> {
    const { contentType = "", sha256 = "", ifMatch = "", createOnly = false } = options;
    const file = this.#name(name, options);
    const failure: { error?: unknown } = {};
    const parts = async function* (): AsyncIterable<
      MessageInitShape<typeof UploadFileRequestSchema>
    > {
      const header = { file, contentType, sha256, ifMatch, createOnly };
      yield { part: { case: "header", value: header } };
      yield* chunkParts(content, failure);
    };
    try {
      const answer = await this.#files.uploadFile(parts(), transferLimits(options));
      return toFile(answer.file);
    } catch (error) {
      throw failure.error ?? error;
    }
  }

  /** @throws {ClientError} FILE_NOT_FOUND, RANGE_INVALID; reading the content may throw as well */
  async get(name: string, options: GetFileOptions = {}): Promise<FileContent> {
    const { offset = 0n, length = 0n } = options;
    const request = { file: this.#name(name, options), offset, length };
    const messages = untilLeft(
      (signal) => this.#files.downloadFile(request, transferLimits({ ...options, signal })),
      options.signal,
    );
    const first = await messages.next();
    const file = toFile(first.done === true ? undefined : first.value.file);
    const content = async function* (): AsyncIterable<Uint8Array> {
      for await (const { chunk } of messages) yield chunk;
    };
    return { file, content: content() };
  }

  /** @throws {ClientError} FILE_NOT_FOUND */
  async stat(name: string, options: FileOptions = {}): Promise<AttachedFile> {
    const request = { file: this.#name(name, options) };
    return toFile((await this.#files.statFile(request, limitsOf(options))).file);
  }

  /** Every file, by name, page after page. */
  async *list(options: ListFilesOptions = {}): AsyncIterable<AttachedFile> {
    const { recordId = "", prefix = "", pageSize = 0 } = options;
    const { namespace, collectionName } = this.#name("", options);
    let pageToken = "";
    do {
      const page = await this.#files.listAttachedFiles(
        { namespace, collectionName, recordId, prefix, pageSize, pageToken },
        limitsOf(options),
      );
      yield* page.files.map(toFile);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  /** @throws {ClientError} FILE_NOT_FOUND unless `allowMissing`, FILE_MISMATCH */
  async delete(
    name: string,
    options: FileOptions & { readonly ifMatch?: string; readonly allowMissing?: boolean } = {},
  ): Promise<void> {
    const { ifMatch = "", allowMissing = false } = options;
    const request = { file: this.#name(name, options), ifMatch, allowMissing };
    await this.#files.deleteFile(request, limitsOf(options));
  }

  #name(
    name: string,
    { recordId = "" }: FileOptions,
  ): { namespace: string; collectionName: string; recordId: string; name: string } {
    return { namespace: this.#namespace, collectionName: this.#collection, recordId, name };
  }
}

/**
 * The content as messages. A stream that fails is ended by the transport like one that is complete, so
 * after a failure of the source comes a message that is neither header nor chunk: it has the upload
 * refused for certain.
 */
async function* chunkParts(
  content: FileSource,
  failure: { error?: unknown },
): AsyncIterable<MessageInitShape<typeof UploadFileRequestSchema>> {
  const chunks = chunksOf(content)[Symbol.asyncIterator]();
  try {
    for (;;) {
      let next: IteratorResult<Uint8Array, unknown>;
      try {
        next = await chunks.next();
      } catch (error) {
        failure.error = error;
        yield { part: { case: undefined } };
        return;
      }
      if (next.done === true) return;
      yield { part: { case: "chunk", value: next.value } };
    }
  } finally {
    await chunks.return?.();
  }
}

async function* chunksOf(content: FileSource): AsyncIterable<Uint8Array> {
  for await (const bytes of content instanceof Uint8Array ? [content] : content) {
    for (let from = 0; from < bytes.byteLength; from += chunkBytes) {
      yield bytes.subarray(from, from + chunkBytes);
    }
  }
}

function transferLimits({ signal, timeoutMs = noTimeoutMs }: CallLimits): CallLimits {
  return limitsOf({ timeoutMs, ...(signal === undefined ? {} : { signal }) });
}

function toFile(info: FileInfo | undefined): AttachedFile {
  if (info?.file === undefined) {
    throw new ClientError("UNRECOGNIZED", "the server answered no file", { code: Code.Internal });
  }
  const { createdAt, updatedAt, sizeBytes, sha256, contentType, uri } = info;
  const { name, recordId } = info.file;
  return {
    name,
    recordId,
    sizeBytes,
    sha256,
    contentType,
    createdAt: createdAt === undefined ? undefined : timestampDate(createdAt),
    updatedAt: updatedAt === undefined ? undefined : timestampDate(updatedAt),
    uri,
  };
}
