import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { CollectorError } from "../../../errors.ts";
import { openForReading } from "../connection.ts";
import { installAlive } from "../query/alive.ts";
import { dataFileName } from "../store-paths.ts";
import { isFatal } from "../translate-error.ts";
import { DeltaRows } from "./delta-rows.ts";
import type { ReaderOptions } from "./messages.ts";
import { type MomentQuery, type ReaderQuery, type ReaderResult, runQuery } from "./queries.ts";
import { ScanRows } from "./scan-rows.ts";

/** How long a reader waits for a lock of another connection, in ms. */
const busyMs = 1000;

/**
 * How much of a file is read by mapping it, in bytes: rows in many places cost half. A disk that fails under
 * the map ends the process, which is replaced; the event loop never maps.
 */
const mappedBytesMax = 4 * 1024 ** 3;

/** How many rows pass between two looks at the clock. */
const rowsPerLook = 16;

const momentKinds: ReadonlySet<ReaderQuery["kind"]> = new Set<MomentQuery["kind"]>([
  "scanStart",
  "scanNext",
  "deltaStart",
  "deltaFiles",
  "deltaNext",
]);

export interface QueryRunnerOptions extends ReaderOptions {
  /** One 32-bit cell: the number of the last call that was cancelled; another thread sets it. */
  readonly cancelled: SharedArrayBuffer;
}

/** A query and how long it may run. */
export interface RunningCall {
  /** Never 0. */
  readonly call: number;
  readonly storeKey: string;
  readonly query: ReaderQuery;
  readonly budgetMs: number;
}

/** Runs queries one after the other, on connections that it keeps for the next. */
export class QueryRunner {
  readonly #options: QueryRunnerOptions;
  readonly #cancelled: Int32Array;
  /** In order of use: the first was not used for longest. */
  readonly #connections = new Map<string, DatabaseSync>();
  #scanned: ScanRows | undefined;
  #delta: DeltaRows | undefined;
  #call = 0;
  #untilMs = 0;
  #rows = 0;

  constructor(options: QueryRunnerOptions) {
    this.#options = options;
    this.#cancelled = new Int32Array(options.cancelled);
  }

  /** @throws {CollectorError} CANCELLED, QUERY_TIMEOUT. @throws what SQLite throws */
  run({ call, storeKey, query, budgetMs }: RunningCall): ReaderResult {
    this.#call = call;
    this.#untilMs = performance.now() + budgetMs;
    this.#rows = 0;
    if (isOfMoment(query)) return this.#runOfMoment(storeKey, query);
    try {
      return runQuery(this.#use(storeKey), query);
    } catch (error) {
      if (isRefusal(error)) throw error;
      this.#rows = 0;
      this.#checkStop();
      this.release(storeKey);
      if (!isFatal(error)) throw error;
    }
    // A new connection may do better: what it reads is not in its cache.
    try {
      return runQuery(this.#use(storeKey), query);
    } catch (error) {
      this.#rows = 0;
      this.#checkStop();
      this.release(storeKey);
      throw error;
    }
  }

  /** A process that keeps a moment does nothing else, so it has the connection for itself. */
  #runOfMoment(storeKey: string, query: MomentQuery): ReaderResult {
    switch (query.kind) {
      case "scanStart":
        this.#scanned = new ScanRows(this.#use(storeKey));
        return this.#scanned.run(query);
      case "scanNext":
        if (this.#scanned === undefined) throw new Error("the scan was not begun");
        return this.#scanned.run(query);
      case "deltaStart":
        this.#delta = new DeltaRows(this.#use(storeKey));
        return this.#delta.run(query);
      case "deltaFiles":
      case "deltaNext":
        if (this.#delta === undefined) throw new Error("the reading of changes was not begun");
        return this.#delta.run(query);
    }
  }

  release(storeKey: string): void {
    this.#connections.get(storeKey)?.close();
    this.#connections.delete(storeKey);
  }

  #use(storeKey: string): DatabaseSync {
    let db = this.#connections.get(storeKey);
    if (db === undefined) {
      const [oldest] = this.#connections.keys();
      if (oldest !== undefined && this.#connections.size >= this.#options.handlesMax) {
        this.release(oldest);
      }
      db = this.#open(storeKey);
    } else {
      this.#connections.delete(storeKey);
    }
    this.#connections.set(storeKey, db);
    return db;
  }

  #open(storeKey: string): DatabaseSync {
    const db = openForReading(join(this.#options.storesFolder, storeKey, dataFileName), busyMs);
    db.exec(`PRAGMA mmap_size = ${mappedBytesMax}`);
    installAlive(db, () => this.#checkStop());
    return db;
  }

  /** For every row: the clock is looked at for the first, and then now and then. */
  #checkStop(): void {
    if (Atomics.load(this.#cancelled, 0) === this.#call) {
      throw new CollectorError("CANCELLED", "the query was cancelled");
    }
    if (this.#rows++ % rowsPerLook === 0 && performance.now() > this.#untilMs) throw queryTimeout();
  }
}

function isOfMoment(query: ReaderQuery): query is MomentQuery {
  return momentKinds.has(query.kind);
}

/** True if it is the query that is at fault: the connection is as good as before. */
function isRefusal(error: unknown): boolean {
  return (
    error instanceof CollectorError &&
    (error.reason === "PAGE_TOKEN_INVALID" || error.reason === "QUERY_INVALID")
  );
}

export function queryTimeout(): CollectorError {
  return new CollectorError(
    "QUERY_TIMEOUT",
    "the query took longer than its time budget and was stopped; ask for less",
  );
}
