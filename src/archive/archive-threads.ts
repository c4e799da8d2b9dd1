import { rm } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { CollectorError } from "../errors.ts";
import type { Log } from "../lib/log.ts";
import { siblingModule } from "../lib/sibling-module.ts";
import type { ArchiveOptions } from "./archive.ts";
import { createCancelFlag, raiseFlag } from "./cancel-flag.ts";
import { unpackFailure } from "./file-failure.ts";
import { cancelled } from "./job-progress.ts";
import type { ArchiveAnswers, ArchiveJob, ArchiveReport, ArchiveRequest } from "./messages.ts";

/** Jobs that may wait for a thread. Callers bound their own work far below. */
const waitingMax = 1000;

/** A thread without work ends after so long. */
const idleMs = 10_000;

/** Room for the young objects of a thread. The rest of its heap may grow as that of any thread. */
const youngMib = 3;

interface PendingJob {
  readonly request: ArchiveRequest;
  readonly onProgress: ArchiveOptions["onProgress"];
  readonly resolve: (answer: ArchiveAnswers[keyof ArchiveAnswers]) => void;
  readonly reject: (error: Error) => void;
}

interface ArchiveThread {
  readonly worker: Worker;
  job: PendingJob | undefined;
  idle: NodeJS.Timeout | undefined;
}

export interface ArchiveThreadsOptions {
  /** That pack or unpack at a time. */
  readonly threads: number;
  readonly log: Log;
}

/**
 * Threads that do jobs in the order in which they come, each one at a time. There may be one more than those that
 * pack and unpack: manifests are read past the long work. They take any thread that is free, since each costs
 * 20 MiB.
 */
export class ArchiveThreads {
  readonly #options: ArchiveThreadsOptions;
  readonly #threads = new Set<ArchiveThread>();
  readonly #waiting = new Set<PendingJob>();
  readonly #running = new Set<Promise<unknown>>();
  #isClosed = false;

  constructor(options: ArchiveThreadsOptions) {
    this.#options = options;
  }

  /** @throws {CollectorError} CANCELLED, OVERLOADED, SHUTTING_DOWN, or what the job fails with. */
  async run<Job extends ArchiveJob>(
    job: Job,
    options: ArchiveOptions,
  ): Promise<ArchiveAnswers[Job["kind"]]> {
    if (this.#isClosed) throw shuttingDown();
    if (options.signal?.aborted === true) throw cancelled();
    if (this.#waiting.size >= waitingMax) {
      throw new CollectorError("OVERLOADED", `${waitingMax} archives are waiting for a thread`);
    }
    const answered = this.#enqueue(job, options);
    const settled = answered.catch(() => undefined).finally(() => this.#running.delete(settled));
    this.#running.add(settled);
    // A thread answers each job with what belongs to its kind.
    return (await answered) as ArchiveAnswers[Job["kind"]];
  }

  /** Cancels what runs, and waits until that has cleaned up. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const pending of this.#waiting) pending.reject(shuttingDown());
    this.#waiting.clear();
    for (const thread of this.#threads) {
      if (thread.job !== undefined) raiseFlag(thread.job.request.cancelled);
    }
    await Promise.all(this.#running);
    await Promise.all(Array.from(this.#threads, (thread) => this.#end(thread)));
  }

  #enqueue(
    job: ArchiveJob,
    { signal, onProgress }: ArchiveOptions,
  ): Promise<ArchiveAnswers[keyof ArchiveAnswers]> {
    return new Promise((resolve, reject) => {
      const cancelFlag = createCancelFlag();
      const abort = (): void => {
        raiseFlag(cancelFlag);
        if (this.#waiting.delete(pending)) pending.reject(cancelled());
      };
      const pending: PendingJob = {
        request: { job, cancelled: cancelFlag },
        onProgress,
        resolve: (answer) => {
          signal?.removeEventListener("abort", abort);
          resolve(answer);
        },
        reject: (error) => {
          signal?.removeEventListener("abort", abort);
          reject(error);
        },
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.add(pending);
      this.#next();
    });
  }

  #next(): void {
    for (const pending of this.#waiting) {
      const thread = this.#threadFor(pending.request.job);
      if (thread === undefined) continue;
      this.#waiting.delete(pending);
      thread.job = pending;
      thread.worker.ref();
      thread.worker.postMessage(pending.request, []);
    }
  }

  #threadFor(job: ArchiveJob): ArchiveThread | undefined {
    const { threads: longMax } = this.#options;
    const jobs = Array.from(this.#threads, (thread) => thread.job?.request.job);
    if (isLong(job) && jobs.filter(isLong).length >= longMax) return undefined;
    for (const thread of this.#threads) {
      if (thread.job !== undefined) continue;
      clearTimeout(thread.idle);
      return thread;
    }
    return jobs.length <= longMax ? this.#start() : undefined;
  }

  #start(): ArchiveThread {
    const worker = new Worker(siblingModule(import.meta.url, "archive-thread"), {
      execArgv: [],
      name: "collector-archive",
      // What it makes is large, outside of the heap; room for young objects would only stay with the process.
      resourceLimits: { maxYoungGenerationSizeMb: youngMib },
    });
    const thread: ArchiveThread = { worker, job: undefined, idle: undefined };
    worker.on("message", (report: ArchiveReport) => this.#receive(thread, report));
    worker.on("error", (error) => this.#died(thread, error));
    worker.on("exit", () => this.#died(thread, undefined));
    this.#threads.add(thread);
    return thread;
  }

  #receive(thread: ArchiveThread, report: ArchiveReport): void {
    const pending = thread.job;
    if (pending === undefined) return;
    if (report.kind === "progress") {
      pending.onProgress?.({ done: report.done, total: report.total });
      return;
    }
    thread.job = undefined;
    thread.worker.unref();
    thread.idle = setTimeout(() => void this.#end(thread), idleMs).unref();
    if (report.kind === "done") pending.resolve(report.answer);
    else pending.reject(unpackFailure(report.failure));
    this.#next();
  }

  async #end(thread: ArchiveThread): Promise<void> {
    clearTimeout(thread.idle);
    this.#threads.delete(thread);
    await thread.worker.terminate();
  }

  #died(thread: ArchiveThread, error: unknown): void {
    const wasThere = this.#threads.delete(thread);
    clearTimeout(thread.idle);
    const pending = thread.job;
    thread.job = undefined;
    if (!wasThere && pending === undefined) return;
    this.#options.log.error({ err: error }, "a thread for archives has died");
    if (pending !== undefined) void this.#giveUp(pending, error);
    this.#next();
  }

  async #giveUp({ request: { job }, reject }: PendingJob, cause: unknown): Promise<void> {
    if (job.kind === "pack") await rm(job.path, { force: true }).catch(() => undefined);
    reject(
      new CollectorError("STORAGE_UNAVAILABLE", "the work on the archive broke off", { cause }),
    );
  }
}

function isLong(job: ArchiveJob | undefined): boolean {
  return job !== undefined && job.kind !== "manifest";
}

function shuttingDown(): CollectorError {
  return new CollectorError("SHUTTING_DOWN", "the server is shutting down");
}
