import { randomUUIDv7 } from "node:crypto";
import type { SystemRecords } from "../collections/system-records.ts";
import { CollectorError, invalidField } from "../errors.ts";
import type { Operation } from "../gen/collector/operations_pb.ts";
import type { Status } from "../gen/google/rpc/status_pb.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import type { Limits } from "../lib/limits.ts";
import { type Log, silentLog } from "../lib/log.ts";
import { encodePageToken, type PageRequest, readPage } from "../lib/page-token.ts";
import { changed, newOperation, type OperationTopic, type OperationWork } from "./operation.ts";
import { RunningOperation } from "./running-operation.ts";

/** Operations that have ended and are kept to be looked at; of more, the oldest go. */
export const endedOperationsMax = 1000;

/** The work that goes on with an operation of an earlier run of the server; undefined: it cannot. */
export type OperationResumer = (operation: Operation) => OperationWork | undefined;

export interface OperationStoreOptions {
  /** Collection `operations` of namespace `system`. */
  readonly records: SystemRecords<Operation>;
  readonly limits: Pick<Limits, "pageSizeDefault" | "pageSizeMax">;
  /** The wire form of a failure, kept in the operation that failed. */
  readonly toStatus: (error: unknown) => Status;
  readonly clock?: Clock;
  readonly log?: Log;
}

export interface OperationsQuery extends PageRequest {
  /** Empty: any. */
  readonly namespace: string;
  /** Empty: any. */
  readonly kind: string;
}

export interface OperationsPage {
  readonly operations: Operation[];
  readonly nextPageToken: string;
}

/**
 * Long operations: work that outlives the call that began it. Each is a durable record from its
 * start to its deletion; all of them are in memory too, so reads cost no I/O.
 */
export class OperationStore implements AsyncDisposable {
  readonly #options: Required<OperationStoreOptions>;
  readonly #running = new Map<string, RunningOperation>();
  /** Operations without running work: ended ones, and at start those that are left over. */
  readonly #resting = new Map<string, Operation>();
  /** What is still to be done for operations that end. */
  readonly #settling = new Set<Promise<void>>();
  #isStopping = false;

  private constructor(options: Required<OperationStoreOptions>) {
    this.#options = options;
  }

  /** Reads all operations. Those that a stop has cut wait for {@link resume}. */
  static async open(options: OperationStoreOptions): Promise<OperationStore> {
    const store = new OperationStore({ clock: systemClock, log: silentLog, ...options });
    for await (const { id, value } of options.records.all()) store.#resting.set(id, value);
    return store;
  }

  /**
   * Goes on with the operations that the last stop of the server has cut. One that nobody can go on
   * with has failed, and one that was being cancelled takes back what it has begun. To be called once,
   * when everything that the work needs is there.
   */
  async resume(resumers: Readonly<Record<string, OperationResumer>>): Promise<void> {
    const { toStatus, clock, records } = this.#options;
    const failed: Operation[] = [];
    for (const operation of this.#resting.values()) {
      if (operation.done) continue;
      const work = resumers[operation.kind]?.(operation);
      if (work !== undefined) {
        this.#resting.delete(operation.name);
        this.#run(operation, work);
        continue;
      }
      const why = operation.cancelRequested
        ? new CollectorError("CANCELLED", "the operation was cancelled")
        : new CollectorError(
            "SHUTTING_DOWN",
            "the server stopped before the operation had ended; start it again",
          );
      const result = { case: "error", value: toStatus(why) } as const;
      failed.push(changed(operation, { done: true, result }, clock.nowUs()));
    }
    for (const operation of failed) this.#resting.set(operation.name, operation);
    await records.write(failed.map((value) => ({ kind: "put", id: value.name, value })));
  }

