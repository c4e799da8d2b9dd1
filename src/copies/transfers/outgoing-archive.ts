import { type FileHandle, open, rm } from "node:fs/promises";
import { translateFileError } from "../../archive/file-failure.ts";
import { CollectorError } from "../../errors.ts";
import type { Collection } from "../../gen/collector/collection_pb.ts";
import { type ArchiveChunk, type ChunkRoom, readChunks } from "./archive-chunks.ts";

/** What is told of an archive before it is sent. */
export interface ArchiveFacts {
  /** As it is called and defined here; undefined for one of a registry. */
  readonly collection: Collection | undefined;
  readonly sizeBytes: bigint;
  /** Of the file, lower-case hex. */
  readonly sha256: string;
  readonly recordCount: bigint;
  readonly fileCount: bigint;
  readonly includesFiles: boolean;
  readonly formatVersion: number;
  /** Holds only what changed since then; undefined: everything. */
  readonly base: { readonly incarnation: string; readonly revision: bigint } | undefined;
}

/** An archive that can be sent, from any place in it and as often as need be, until it is disposed. */
export class OutgoingArchive implements AsyncDisposable {
  readonly facts: ArchiveFacts;
  readonly #file: FileHandle;
  readonly #path: string;
  readonly #isOurs: boolean;

  private constructor(file: FileHandle, path: string, facts: ArchiveFacts, isOurs: boolean) {
    this.#file = file;
    this.#path = path;
    this.facts = facts;
    this.#isOurs = isOurs;
  }

  /**
   * @param isOurs the file goes with the result; otherwise it may be deleted meanwhile, and is read to its
   * end nevertheless.
   * @throws {CollectorError} ARCHIVE_DAMAGED if the file is missing or of another size
   */
  static async open(path: string, facts: ArchiveFacts, isOurs: boolean): Promise<OutgoingArchive> {
    let file: FileHandle | undefined;
    try {
      file = await open(path, "r");
      const { size } = await file.stat();
      if (BigInt(size) !== facts.sizeBytes) {
        const problem = `it has ${size} bytes instead of ${facts.sizeBytes}`;
        throw new CollectorError("ARCHIVE_DAMAGED", `the archive is damaged: ${problem}`);
      }
      return new OutgoingArchive(file, path, facts, isOurs);
    } catch (error) {
      await file?.close();
      if (isOurs) await rm(path, { force: true });
      if (error instanceof Error && "code" in error && error.code === "ENOENT") {
        throw new CollectorError("ARCHIVE_DAMAGED", "the archive is damaged: its file is missing");
      }
      throw translateFileError(error);
    }
  }

  /**
   * @param room that is left around the bytes of each chunk
   * @throws {CollectorError} as {@link readChunks}
   */
  chunks(
    offset: bigint,
    signal: AbortSignal,
    room: ChunkRoom = { before: 0, after: 0 },
  ): AsyncGenerator<ArchiveChunk, undefined> {
    const sizeBytes = Number(this.facts.sizeBytes);
    return readChunks(this.#file, { offset: Number(offset), sizeBytes }, room, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
    if (this.#isOurs) await rm(this.#path, { force: true });
  }
}
