import { Worker } from "node:worker_threads";
import { CollectorError } from "../../../errors.ts";
import type { Log } from "../../../lib/log.ts";
import { siblingModule } from "../../../lib/sibling-module.ts";
import { Slots } from "../../../lib/slots.ts";
import type { BuildProgress, StepOutcome, Write, WriteOutcome } from "../../record-store.ts";
import { unpackFailure } from "../failure.ts";
import { parseLabels } from "../labels.ts";
import { type Answer, type PackedOutcome, unpackAnswers } from "./answer-codec.ts";
import type {
  TaskAnswer,
  WriterOptions,
  WriterReport,
  WriterRequest,
  WriterTask,
} from "./messages.ts";
import { type OutgoingWrite, packWrites } from "./write-codec.ts";

export interface WriterHandleOptions {
  readonly writer: WriterOptions;
  readonly log: Log;
  /** Closes the connections to a store that are not the writer's. */
  readonly release: (storeKey: string) => Promise<void>;
  /** Writes the log of a store back to its database. */
  readonly writeBack: (storeKey: string) => Promise<void>;
  /** Told before writes are acknowledged. */
  readonly beforeAnswers: () => void;
}

interface PendingWrite {
  readonly write: Write;
  readonly resolve: (outcome: WriteOutcome) => void;
  readonly reject: (error: CollectorError) => void;
}

interface PendingTask {
  readonly resolve: (answer: TaskAnswer) => void;
  readonly reject: (error: CollectorError) => void;
  readonly onProgress: ((progress: BuildProgress) => void) | undefined;
}

/**
 * One writer thread as the main thread sees it. The thread starts with the first work for it, and
 * starts again if it has died.
 */
export class WriterHandle {
  readonly #options: WriterHandleOptions;
  #worker: Worker | undefined;
  /** Of tasks; a write goes by its slot. */
  #nextCall = 1;
  readonly #writes = new Slots<PendingWrite>();
  readonly #tasks = new Map<number, PendingTask>();
  #outgoing: OutgoingWrite[] = [];

  constructor(options: WriterHandleOptions) {
    this.#options = options;
  }

  /** Hands a write over together with all others of this turn of the event loop. */
  write(storeKey: string, write: Write, nowUs: bigint): Promise<WriteOutcome> {
    return new Promise((resolve, reject) => {
      const call = this.#writes.add({ write, resolve, reject });
      if (this.#outgoing.length === 0) setImmediate(() => this.#flush());
      this.#outgoing.push({ call, storeKey, nowUs, write });
    });
  }

  /** Runs a task after all writes that were handed over before. */
  run<Task extends WriterTask>(
    task: Task,
    options: {
      readonly signal?: AbortSignal | undefined;
      readonly onProgress?: ((progress: BuildProgress) => void) | undefined;
    } = {},
  ): Promise<TaskAnswer<Task>> {
    const { signal, onProgress } = options;
    if (signal?.aborted === true) return Promise.reject(cancelled());
    return new Promise((resolve, reject) => {
      const call = this.#nextCall++;
      const abort = (): void => this.#post({ kind: "abort", call });
      signal?.addEventListener("abort", abort, { once: true });
      const settled = (): void => signal?.removeEventListener("abort", abort);
      this.#tasks.set(call, {
        resolve: (answer) => {
          settled();
          // The thread answers each task with what belongs to it.
          resolve(answer as TaskAnswer<Task>);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
        onProgress,
      });
      this.#flush();
      this.#post({ kind: "task", call, task });
    });
  }

  /** Ends the thread once all that was handed over is done. */
  async close(): Promise<void> {
    this.#flush();
    if (this.#worker === undefined) return;
    await this.run({ task: "shutdown" });
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }

  #flush(): void {
    if (this.#outgoing.length === 0) return;
    const outgoing = this.#outgoing;
    this.#outgoing = [];
    const packed = packWrites(outgoing);
    this.#post({ kind: "writes", ...packed }, [packed.bytes]);
  }

  #post(request: WriterRequest, transfer: readonly ArrayBuffer[] = []): void {
    this.#worker ??= this.#start();
    this.#worker.postMessage(request, transfer);
  }