  /**
   * Begins an operation. When the promise resolves it is durable and its work is about to run.
   *
   * @throws {CollectorError} SHUTTING_DOWN, and the storage's failures; then nothing has begun.
   */
  async start(topic: OperationTopic, work: OperationWork): Promise<Operation> {
    if (this.#isStopping) throw new CollectorError("SHUTTING_DOWN", "the server is stopping");
    const name = `operations/${randomUUIDv7()}`;
    const operation = newOperation(name, topic, this.#options.clock.nowUs());
    await this.#save(operation);
    this.#run(operation, work);
    return operation;
  }

  /** @throws {CollectorError} OPERATION_NOT_FOUND, ARGUMENT_MISSING */
  get(name: string): Operation {
    const found = this.#find(name);
    if (found !== undefined) return found;
    if (name === "") throw invalidField("ARGUMENT_MISSING", "name", "names no operation");
    throw new CollectorError("OPERATION_NOT_FOUND", "there is no operation of this name", {
      subject: { operation: name.slice(0, 256) },
    });
  }

  /** The operations whose work has not ended. */
  get running(): Operation[] {
    return [...this.#running.values()]
      .map(({ operation }) => operation)
      .filter(({ done }) => !done);
  }

  /** @throws {CollectorError} PAGE_SIZE_INVALID, PAGE_TOKEN_INVALID */
  list(query: OperationsQuery): OperationsPage {
    const { namespace, kind } = query;
    const pageQuery = ["ListOperations", namespace, kind];
    const { size, after } = readPage(query, pageQuery, this.#options.limits);
    // Names begin with the time, so their order is the order of the starts.
    const matching = [...this.#names()]
      .filter((name) => after === undefined || name > after)
      .sort()
      .map((name) => this.get(name))
      .filter((operation) => namespace === "" || operation.namespace === namespace)
      .filter((operation) => kind === "" || operation.kind === kind);
    const operations = matching.slice(0, size);
    const last = operations.at(-1);
    const isLast = last === undefined || matching.length <= size;
    return { operations, nextPageToken: isLast ? "" : encodePageToken(pageQuery, last.name) };
  }

  /**
   * The operation when it has ended, or as it is once the time is over or nobody waits any more.
   *
   * @throws {CollectorError} OPERATION_NOT_FOUND
   */
  async wait(
    name: string,
    options: { readonly timeoutMs?: number | undefined; readonly signal?: AbortSignal | undefined },
  ): Promise<Operation> {
    const running = this.#running.get(name);
    if (running === undefined) return this.get(name);
    const { timeoutMs, signal } = options;
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const giveUp = (): void => resolve();
    const timer =
      timeoutMs === undefined ? undefined : setTimeout(giveUp, Math.min(timeoutMs, 2 ** 31 - 1));
    signal?.addEventListener("abort", giveUp, { once: true });
    if (signal?.aborted === true) giveUp();
    try {
      await Promise.race([running.ended, over]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", giveUp);
    }
    return running.operation;
  }

  /**
   * Asks an operation to stop and answers it as it then is; for one that has ended nothing changes.
   *
   * @throws {CollectorError} OPERATION_NOT_FOUND
   */
  async cancel(name: string): Promise<Operation> {
    const running = this.#running.get(name);
    if (running === undefined) return this.get(name);
    await running.cancel();
    return running.operation;
  }

  /** @throws {CollectorError} OPERATION_NOT_FOUND; OPERATION_RUNNING if it has not ended */
  async delete(name: string): Promise<void> {
    const operation = this.get(name);
    if (!operation.done || this.#running.has(name)) {
      throw new CollectorError(
        "OPERATION_RUNNING",
        "the operation has not ended; cancel it or wait for it first",
        { subject: { operation: name } },
      );
    }
    await this.#options.records.write([{ kind: "delete", id: name }]);
    this.#resting.delete(name);
  }

  /** Stops all work, to go on at the next start, and waits until it has stopped. */
  async close(): Promise<void> {
    this.#isStopping = true;
    await Promise.all([...this.#running.values()].map((running) => running.stop()));
    await Promise.all(this.#settling);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #find(name: string): Operation | undefined {
    return this.#running.get(name)?.operation ?? this.#resting.get(name);
  }

  *#names(): Iterable<string> {
    yield* this.#running.keys();
    yield* this.#resting.keys();
  }

  #run(operation: Operation, work: OperationWork): void {
    const { clock, log, toStatus } = this.#options;
    const running = new RunningOperation({
      operation,
      work,
      clock,
      log,
      toStatus,
      save: (state) => this.#save(state),
    });
    this.#running.set(operation.name, running);
    const settled = this.#settle(running).finally(() => this.#settling.delete(settled));
    this.#settling.add(settled);
  }

  async #settle(running: RunningOperation): Promise<void> {
    await running.ended;
    const { operation } = running;
    this.#running.delete(operation.name);
    this.#resting.set(operation.name, operation);
    if (operation.done) await this.#forgetOldest();
  }

  async #forgetOldest(): Promise<void> {
    const ended = [...this.#resting.values()].filter(({ done }) => done);
    const oldest = ended.slice(0, Math.max(ended.length - endedOperationsMax, 0));
    if (oldest.length === 0) return;
    for (const { name } of oldest) this.#resting.delete(name);
    try {
      await this.#options.records.write(oldest.map(({ name }) => ({ kind: "delete", id: name })));
    } catch (error) {
      // They are found again at the next start, and go then.
      this.#options.log.warn({ err: error }, "old operations could not be removed");
    }
  }

  #save(operation: Operation): Promise<void> {
    return this.#options.records.write([{ kind: "put", id: operation.name, value: operation }]);
  }
}
