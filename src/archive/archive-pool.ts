import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { CollectorError } from "../errors.ts";
import { type ArchiveManifest, ArchiveManifestSchema } from "../gen/collector/archive_pb.ts";
import { ContentList } from "../lib/content-list.ts";
import { defaultLimits } from "../lib/limits.ts";
import { type Log, silentLog } from "../lib/log.ts";
import type {
  Archives,
  PackedArchive,
  PackRequest,
  UnpackedArchive,
  UnpackRequest,
} from "./archive.ts";
import { ArchiveThreads } from "./archive-threads.ts";

export interface ArchivesOptions {
  /** Archives that are packed or unpacked at a time; 2 if absent. Each takes a core. */
  readonly threads?: number | undefined;
  readonly log?: Log | undefined;
  /** Free space that is left on the disk that parts are written to; the default limit if absent. */
  readonly diskReserveBytes?: number | undefined;
}

/** Threads start with the first work for them, and end when there was none for a while. */
export function createArchives(options: ArchivesOptions = {}): Archives {
  return new ArchivePool(options);
}

class ArchivePool implements Archives {
  readonly #threads: ArchiveThreads;
  readonly #diskReserveBytes: number;

  constructor({ threads = 2, log = silentLog, diskReserveBytes }: ArchivesOptions) {
    this.#diskReserveBytes = diskReserveBytes ?? defaultLimits.diskReserveBytes;
    this.#threads = new ArchiveThreads({ threads, log });
  }

  async pack(request: PackRequest): Promise<PackedArchive> {
    const { path, parts, recipients } = request;
    const { list = new ContentList(), folder = "" } = request.contents ?? {};
    const contents = { digests: list.digests, sizes: list.sizes, folder };
    const manifest = toBinary(
      ArchiveManifestSchema,
      create(ArchiveManifestSchema, { ...request.manifest, parts: [] }),
    );
    const job = { kind: "pack", path, manifest, parts, contents, recipients } as const;
    const answer = await this.#threads.run(job, request);
    return { ...answer, manifest: decode(answer.manifest) };
  }

  async manifest(path: string, identities: readonly string[]): Promise<ArchiveManifest> {
    return decode(await this.#threads.run({ kind: "manifest", path, identities }, {}));
  }

  async unpack(request: UnpackRequest): Promise<UnpackedArchive> {
    const { path, identities, targets, contentsFolder } = request;
    const diskReserveBytes = this.#diskReserveBytes;
    const wanted = { targets, contentsFolder, diskReserveBytes };
    const job = { kind: "unpack", path, identities, ...wanted } as const;
    const answer = await this.#threads.run(job, request);
    const { manifest, faults, sha256 } = answer;
    return { manifest: manifest === undefined ? undefined : decode(manifest), faults, sha256 };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#threads.close();
  }
}

/** Of a manifest that a thread has made, or held to the format: nothing else is decoded here. */
function decode(bytes: Uint8Array): ArchiveManifest {
  try {
    return fromBinary(ArchiveManifestSchema, bytes);
  } catch (error) {
    throw new CollectorError("INTERNAL", "a thread for archives gave no manifest", {
      cause: error,
    });
  }
}
