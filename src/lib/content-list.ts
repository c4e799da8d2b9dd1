import { join } from "node:path";

const digestBytes = 32;
const sizeBytes = 8;
const digestPattern = /^[0-9a-f]{64}$/;

/** A content, by its hash. */
export interface ListedContent {
  /** Lower-case hex. */
  readonly sha256: string;
  readonly sizeBytes: bigint;
}

/** Where a content is in a folder of contents. */
export function contentPath(folder: string, sha256: string): string {
  return join(folder, sha256.slice(0, 2), sha256);
}

/** Contents by their SHA-256, each once, in its order, with their sizes: 40 bytes each, however many they are. */
export class ContentList implements Iterable<ListedContent> {
  /** The SHA-256 of each, 32 bytes. */
  readonly digests: Uint8Array;
  /** The size of each, 8 bytes, little-endian. */
  readonly sizes: Uint8Array;
  readonly #digests: Buffer;
  readonly #sizes: Buffer;

  /** @param digests in ascending order, as many as sizes */
  constructor(digests: Uint8Array = new Uint8Array(0), sizes: Uint8Array = new Uint8Array(0)) {
    this.digests = digests;
    this.sizes = sizes;
    this.#digests = bufferOf(digests);
    this.#sizes = bufferOf(sizes);
  }

  /** @param contents in any order; one that comes again is left out */
  static of(contents: Iterable<ListedContent>): ContentList {
    const found = new Map<string, bigint>();
    for (const content of contents) found.set(content.sha256, content.sizeBytes);
    const sorted = [...found.keys()].sort();
    const digests = Buffer.alloc(sorted.length * digestBytes);
    const sizes = Buffer.alloc(sorted.length * sizeBytes);
    for (const [index, sha256] of sorted.entries()) {
      digests.write(sha256, index * digestBytes, "hex");
      sizes.writeBigUInt64LE(found.get(sha256) ?? 0n, index * sizeBytes);
    }
    return new ContentList(digests, sizes);
  }

  get count(): number {
    return this.sizes.length / sizeBytes;
  }

  get totalBytes(): bigint {
    let total = 0n;
    for (let at = 0; at < this.sizes.length; at += sizeBytes) {
      total += this.#sizes.readBigUInt64LE(at);
    }
    return total;
  }

  /** What is wrong with bytes that come from elsewhere, or undefined. */
  get problem(): string | undefined {
    const { count } = this;
    const isWhole = Number.isInteger(count) && this.digests.length === count * digestBytes;
    if (!isWhole) return "has not a size for each SHA-256";
    for (let at = digestBytes; at < this.digests.length; at += digestBytes) {
      const before = this.#digests.subarray(at - digestBytes, at);
      if (before.compare(this.#digests, at, at + digestBytes) >= 0) return "is not in order";
    }
    return undefined;
  }

  has(sha256: string): boolean {
    return this.sizeOf(sha256) !== undefined;
  }

  /** Undefined if it is not there. */
  sizeOf(sha256: string): bigint | undefined {
    if (!digestPattern.test(sha256)) return undefined;
    const wanted = Buffer.from(sha256, "hex");
    let [low, high] = [0, this.count];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = middle * digestBytes;
      const order = wanted.compare(this.#digests, at, at + digestBytes);
      if (order === 0) return this.#sizes.readBigUInt64LE(middle * sizeBytes);
      if (order < 0) high = middle;
      else low = middle + 1;
    }
    return undefined;
  }

  *[Symbol.iterator](): IterableIterator<ListedContent> {
    for (let index = 0; index < this.count; index += 1) {
      const at = index * digestBytes;
      yield {
        sha256: this.#digests.toString("hex", at, at + digestBytes),
        sizeBytes: this.#sizes.readBigUInt64LE(index * sizeBytes),
      };
    }
  }

  /** Those of which this is true. */
  filter(isWanted: (sha256: string) => boolean): ContentList {
    const [digests, sizes] = [Buffer.alloc(this.digests.length), Buffer.alloc(this.sizes.length)];
    let count = 0;
    let index = 0;
    for (const { sha256, sizeBytes: size } of this) {
      if (isWanted(sha256)) {
        this.#digests.copy(
          digests,
          count * digestBytes,
          index * digestBytes,
          (index + 1) * digestBytes,
        );
        sizes.writeBigUInt64LE(size, count * sizeBytes);
        count += 1;
      }
      index += 1;
    }
    return new ContentList(
      digests.subarray(0, count * digestBytes),
      sizes.subarray(0, count * sizeBytes),
    );
  }
}

function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
