import { CollectorError } from "../../../errors.ts";
import type { Limits } from "../../../lib/limits.ts";
import type { Log } from "../../../lib/log.ts";
import type { RecordScan } from "../../record-query.ts";
import type { StoredRecord } from "../../stored-record.ts";
import { translateError } from "../translate-error.ts";
import type { ReaderQuery, ResultOf } from "./queries.ts";
import { cancelled, ReaderDiedError, ReaderHandle } from "./reader-handle.ts";
import { unpackRecords } from "./record-codec.ts";

export interface ScanPoolOptions {
  readonly storesFolder: string;
  readonly limits: Limits;
  readonly log: Log;
  /** How long a scan may go without being asked for records; default {@link scanIdleMs}. */
  readonly idleMs?: number;
}

/** How long a scan that nobody reads from goes on holding its moment. */
export const scanIdleMs = 300_000;
/** Bytes of records in one step, about. */
const stepBytes = 256 * 1024;
/** Longest run time of a step. */
const stepMs = 30_000;
/** When a caller may try again who found too many scans, in ms. */
const scanRetryMs = 1000;

/** Scans of all stores: each has a process of its own, which ends with it. */
export class ScanPool {
  readonly #options: ScanPoolOptions;
  readonly #scans = new Set<ProcessScan>();

  constructor(options: ScanPoolOptions) {
    this.#options = options;
  }

  /** The processes that run now, by their operating system's ids. */
  get pids(): readonly number[] {
    return [...this.#scans].flatMap(({ pid }) => pid ?? []);
  }

  /**
   * Begins a scan.
   *
   * @param signal ends it, whenever it fires.
   * @throws {CollectorError} OVERLOADED, CANCELLED, STORAGE_UNAVAILABLE, STORAGE_CORRUPT
   */
  async start(storeKey: string, nowUs: bigint, signal: AbortSignal): Promise<ProcessScan> {
    const { limits, log, storesFolder, idleMs = scanIdleMs } = this.#options;
    if (signal.aborted) throw cancelled();
    if (this.#scans.size >= limits.exportsMax) {
      throw new CollectorError(
        "OVERLOADED",
        `${this.#scans.size} exports run, the limit is ${limits.exportsMax}; try again`,
        { retryAfterMs: scanRetryMs },
      );
    }
    const handle = new ReaderHandle({ reader: { storesFolder, handlesMax: 1 }, log });
    const scan = new ProcessScan({ handle, storeKey, idleMs, signal });
    this.#scans.add(scan);
    void scan.ended.then(() => this.#scans.delete(scan));
    try {
      await scan.begin(nowUs);
      return scan;
    } catch (error) {
      await scan[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Ends all scans. */
  async close(): Promise<void> {
    await Promise.all([...this.#scans].map((scan) => scan[Symbol.asyncDispose]()));
  }
}

interface ProcessScanOptions {
  readonly handle: ReaderHandle;
  readonly storeKey: string;
  readonly idleMs: number;
  readonly signal: AbortSignal;
}

class ProcessScan implements RecordScan {
  readonly #options: ProcessScanOptions;
  readonly #ended = Promise.withResolvers<void>();
  readonly #abort = (): void => void this[Symbol.asyncDispose]();
  #start: ResultOf<{ kind: "scanStart"; nowUs: bigint }> | undefined;
  #tail: Promise<unknown> = Promise.resolve();
  #idle: NodeJS.Timeout | undefined;
  #busy = false;
  #over = false;

  constructor(options: ProcessScanOptions) {
    this.#options = options;
    options.signal.addEventListener("abort", this.#abort, { once: true });
  }

  get pid(): number | undefined {
    return this.#options.handle.pid;
  }

  /** Resolves once the scan holds nothing any more. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  get revision(): bigint {
    return this.#started.revision;
  }

  get incarnation(): string {
    return this.#started.incarnation;
  }

  get recordCount(): bigint {
    return this.#started.recordCount;
  }

  get #started(): ResultOf<{ kind: "scanStart"; nowUs: bigint }> {
    if (this.#start === undefined) throw new Error("the scan was not begun");
    return this.#start;
  }

  async begin(nowUs: bigint): Promise<void> {
    this.#start = await this.#run({ kind: "scanStart", nowUs });
  }

  /** Calls wait for one another: there is one step at a time. */
  next(): Promise<readonly StoredRecord[] | undefined> {
    const step = this.#tail.then(() => this.#next());
    this.#tail = step.catch(() => undefined);
    return step;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { handle, signal } = this.#options;
    if (!this.#over) {
      this.#over = true;
      clearTimeout(this.#idle);
      signal.removeEventListener("abort", this.#abort);
      if (this.#busy) handle.kill();
      await handle.close();
      this.#ended.resolve();
    }
    await this.ended;
  }

  async #next(): Promise<readonly StoredRecord[] | undefined> {
    const { records } = await this.#run({ kind: "scanNext", bytesMax: stepBytes });
    if (records.values.length === 0) return undefined;
    return unpackRecords(records);
  }

  async #run<Q extends ReaderQuery>(query: Q): Promise<ResultOf<Q>> {
    const { handle, storeKey, idleMs } = this.#options;
    if (this.#over) throw cancelled();
    clearTimeout(this.#idle);
    this.#busy = true;
    try {
      await handle.ready;
      // The result is of the query's kind.
      return (await handle.run(storeKey, query, {
        budgetMs: stepMs,
        signal: undefined,
      })) as ResultOf<Q>;
    } catch (error) {
      const died = error instanceof ReaderDiedError;
      const failure = this.#over ? cancelled() : died ? scanDied(error) : translateError(error);
      void this[Symbol.asyncDispose]();
      throw failure;
    } finally {
      this.#busy = false;
      if (!this.#over) {
        this.#idle = setTimeout(this.#abort, idleMs);
        this.#idle.unref();
      }
    }
  }
}

function scanDied(cause: Error): CollectorError {
  return new CollectorError("STORAGE_UNAVAILABLE", "the reader of the records died; start over", {
    cause,
  });
}
