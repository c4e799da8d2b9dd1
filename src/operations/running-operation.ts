import { CollectorError } from "../errors.ts";
import type { Operation } from "../gen/collector/operations_pb.ts";
import type { Status } from "../gen/google/rpc/status_pb.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { changed, type OperationProgress, type OperationWork } from "./operation.ts";

/** Progress is written to disk at most this often. */
const saveEveryMs = 1000;
/** How long to wait before what could not be saved is saved again. */
const saveAgainMs = 5000;

export interface RunningOperationOptions {
  readonly operation: Operation;
  readonly work: OperationWork;
  readonly clock: Clock;
  readonly log: Log;
  /** Makes an operation durable. */
  readonly save: (operation: Operation) => Promise<void>;
  readonly toStatus: (error: unknown) => Status;
}

/** An operation whose work runs in this process, from its start to its end. */
export class RunningOperation {
  readonly #options: RunningOperationOptions;
  readonly #abort = new AbortController();
  readonly #stopping = new AbortController();
  readonly #ended: Promise<void>;
  #operation: Operation;
  #timer: NodeJS.Timeout | undefined;
  /** Saves run one after the other. */
  #saving: Promise<void> = Promise.resolve();

  constructor(options: RunningOperationOptions) {
    this.#options = options;
    this.#operation = options.operation;
    if (this.#operation.cancelRequested) this.#abort.abort(cancelled());
    this.#ended = this.#run();
  }

  get operation(): Operation {
    return this.#operation;
  }

  /** Resolves when the work has ended and that is saved, or given up because the server stops. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /** Asks the work to stop; durable when the promise resolves. */
  async cancel(): Promise<void> {
    if (this.#operation.done || this.#operation.cancelRequested) return;
    this.#change({ cancelRequested: true });
    const saved = this.#save();
    this.#abort.abort(cancelled());
    await saved;
  }

  /** Asks the work to stop and leaves it to the next start. Resolves when it has stopped. */
  async stop(): Promise<void> {
    const reason = new CollectorError("SHUTTING_DOWN", "the server is stopping");
    this.#stopping.abort(reason);
    this.#abort.abort(reason);
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { work, toStatus, log } = this.#options;
    const { signal } = this.#abort;
    try {
      // The caller gets hold of this object before the work begins.
      await Promise.resolve();
      const response = await work({
        signal,
        stopping: this.#stopping.signal,
        report: (progress) => this.#report(progress),
      });
      this.#change({
        done: true,
        ...(response === undefined ? {} : { result: { case: "response", value: response } }),
      });
    } catch (error) {
      if (this.#isStopping) return;
      const { name, kind, subject } = this.#operation;
      const reason: unknown = signal.aborted ? signal.reason : error;
      if (!signal.aborted)
        log.warn({ operation: name, kind, subject, err: error }, "operation failed");
      this.#change({ done: true, result: { case: "error", value: toStatus(reason) } });
    } finally {
      clearTimeout(this.#timer);
    }
    await this.#saveEnd();
  }

  get #isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  #report({ done, total, phase }: OperationProgress): void {
    if (this.#operation.done) return;
    const { progressDone } = this.#operation;
    this.#change({
      ...(done === undefined || done < progressDone ? {} : { progressDone: done }),
      ...(total === undefined ? {} : { progressTotal: total }),
      ...(phase === undefined ? {} : { phase }),
    });
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#trySave();
    }, saveEveryMs).unref();
  }

  #change(changes: Parameters<typeof changed>[1]): void {
    this.#operation = changed(this.#operation, changes, this.#options.clock.nowUs());
  }

  #save(): Promise<void> {
    this.#saving = this.#saving
      .catch(() => undefined)
      .then(() => this.#options.save(this.#operation));
    return this.#saving;
  }

  /** @returns false if it is not saved; that is logged. */
  async #trySave(): Promise<boolean> {
    try {
      await this.#save();
      return true;
    } catch (error) {
      const { name } = this.#operation;
      this.#options.log.warn({ operation: name, err: error }, "operation could not be saved");
      return false;
    }
  }

  /** Saves the end, however long the disk is full: otherwise the work would be done again. */
  async #saveEnd(): Promise<void> {
    const { signal } = this.#stopping;
    while (!(await this.#trySave()) && !this.#isStopping) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, saveAgainMs).unref();
      signal.addEventListener("abort", () => resolve(), { once: true });
      await promise;
      clearTimeout(timer);
    }
  }
}

function cancelled(): CollectorError {
  return new CollectorError("CANCELLED", "the operation was cancelled");
}
