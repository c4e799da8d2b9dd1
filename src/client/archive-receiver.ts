import { createHash, type Hash } from "node:crypto";
import { crc32 } from "node:zlib";
import { Code } from "@connectrpc/connect";
import type {
  PullCollectionChunk,
  PullCollectionChunk_Metadata,
} from "../gen/collector/collection_repo_pb.ts";
import type { Attempted } from "./archive-attempts.ts";
import { mismatch, unexpected } from "./archive-transfer-failures.ts";
import { ClientError } from "./client-error.ts";
import type { LongCallOptions } from "./long-call.ts";
import type { Sink } from "./sink.ts";

/** An archive that is complete here. */
export interface DownloadedArchive {
  /** What the server says is in it. */
  readonly metadata: PullCollectionChunk_Metadata;
  /** Of the file; empty if it went elsewhere. */
  readonly path: string;
  /** Lower-case hex. */
  readonly sha256: string;
  /** How often a broken connection was taken up again. */
  readonly resumed: number;
}

/** Writes what arrives and checks it. */
export class Receiver implements Attempted {
  readonly #sink: Sink;
  readonly #onProgress: LongCallOptions["onProgress"];
  readonly #hash: Hash = createHash("sha256");
  #metadata: PullCollectionChunk_Metadata | undefined;
  #received = 0;
  /** What writing has failed with. */
  failure: unknown;

  constructor(sink: Sink, options: LongCallOptions) {
    this.#sink = sink;
    this.#onProgress = options.onProgress;
  }

  /** Empty until the server has named the transfer. */
  get transferId(): string {
    return this.#metadata?.transferId ?? "";
  }

  /** Bytes that are written and hashed. */
  get received(): number {
    return this.#received;
  }

  get isBegun(): boolean {
    return this.transferId !== "";
  }

  get moved(): number {
    return this.#received;
  }

  /** Resolves when all of the archive is there. */
  async take(messages: AsyncIterable<PullCollectionChunk>): Promise<void> {
    for await (const { data, chunkCrc32, progress } of messages) {
      if (progress !== undefined) {
        const { phase, done, total } = progress;
        this.#onProgress?.({ operation: "", phase, done, total });
      }
      if (data.case === "metadata") this.#begin(data.value);
      else if (data.case === "chunk") await this.#write(data.value, chunkCrc32);
    }
    const total = this.#metadata?.totalSize;
    if (total === undefined) throw unexpected("the server sent no archive");
    if (BigInt(this.#received) < total) throw mismatch("the archive broke off");
  }

  /** @throws {ClientError} ARCHIVE_DAMAGED if what arrived is not what was sent */
  complete(path: string, resumed: number): DownloadedArchive {
    const metadata = this.#metadata;
    if (metadata === undefined) throw unexpected("the server sent no archive");
    const digest = this.#hash.digest();
    const isSame = metadata.sha256.byteLength === 0 || digest.equals(metadata.sha256);
    if (isSame && BigInt(this.#received) === metadata.totalSize) {
      return { metadata, path, sha256: digest.toString("hex"), resumed };
    }
    throw new ClientError("ARCHIVE_DAMAGED", "the archive was changed on its way", {
      code: Code.DataLoss,
    });
  }

  #begin(metadata: PullCollectionChunk_Metadata): void {
    if (metadata.offset !== BigInt(this.#received)) {
      throw unexpected(`the server goes on at byte ${metadata.offset}, not ${this.#received}`);
    }
    this.#metadata = metadata;
  }

  async #write(chunk: Uint8Array, crc: number | undefined): Promise<void> {
    if (this.#metadata === undefined) throw unexpected("the server sent no metadata");
    if (crc !== undefined && crc32(chunk) !== crc) throw mismatch("a chunk was changed on its way");
    const total = this.#metadata.totalSize;
    if (BigInt(this.#received + chunk.byteLength) > total) throw unexpected("too much was sent");
    try {
      await this.#sink.write(chunk);
    } catch (error) {
      this.failure = error;
      throw error;
    }
    this.#hash.update(chunk);
    this.#received += chunk.byteLength;
    const done = BigInt(this.#received);
    this.#onProgress?.({ operation: "", phase: "receiving", done, total });
  }
}
