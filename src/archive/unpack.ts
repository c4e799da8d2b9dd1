import { mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { constants, crc32, zstdDecompressSync } from "node:zlib";
import { CollectorError } from "../errors.ts";
import type { ArchiveManifest } from "../gen/collector/archive_pb.ts";
import { contentPath } from "../lib/content-list.ts";
import { freeBytes } from "../lib/free-bytes.ts";
import type { ArchiveFault } from "./archive.ts";
import { ArchiveInput, DamagedInput } from "./archive-input.ts";
import { DiskRoom, type FileToWrite } from "./disk-room.ts";
import {
  archiveMagic,
  blockBytesMax,
  blockHeaderBytes,
  blockKind,
  checksumBytes,
  contentsOf,
  damaged,
  digestBytes,
  formatVersion,
  invalid,
  type ListedPart,
  manifestBytesMax,
  partsOf,
  plainBytesOf,
  preambleBytes,
  readManifest,
  tooNew,
  trailerBytes,
  trailerMarker,
  windowLog,
} from "./format.ts";
import type { JobContext } from "./job-context.ts";
import type { ArchiveJob, UnpackAnswer } from "./messages.ts";
import { PacedFile } from "./paced-file.ts";
import { PartDigest } from "./part-digest.ts";

type UnpackJob = Extract<ArchiveJob, { kind: "unpack" }>;
type ManifestJob = Extract<ArchiveJob, { kind: "manifest" }>;

/** Faults that are told of one archive. */
const faultsMax = 100;

interface Header {
  readonly bytes: Uint8Array;
  readonly manifest: ArchiveManifest;
}

/** @throws {CollectorError} as `Archives.manifest`. */
export async function readManifestBytes(job: ManifestJob): Promise<Uint8Array> {
  using input = await ArchiveInput.open(job.path, job.identities);
  return readHeader(input).bytes;
}

/** Reads all of an archive; the parts that are wanted are written, unless something is wrong. */
export async function unpackArchive(job: UnpackJob, context: JobContext): Promise<UnpackAnswer> {
  try {
    using input = await ArchiveInput.open(job.path, job.identities);
    const { bytes, manifest } = readHeader(input);
    const faults = new Unpacking(input, manifest, job, context).run();
    const sha256 = faults.length > 0 ? undefined : input.fileDigest().toString("hex");
    return { manifest: bytes, faults, sha256 };
  } catch (error) {
    if (!(error instanceof CollectorError) || error.reason !== "ARCHIVE_DAMAGED") throw error;
    return {
      manifest: undefined,
      faults: [{ part: "header", offset: -1n, description: error.message }],
      sha256: undefined,
    };
  }
}

function readHeader(input: ArchiveInput): Header {
  try {
    const preamble = input.take(preambleBytes);
    if (!preamble.subarray(0, archiveMagic.length).equals(archiveMagic)) {
      throw invalid("what is encrypted does not start as one");
    }
    const version = preamble.readUInt32LE(archiveMagic.length);
    const length = preamble.readUInt32LE(archiveMagic.length + 4);
    if (length > manifestBytesMax) throw damaged("the length of its manifest is not valid");
    const bytes = Uint8Array.from(input.take(length));
    const digest = input.digest();
    if (!input.take(digestBytes).equals(digest)) {
      throw damaged("its header does not match its checksum");
    }
    if (version > formatVersion) throw tooNew(version);
    const manifest = readManifest(bytes);
    if (version !== manifest.formatVersion) throw invalid("its version is not valid");
    return { bytes, manifest };
  } catch (error) {
    if (error instanceof DamagedInput) throw damaged(error.message);
    throw error;
  }
}

class Unpacking {
  readonly #input: ArchiveInput;
  readonly #manifest: ArchiveManifest;
  readonly #job: UnpackJob;
  readonly #context: JobContext;
  readonly #faults: ArchiveFault[] = [];
  readonly #written: PacedFile[] = [];
  /** Of contents. */
  readonly #folders = new Set<string>();
  readonly #room: DiskRoom;
  #current = "header";

  constructor(input: ArchiveInput, manifest: ArchiveManifest, job: UnpackJob, context: JobContext) {
    this.#input = input;
    this.#manifest = manifest;
    this.#job = job;
    this.#context = context;
    this.#room = new DiskRoom(job.diskReserveBytes);
  }

  run(): readonly ArchiveFault[] {
    this.#room.checkFor(this.#filesToWrite());
    const total = Number(plainBytesOf(this.#manifest));
    this.#context.progress.begin(total, total);
    try {
      this.#readAll();
    } catch (error) {
      if (!(error instanceof DamagedInput)) {
        this.#removeWritten();
        throw error;
      }
      this.#faults.push({
        part: this.#current,
        offset: BigInt(error.offset),
        description: error.message,
      });
    }
    if (this.#faults.length > 0) this.#removeWritten();
    else this.#context.progress.end();
    return this.#faults.slice(0, faultsMax);
  }

  *#filesToWrite(): Iterable<FileToWrite> {
    for (const { name, sizeBytes } of this.#manifest.parts) {
      const path = this.#job.targets.get(name);
      if (path !== undefined) yield { path, bytes: Number(sizeBytes) };
    }
    const { contentsFolder } = this.#job;
    if (contentsFolder === undefined) return;
    const bytes = Number(contentsOf(this.#manifest).totalBytes);
    yield { path: join(contentsFolder, "contents"), bytes };
  }

  #readAll(): void {
    for (const part of partsOf(this.#manifest)) {
      this.#current = part.name;
      if (!this.#readPart(part)) return;
    }
    this.#current = "trailer";
    this.#readTrailer();
  }

  /** Returns whether what follows can be read. */
  #readPart(part: ListedPart): boolean {
    const target = this.#targetOf(part);
    const file = target === undefined ? undefined : PacedFile.create(target);
    using _ = file;
    if (file !== undefined && part.content === undefined) this.#written.push(file);
    const faultsBefore = this.#faults.length;
    const size = Number(part.sizeBytes);
    const digest = new PartDigest(size);
    let done = 0;
    for (;;) {
      const at = this.#input.offset;
      const header = Buffer.from(this.#input.take(blockHeaderBytes));
      const kind = header.readUInt32LE(0);
      const plainBytes = header.readUInt32LE(4);
      const storedBytes = header.readUInt32LE(8);
      if (kind === blockKind.end && plainBytes === 0 && storedBytes === 0) {
        if (!this.#isSound(header, Buffer.alloc(0))) this.#fault(at, "a block is damaged");
        break;
      }
      const problem = headerProblem(kind, plainBytes, storedBytes, size - done);
      if (problem !== undefined) {
        this.#fault(at, problem);
        return false;
      }
      const plain = this.#readBlock(header, storedBytes, plainBytes, at);
      done += plainBytes;
      if (plain !== undefined) {
        this.#keep(plain, digest, file);
        // What was not compressed lies in the input's memory.
        if (kind === blockKind.zstd) freeBytes(plain);
      }
      this.#context.throttle.step();
      this.#context.progress.advance(plainBytes);
    }
    // A block that is missing is told once.
    if (this.#faults.length === faultsBefore) this.#checkWhole(part, done, digest.end());
    return true;
  }

  #targetOf({ name, content }: ListedPart): string | undefined {
    const { targets, contentsFolder } = this.#job;
    if (content === undefined) return targets.get(name);
    if (contentsFolder === undefined) return undefined;
    const path = contentPath(contentsFolder, content);
    const folder = dirname(path);
    if (!this.#folders.has(folder)) mkdirSync(folder, { recursive: true });
    this.#folders.add(folder);
    return path;
  }

  #keep(plain: Buffer, digest: PartDigest, file: PacedFile | undefined): void {
    digest.update(plain);
    if (file === undefined) return;
    this.#room.beforeWrite({ path: file.path, bytes: plain.length });
    file.write([plain]);
  }

  #checkWhole(part: ListedPart, done: number, digest: Buffer): void {
    if (BigInt(done) !== part.sizeBytes) {
      this.#fault(this.#input.offset, `the part has ${done} bytes instead of ${part.sizeBytes}`);
    } else if (!digest.equals(part.sha256)) {
      this.#fault(this.#input.offset, "the part does not have its SHA-256");
    }
  }

  #readBlock(
    header: Buffer,
    storedBytes: number,
    plainBytes: number,
    at: number,
  ): Buffer | undefined {
    const stored = this.#input.take(storedBytes + checksumBytes);
    const payload = stored.subarray(0, storedBytes);
    if (crc32(payload, crc32(header)) !== stored.readUInt32LE(storedBytes)) {
      this.#fault(at, "a block does not match its checksum");
      return undefined;
    }
    if (header.readUInt32LE(0) === blockKind.raw) return payload;
    const plain = decompress(payload, plainBytes);
    if (plain === undefined) this.#fault(at, "a block does not hold what it says");
    return plain;
  }

  #isSound(header: Buffer, payload: Buffer): boolean {
    const expected = crc32(payload, crc32(header));
    return this.#input.take(checksumBytes).readUInt32LE(0) === expected;
  }

  #readTrailer(): void {
    const at = this.#input.offset;
    const lead = Buffer.from(this.#input.take(trailerBytes - digestBytes));
    const digest = this.#input.digest();
    if (!lead.subarray(0, trailerMarker.length).equals(trailerMarker)) {
      this.#fault(at, "the trailer does not start as one");
    }
    if (lead.readBigUInt64LE(trailerMarker.length) !== BigInt(at + trailerBytes)) {
      this.#fault(at, "the archive has another length than its trailer says");
    }
    if (!this.#input.take(digestBytes).equals(digest)) {
      this.#fault(at, "the archive does not match its checksum");
    }
    if (!this.#input.isAtEnd()) this.#fault(at + trailerBytes, "something follows the archive");
  }

  #removeWritten(): void {
    for (const file of this.#written) file.remove();
    for (const folder of this.#folders) rmSync(folder, { recursive: true, force: true });
  }

  #fault(offset: number, description: string): void {
    if (this.#faults.length >= faultsMax) return;
    this.#faults.push({
      part: this.#current,
      offset: this.#input.fileOffset(offset),
      description,
    });
  }
}

/** What makes a block's header one that no writer writes. Then nobody knows where the next one is. */
function headerProblem(
  kind: number,
  plainBytes: number,
  storedBytes: number,
  left: number,
): string | undefined {
  const isRaw = kind === blockKind.raw && storedBytes === plainBytes;
  const isZstd = kind === blockKind.zstd && storedBytes > 0 && storedBytes < plainBytes;
  if (!isRaw && !isZstd) return "the header of a block is not valid";
  if (plainBytes === 0 || plainBytes > blockBytesMax) return "the header of a block is not valid";
  if (plainBytes > left) return "the part has more bytes than its manifest says";
  return undefined;
}

function decompress(payload: Buffer, plainBytes: number): Buffer | undefined {
  try {
    const plain = zstdDecompressSync(payload, {
      // One that is full makes the engine add another.
      chunkSize: plainBytes + 64,
      maxOutputLength: plainBytes,
      params: { [constants.ZSTD_d_windowLogMax]: windowLog },
    });
    return plain.length === plainBytes ? plain : undefined;
  } catch {
    return undefined;
  }
}
