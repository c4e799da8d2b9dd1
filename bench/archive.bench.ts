import { createHash, randomBytes } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { open, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants, createZstdCompress, createZstdDecompress } from "node:zlib";
import type { Archives } from "../src/archive/archive.ts";
import { createArchives } from "../src/archive/archive-pool.ts";
import { tempFolder } from "../test/support/temp-folder.ts";
import { memoryOf } from "./cpu.ts";
import { type Benchmark, main, median, type Report } from "./harness.ts";

const mib = 1024 * 1024;
const megabyte = 1_000_000;
const sampleMs = 20;

export const archiveBenchmark: Benchmark = {
  name: "archive",
  about:
    "A file is packed as an archive and unpacked again, beside a stream of Node's own zstd and SHA-256 that does as much for one file.",
  async run(report, isQuick) {
    const fileMib = isQuick ? 8 : 512;
    const rounds = isQuick ? 1 : 5;
    await using folder = await tempFolder("bench-archive");
    await using archives = createArchives({ threads: 1 });
    const path = (name: string): string => join(folder.path, name);
    for (const [kind, block] of [
      ["records", likeRecords()],
      ["noise", randomBytes(mib)],
    ] as const) {
      await writeFile(path("part"), "");
      for (let done = 0; done < fileMib; done += 1) {
        await writeFile(path("part"), block, { flag: "a" });
      }
      const work = new Work(archives, path);
      await work.round();
      const samples: Sample[] = [];
      for (let round = 0; round < rounds; round += 1) samples.push(await work.round());
      reportKind(report, kind, samples, (fileMib * mib) / megabyte);
    }
  },
};

/** How long each step took, in ms, and by how much the process grew meanwhile at most, in bytes. */
interface Sample {
  readonly pack: Measured;
  readonly unpack: Measured;
  readonly compressStream: Measured;
  readonly decompressStream: Measured;
}

interface Measured {
  readonly ms: number;
  readonly grownBytes: number;
}

class Work {
  readonly #archives: Archives;
  readonly #path: (name: string) => string;

  constructor(archives: Archives, path: (name: string) => string) {
    this.#archives = archives;
    this.#path = path;
  }

  async round(): Promise<Sample> {
    for (const name of ["archive", "unpacked", "stream", "restored"]) {
      await rm(this.#path(name), { force: true });
    }
    const pack = await measure(() => this.#pack());
    const unpack = await measure(() => this.#unpack());
    const level = { params: { [constants.ZSTD_c_compressionLevel]: 3 } };
    const compress = () => this.#stream("part", "stream", createZstdCompress(level), "before");
    const decompress = () => this.#stream("stream", "restored", createZstdDecompress(), "behind");
    const compressStream = await measure(compress);
    const decompressStream = await measure(decompress);
    return { pack, unpack, compressStream, decompressStream };
  }

  async #pack(): Promise<void> {
    const parts = [{ name: "database", path: this.#path("part") }];
    const path = this.#path("archive");
    await this.#archives.pack({ path, manifest: {}, parts, recipients: [] });
  }

  async #unpack(): Promise<void> {
    const { faults } = await this.#archives.unpack({
      path: this.#path("archive"),
      identities: [],
      targets: new Map([["database", this.#path("unpacked")]]),
    });
    if (faults.length > 0) throw new Error("the archive is damaged");
  }

  /** Through zstd, with the SHA-256 of what is not compressed, to the disk. */
  async #stream(
    from: string,
    to: string,
    zstd: NodeJS.ReadWriteStream,
    hashing: "before" | "behind",
  ): Promise<void> {
    const hash = createHash("sha256");
    const hashed = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk);
        done(null, chunk);
      },
    });
    const source = createReadStream(this.#path(from), { highWaterMark: mib });
    const target = createWriteStream(this.#path(to));
    if (hashing === "before") await pipeline(source, hashed, zstd, target);
    else await pipeline(source, zstd, hashed, target);
    hash.digest();
    await using file = await open(this.#path(to), "r+");
    await file.sync();
  }
}

async function measure(work: () => Promise<void>): Promise<Measured> {
  const before = await memoryOf(process.pid);
  let most = before;
  let sampling: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    sampling = memoryOf(process.pid).then((bytes) => {
      most = Math.max(most, bytes);
    });
  }, sampleMs);
  const beganMs = performance.now();
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  const ms = performance.now() - beganMs;
  await sampling;
  return { ms, grownBytes: most - before };
}

function reportKind(
  report: Report,
  kind: string,
  samples: readonly Sample[],
  megabytes: number,
): void {
  for (const [step, baseline] of [
    ["pack", "compressStream"],
    ["unpack", "decompressStream"],
  ] as const) {
    const middleMs = (of: keyof Sample): number => median(samples.map((sample) => sample[of].ms));
    const name = `${kind}: ${step}`;
    report.add(name, (megabytes / middleMs(step)) * 1000, "MB/s");
    report.add(`${name}, time / a stream's`, middleMs(step) / middleMs(baseline), "×");
    const grown = Math.max(...samples.map((sample) => sample[step].grownBytes));
    report.add(`${name}, memory of the process, more by`, grown / mib, "MiB");
  }
}

/** A mebibyte that shrinks to about a third, as pages of records do. */
function likeRecords(): Buffer {
  const block = Buffer.alloc(mib, "a record of a collection has names, numbers and text in it; ");
  randomBytes(0.3 * mib).copy(block);
  return block;
}

if (import.meta.main) await main(archiveBenchmark);
