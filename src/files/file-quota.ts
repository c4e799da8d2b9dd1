import { CollectorError } from "../errors.ts";
import type { Limits } from "../lib/limits.ts";

/** How often the files of a namespace that seems full are counted anew, in ms. */
const recountMs = 1000;

export interface FileQuotaOptions {
  readonly limits: Pick<Limits, "filesPerNamespaceBytesMax">;
  /** Asks the stores of a namespace how much its files have in sum. */
  readonly sum: (namespace: string) => Promise<bigint>;
}

/** Room that an upload holds. Disposing it gives back what did not become a file. */
export interface QuotaShare extends Disposable {
  /** @throws {CollectorError} QUOTA_EXCEEDED */
  take(bytes: number): Promise<void>;
  /** What was taken is a file now, in the place of one of `replacedBytes`. */
  settle(replacedBytes: bigint): void;
}

/**
 * What the files of each namespace have in sum, in memory. Files also go with their records and
 * collections, which is not noticed here: the sum may be too high, never too low. It is counted anew
 * before an upload is refused.
 */
export class FileQuota {
  readonly #options: FileQuotaOptions;
  readonly #usages = new Map<string, Usage>();

  constructor(options: FileQuotaOptions) {
    this.#options = options;
  }

  open(namespace: string): QuotaShare {
    return new Share(this.#usageOf(namespace));
  }

  /** A file of the namespace was removed. */
  free(namespace: string, bytes: bigint): void {
    this.#usages.get(namespace)?.free(bytes);
  }

  #usageOf(namespace: string): Usage {
    let usage = this.#usages.get(namespace);
    if (usage === undefined) {
      const { limits, sum } = this.#options;
      usage = new Usage(namespace, BigInt(limits.filesPerNamespaceBytesMax), () => sum(namespace));
      this.#usages.set(namespace, usage);
    }
    return usage;
  }
}

class Share implements QuotaShare {
  readonly #usage: Usage;
  #taken = 0n;

  constructor(usage: Usage) {
    this.#usage = usage;
  }

  async take(bytes: number): Promise<void> {
    await this.#usage.reserve(BigInt(bytes));
    this.#taken += BigInt(bytes);
  }

  settle(replacedBytes: bigint): void {
    this.#usage.settle(this.#taken, replacedBytes);
    this.#taken = 0n;
  }

  [Symbol.dispose](): void {
    this.#usage.release(this.#taken);
    this.#taken = 0n;
  }
}

class Usage {
  readonly #namespace: string;
  readonly #bytesMax: bigint;
  readonly #sum: () => Promise<bigint>;
  /** Undefined until it was counted. */
  #used: bigint | undefined;
  #reserved = 0n;
  #counting: Promise<void> | undefined;
  #countedMs = 0;
  /** What became files while the count was under way, which may have seen it or not. */
  #settledMeanwhile = 0n;

  constructor(namespace: string, bytesMax: bigint, sum: () => Promise<bigint>) {
    this.#namespace = namespace;
    this.#bytesMax = bytesMax;
    this.#sum = sum;
  }

  async reserve(bytes: bigint): Promise<void> {
    if (!this.#fits(bytes)) {
      await this.#count();
      if (!this.#fits(bytes)) throw this.#exceeded(bytes);
    }
    this.#reserved += bytes;
  }

  settle(bytes: bigint, replacedBytes: bigint): void {
    this.#reserved -= bytes;
    if (this.#used !== undefined) this.#used += bytes - replacedBytes;
    if (this.#counting !== undefined) this.#settledMeanwhile += bytes;
  }

  release(bytes: bigint): void {
    this.#reserved -= bytes;
  }

  free(bytes: bigint): void {
    if (this.#used !== undefined) this.#used -= bytes;
  }

  #fits(bytes: bigint): boolean {
    return this.#used !== undefined && this.#used + this.#reserved + bytes <= this.#bytesMax;
  }

  async #count(): Promise<void> {
    const isFresh = this.#used !== undefined && performance.now() - this.#countedMs < recountMs;
    if (isFresh && this.#counting === undefined) return;
    this.#counting ??= this.#countAnew();
    await this.#counting;
  }

  async #countAnew(): Promise<void> {
    this.#settledMeanwhile = 0n;
    try {
      const sum = await this.#sum();
      this.#used = sum + this.#settledMeanwhile;
      this.#countedMs = performance.now();
    } finally {
      this.#counting = undefined;
    }
  }

  #exceeded(bytes: bigint): CollectorError {
    const used = (this.#used ?? 0n) + this.#reserved;
    return new CollectorError(
      "QUOTA_EXCEEDED",
      `the files of namespace \`${this.#namespace}\` have ${used} bytes and would get ${bytes} more, the limit filesPerNamespaceBytesMax is ${this.#bytesMax}; delete some first`,
      { subject: { namespace: this.#namespace } },
    );
  }
}
