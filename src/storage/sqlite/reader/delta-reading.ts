import type { CopyFacts, StoreChange } from "../../store-copies.ts";
import type { FileStats, StoredFile } from "../../store-files.ts";
import { unpackChanges } from "./delta-codec.ts";
import type { MomentProcess } from "./moment-process.ts";
import type { ResultOf } from "./queries.ts";

type Start = ResultOf<{ kind: "deltaStart"; revision: bigint; nowUs: bigint; files: boolean }>;

/** Bytes of changes in one step, about. */
const stepBytes = 256 * 1024;
/** Attached files in one step. */
const filesPerStep = 1000;

/** What has changed in a store up to one moment, which a process keeps. */
export class DeltaReading implements CopyFacts, AsyncDisposable {
  readonly format: string;
  readonly revision: bigint;
  readonly incarnation: string;
  readonly recordCount: bigint;
  readonly files: FileStats;
  readonly names: readonly StoredFile[];
  readonly #process: MomentProcess;
  readonly #vectors: readonly string[];

  private constructor(process: MomentProcess, start: Start, names: readonly StoredFile[]) {
    this.#process = process;
    this.#vectors = start.vectors;
    this.format = start.format;
    this.revision = start.revision;
    this.incarnation = start.incarnation;
    this.recordCount = start.recordCount;
    this.names = names;
    const bytes = names.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0n);
    this.files = { count: BigInt(names.length), bytes };
  }

  /** @throws {CollectorError} HISTORY_GONE, and what the process throws */
  static async start(
    process: MomentProcess,
    since: { readonly revision: bigint; readonly nowUs: bigint; readonly files: boolean },
  ): Promise<DeltaReading> {
    const start = await process.run({ kind: "deltaStart", ...since });
    const names: StoredFile[] = [];
    while (since.files) {
      const { files } = await process.run({ kind: "deltaFiles", limit: filesPerStep });
      if (files.length === 0) break;
      names.push(...files);
    }
    return new DeltaReading(process, start, names);
  }

  /** Resolves once it holds nothing any more. */
  get ended(): Promise<void> {
    return this.#process.ended;
  }

  /** The next changes by revision; undefined at the end. */
  async next(): Promise<readonly StoreChange[] | undefined> {
    const { changes } = await this.#process.run({ kind: "deltaNext", bytesMax: stepBytes });
    const unpacked = unpackChanges(changes, this.#vectors);
    return unpacked.length === 0 ? undefined : unpacked;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}