  #start(): Worker {
    const worker = new Worker(siblingModule(import.meta.url, "writer-thread"), {
      workerData: this.#options.writer,
      execArgv: [],
      name: "collector-writer",
    });
    worker.on("message", (report: WriterReport) => {
      // Once a thread has died its writes are failed, and their slots may be others'.
      if (this.#worker === worker) this.#receive(report);
    });
    worker.on("error", (error) => this.#died(worker, error));
    worker.on("exit", () => this.#died(worker, undefined));
    return worker;
  }

  #receive(report: WriterReport): void {
    switch (report.kind) {
      case "answers":
        this.#options.beforeAnswers();
        unpackAnswers(report, (answer) => this.#answer(answer));
        return;
      case "done":
        this.#options.beforeAnswers();
        this.#takeTask(report.call)?.resolve(report.answer);
        return;
      case "failed":
        this.#takeTask(report.call)?.reject(unpackFailure(report.failure));
        return;
      case "progress":
        this.#tasks.get(report.call)?.onProgress?.(report.progress);
        return;
      case "release":
        void this.#release(report.storeKey);
        return;
      case "writeBack":
        void this.#writeBack(report.storeKey);
        return;
      case "log":
        this.#options.log[report.level](report.fields, report.message);
    }
  }

  #answer(answer: Answer): void {
    const pending = this.#writes.take(answer.call);
    if (pending === undefined) return;
    if ("failure" in answer) {
      pending.reject(unpackFailure(answer.failure));
      return;
    }
    const { revision, replayed } = answer;
    const outcomes = answer.outcomes.map((outcome, step) =>
      unpackOutcome(pending.write, step, outcome),
    );
    pending.resolve({ outcomes, revision, replayed });
  }

  async #release(storeKey: string): Promise<void> {
    await this.#options.release(storeKey);
    // A thread that died meanwhile has nothing to recover.
    this.#worker?.postMessage({ kind: "released", storeKey } satisfies WriterRequest);
  }

  async #writeBack(storeKey: string): Promise<void> {
    let isDone = true;
    try {
      await this.#options.writeBack(storeKey);
    } catch (error) {
      isDone = false;
      const reason = error instanceof CollectorError ? error.reason : "INTERNAL";
      this.#options.log.warn(
        { store: storeKey, reason, err: error },
        "a store's log could not be written back beside its writer, which does so itself",
      );
    }
    this.#worker?.postMessage({ kind: "writtenBack", storeKey, isDone } satisfies WriterRequest);
  }

  #takeTask(call: number): PendingTask | undefined {
    const task = this.#tasks.get(call);
    this.#tasks.delete(call);
    return task;
  }

  #died(worker: Worker, error: unknown): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    this.#options.log.error(
      { err: error },
      "a writer thread has ended; it starts again when needed",
    );
    const writes = this.#writes.values();
    const tasks = [...this.#tasks.values()];
    this.#writes.clear();
    this.#tasks.clear();
    this.#outgoing = [];
    for (const { reject } of writes) {
      reject(
        new CollectorError(
          "WRITE_OUTCOME_UNKNOWN",
          "the writer ended before it answered: read the record to see whether it was written",
          { cause: error },
        ),
      );
    }
    for (const { reject } of tasks) {
      reject(
        new CollectorError(
          "STORAGE_UNAVAILABLE",
          "the writer ended before it answered; try again",
          {
            cause: error,
            retryAfterMs: 1000,
          },
        ),
      );
    }
  }
}

function cancelled(): CollectorError {
  return new CollectorError("CANCELLED", "the work was cancelled");
}

function unpackOutcome(write: Write, position: number, packed: PackedOutcome): StepOutcome {
  const [version, createdUs, updatedUs, change, labels, earlierId, before] = packed;
  const step = write.steps[position];
  const own = step !== undefined && "labels" in step ? step.labels : undefined;
  const id = earlierId ?? step?.id ?? "";
  return {
    id,
    version,
    createdUs,
    updatedUs,
    change,
    labels: labels === undefined ? (own ?? {}) : parseLabels(labels),
    ...(before === undefined
      ? {}
      : { before: { id, ...before, labels: parseLabels(before.labels) } }),
  };
}
