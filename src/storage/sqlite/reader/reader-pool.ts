import { CollectorError } from "../../../errors.ts";
import { FairQueue } from "../../../lib/fair-queue.ts";
import type { Limits } from "../../../lib/limits.ts";
import type { Log } from "../../../lib/log.ts";
import type { ReadOptions } from "../../record-query.ts";
import { translateError } from "../translate-error.ts";
import type { ReaderQuery, ReaderResult, ResultOf, SingleQuery } from "./queries.ts";
import { cancelled, ReaderDiedError, ReaderHandle } from "./reader-handle.ts";

export interface ReaderPoolOptions {
  readonly storesFolder: string;
  readonly limits: Limits;
  readonly log: Log;
}

interface Job {
  readonly storeKey: string;
  readonly query: ReaderQuery;
  readonly budgetMs: number;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (result: ReaderResult) => void;
  readonly reject: (error: unknown) => void;
  attempts: number;
}

/** When a caller may try again whose query found the queue full, in ms. */
const queueRetryMs = 200;
/** How often a query is tried whose reader dies under it. */
const attemptsMax = 3;
/** Connections a reader keeps; each holds its own cache of pages. */
const handlesPerReader = 32;

/**
 * Queries of all stores, on a few processes that run one query each at a time. Processes rather than
 * threads, because only a process can be ended in the middle of a query; they start when they are
 * first needed, and a dead one is replaced.
 */
export class ReaderPool {
  readonly #options: ReaderPoolOptions;
  readonly #queue: FairQueue<Job>;
  readonly #idle: ReaderHandle[] = [];
  readonly #handles = new Set<ReaderHandle>();

  constructor(options: ReaderPoolOptions) {
    this.#options = options;
    this.#queue = new FairQueue(options.limits.readQueueMax);
  }

  /** The processes that run now, by their operating system's ids. */
  get pids(): readonly number[] {
    return [...this.#handles].flatMap(({ pid }) => pid ?? []);
  }

  /**
   * Runs a query once a reader is free. The stores take turns.
   *
   * @throws {CollectorError} OVERLOADED, CANCELLED, QUERY_TIMEOUT, STORAGE_UNAVAILABLE,
   * STORAGE_CORRUPT
   */
  run<Q extends SingleQuery>(
    storeKey: string,
    query: Q,
    options: ReadOptions = {},
  ): Promise<ResultOf<Q>> {
    const { signal, budgetMs = this.#options.limits.queryBudgetMs } = options;
    if (signal?.aborted === true) return Promise.reject(cancelled());
    return new Promise((resolve, reject) => {
      const abandon = (): void => {
        this.#queue.remove(storeKey, job);
        // Whoever asked need not wait until the query has stopped.
        reject(cancelled());
      };
      const settled = (): void => signal?.removeEventListener("abort", abandon);
      const job: Job = {
        storeKey,
        query,
        budgetMs,
        signal,
        attempts: 0,
        resolve: (result) => {
          settled();
          resolve(result as ResultOf<Q>);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      };
      if (!this.#queue.push(storeKey, job)) {
        reject(this.#overloaded());
        return;
      }
      signal?.addEventListener("abort", abandon, { once: true });
      this.#dispatch();
    });
  }

  /** Closes all connections to a store, once the queries that run have ended. */
  async release(storeKey: string): Promise<void> {
    await Promise.all([...this.#handles].map((handle) => handle.release(storeKey)));
  }

  /** Ends all processes. Nothing may be running. */
  async close(): Promise<void> {
    await Promise.all([...this.#handles].map((handle) => handle.close()));
    this.#handles.clear();
  }

  #dispatch(): void {
    while (this.#queue.size > 0) {
      let handle: ReaderHandle | undefined;
      try {
        handle = this.#takeReader();
      } catch (error) {
        this.#queue.shift()?.reject(translateError(error));
        continue;
      }
      if (handle === undefined) return;
      void this.#serve(handle);
    }
  }

  #takeReader(): ReaderHandle | undefined {
    for (let handle = this.#idle.pop(); handle !== undefined; handle = this.#idle.pop()) {
      if (handle.alive) return handle;
      this.#handles.delete(handle);
    }
    if (this.#handles.size >= this.#options.limits.readersMax) return undefined;
    const { storesFolder, log } = this.#options;
    const reader = { storesFolder, handlesMax: handlesPerReader };
    const handle = new ReaderHandle({ reader, log });
    this.#handles.add(handle);
    return handle;
  }

  /** Runs jobs on a reader until there are none, or the reader is gone. */
  async #serve(handle: ReaderHandle): Promise<void> {
    for (let job = this.#queue.shift(); job !== undefined; job = this.#queue.shift()) {
      await this.#runJob(handle, job);
      if (!handle.alive) break;
    }
    if (handle.alive) this.#idle.push(handle);
    else this.#handles.delete(handle);
    this.#dispatch();
  }

  async #runJob(handle: ReaderHandle, job: Job): Promise<void> {
    job.attempts++;
    try {
      await handle.ready;
      if (job.signal?.aborted === true) return;
      job.resolve(await handle.run(job.storeKey, job.query, job));
    } catch (error) {
      if (error instanceof ReaderDiedError) this.#retry(job, error);
      else job.reject(error);
    }
  }

  #retry(job: Job, error: ReaderDiedError): void {
    const { log } = this.#options;
    log.warn({ err: error.cause, attempt: job.attempts }, "a reader process died; it is replaced");
    if (job.signal?.aborted === true) return;
    if (job.attempts >= attemptsMax || !this.#queue.push(job.storeKey, job)) {
      job.reject(
        new CollectorError("STORAGE_UNAVAILABLE", "the query's reader died; try again", {
          cause: error,
          retryAfterMs: queueRetryMs,
        }),
      );
    }
  }

  #overloaded(): CollectorError {
    const { size } = this.#queue;
    const { readQueueMax } = this.#options.limits;
    return new CollectorError(
      "OVERLOADED",
      `${size} queries wait to be run, the limit is ${readQueueMax}; try again`,
      { retryAfterMs: queueRetryMs },
    );
  }
}
