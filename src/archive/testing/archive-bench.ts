import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { CollectorError, type ErrorReason } from "../../errors.ts";
import { Compression } from "../../gen/collector/collection_repo_pb.ts";
import { ContentList, contentPath, type ListedContent } from "../../lib/content-list.ts";
import type { Archives, PackedArchive, PartSource, UnpackedArchive } from "../archive.ts";
import { createArchives } from "../archive-pool.ts";

/** Packs archives into `a.collector` of a folder of its own. */
export interface Bench extends AsyncDisposable {
  readonly archives: Archives;
  readonly folder: string;
  pack(options: PackOptions): Promise<PackedArchive>;
  check(identities?: readonly string[]): Promise<UnpackedArchive>;
}

export interface PackOptions {
  readonly parts: ReadonlyMap<string, Buffer>;
  readonly compression?: Compression;
  readonly recipients?: readonly string[];
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { done: bigint; total: bigint }) => void;
}

export async function openBench(): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), "collector-archive-"));
  const archives = createArchives({ threads: 1 });
  const path = join(folder, "a.collector");
  return {
    archives,
    folder,
    async pack({ parts, compression = Compression.ZSTD, recipients = [], signal, onProgress }) {
      await rm(path, { force: true });
      const sources: PartSource[] = [];
      const listed: ListedContent[] = [];
      const contentsFolder = join(folder, "contents");
      for (const [name, content] of parts) {
        const sha256 = name.startsWith("files/") ? name.slice("files/".length) : undefined;
        const source =
          sha256 === undefined ? join(folder, name) : contentPath(contentsFolder, sha256);
        await mkdir(dirname(source), { recursive: true });
        await writeFile(source, content);
        if (sha256 === undefined) sources.push({ name, path: source });
        else listed.push({ sha256, sizeBytes: BigInt(content.length) });
      }
      const manifest = { compression, incarnation: "i", revision: 7n };
      const contents = { list: ContentList.of(listed), folder: contentsFolder };
      const more = { recipients, signal, onProgress };
      return archives.pack({ path, manifest, parts: sources, contents, ...more });
    },
    check: (identities = []) => archives.unpack({ path, identities, targets: new Map() }),
    async [Symbol.asyncDispose]() {
      await archives[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

/** A content under its name. */
export function filePart(content: Buffer): [string, Buffer] {
  return [`files/${createHash("sha256").update(content).digest("hex")}`, content];
}

/** What a reader says of an archive: faults, a refusal, or nothing. */
export async function complaint(bench: Bench, identities: readonly string[]): Promise<string> {
  try {
    const { faults } = await bench.check(identities);
    return faults.map(({ part, description }) => `${part}: ${description}`).join();
  } catch (error) {
    if (error instanceof CollectorError) return error.reason;
    throw error;
  }
}

export function isRefusal(reason: ErrorReason): (error: unknown) => boolean {
  return (error) => error instanceof CollectorError && error.reason === reason;
}
