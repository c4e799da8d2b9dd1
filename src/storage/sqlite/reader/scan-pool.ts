import { CollectorError } from "../../../errors.ts";
import type { Limits } from "../../../lib/limits.ts";
import type { Log } from "../../../lib/log.ts";
import type { RecordScan } from "../../record-query.ts";
import type { StoredRecord } from "../../stored-record.ts";
import { DeltaReading } from "./delta-reading.ts";
import { MomentProcess } from "./moment-process.ts";
import type { ResultOf } from "./queries.ts";
import { cancelled, ReaderHandle } from "./reader-handle.ts";
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
/** The same of a copy, whose files may be copied meanwhile. */
const copyIdleMs = 3_600_000;
/** Bytes of records in one step, about. */
const stepBytes = 256 * 1024;
/** When a caller may try again who found too many scans, in ms. */
const scanRetryMs = 1000;

/** Scans of all stores: each has a process of its own, which ends with it. */
export class ScanPool {
  readonly #options: ScanPoolOptions;
  readonly #scans = new Set<MomentProcess>();
  readonly #deltas = new Set<MomentProcess>();

  constructor(options: ScanPoolOptions) {
    this.#options = options;
  }

  /** The processes that run now, by their operating system's ids. */
  get pids(): readonly number[] {
    return [...this.#scans, ...this.#deltas].flatMap(({ pid }) => pid ?? []);
  }

  /**
   * Begins a scan.
   *
   * @param signal ends it, whenever it fires.
   * @throws {CollectorError} OVERLOADED, CANCELLED, STORAGE_UNAVAILABLE, STORAGE_CORRUPT
   */
  async start(storeKey: string, nowUs: bigint, signal: AbortSignal): Promise<ProcessScan> {
    const process = this.#begin("exports", storeKey, signal);
    try {
      return new ProcessScan(process, await process.run({ kind: "scanStart", nowUs }));
    } catch (error) {
      await process[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Begins to read what has changed after a revision.
   *
   * @param signal ends it, whenever it fires.
   * @throws {CollectorError} HISTORY_GONE, and as {@link start}
   */
  async startDelta(
    storeKey: string,
    since: { readonly revision: bigint; readonly nowUs: bigint; readonly files: boolean },
    signal: AbortSignal,
  ): Promise<DeltaReading> {
    const process = this.#begin("copies", storeKey, signal);
    try {
      return await DeltaReading.start(process, since);
    } catch (error) {
      await process[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Ends all scans. */
  async close(): Promise<void> {
    const all = [...this.#scans, ...this.#deltas];
    await Promise.all(all.map((process) => process[Symbol.asyncDispose]()));
  }

  #begin(what: "exports" | "copies", storeKey: string, signal: AbortSignal): MomentProcess {
    const { limits, log, storesFolder } = this.#options;
    const { idleMs = what === "exports" ? scanIdleMs : copyIdleMs } = this.#options;
    if (signal.aborted) throw cancelled();
    const running = what === "exports" ? this.#scans : this.#deltas;
    const max = what === "exports" ? limits.exportsMax : limits.copiesMax;
    if (running.size >= max) {
      throw new CollectorError(
        "OVERLOADED",
        `${running.size} ${what} run, the limit is ${max}; try again`,
        { retryAfterMs: scanRetryMs },
      );
    }
    const handle = new ReaderHandle({ reader: { storesFolder, handlesMax: 1 }, log });
    const process = new MomentProcess({ handle, storeKey, idleMs, signal });
    running.add(process);
    void process.ended.then(() => running.delete(process));
    return process;
  }
}

class ProcessScan implements RecordScan {
  readonly #process: MomentProcess;
  readonly #start: ResultOf<{ kind: "scanStart"; nowUs: bigint }>;

  constructor(process: MomentProcess, start: ResultOf<{ kind: "scanStart"; nowUs: bigint }>) {
    this.#process = process;
    this.#start = start;
  }

  /** Resolves once the scan holds nothing any more. */
  get ended(): Promise<void> {
    return this.#process.ended;
  }

  get revision(): bigint {
    return this.#start.revision;
  }

  get incarnation(): string {
    return this.#start.incarnation;
  }

  get recordCount(): bigint {
    return this.#start.recordCount;
  }

  async next(): Promise<readonly StoredRecord[] | undefined> {
    const { records } = await this.#process.run({ kind: "scanNext", bytesMax: stepBytes });
    if (records.values.length === 0) return undefined;
    return unpackRecords(records);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}
