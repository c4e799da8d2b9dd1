import { CollectorError } from "../../../errors.ts";
import { translateError } from "../translate-error.ts";
import type { MomentQuery, ResultOf } from "./queries.ts";
import { cancelled, ReaderDiedError, type ReaderHandle } from "./reader-handle.ts";

export interface MomentProcessOptions {
  readonly handle: ReaderHandle;
  readonly storeKey: string;
  /** How long it may go without a query. */
  readonly idleMs: number;
  /** Ends it, whenever it fires. */
  readonly signal: AbortSignal;
}

/** Longest run time of a query. */
const stepMs = 30_000;

/** A process that keeps one moment of a store, until it is disposed, cancelled, fails or is left alone. */
export class MomentProcess implements AsyncDisposable {
  readonly #options: MomentProcessOptions;
  readonly #ended = Promise.withResolvers<void>();
  readonly #abort = (): void => void this[Symbol.asyncDispose]();
  #tail: Promise<unknown> = Promise.resolve();
  #idle: NodeJS.Timeout | undefined;
  #busy = false;
  #over = false;

  constructor(options: MomentProcessOptions) {
    this.#options = options;
    options.signal.addEventListener("abort", this.#abort, { once: true });
  }

  get pid(): number | undefined {
    return this.#options.handle.pid;
  }

  /** Resolves once it holds nothing any more. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /**
   * Calls wait for one another: there is one query at a time. One that fails ends the process.
   *
   * @throws {CollectorError} CANCELLED, STORAGE_UNAVAILABLE, STORAGE_CORRUPT, and what the query throws
   */
  run<Q extends MomentQuery>(query: Q): Promise<ResultOf<Q>> {
    const step = this.#tail.then(() => this.#run(query));
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

  async #run<Q extends MomentQuery>(query: Q): Promise<ResultOf<Q>> {
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
