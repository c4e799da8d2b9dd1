import type { ChildProcess } from "node:child_process";
import { CollectorError } from "../../../errors.ts";
import { startBackground } from "../../../lib/background-process.ts";
import { siblingModule } from "../../../lib/sibling-module.ts";
import type { CopyOptions } from "../../store-copies.ts";
import { unpackFailure } from "../failure.ts";
import type { CopyJob, CopyReport, CopyResults } from "./copy-jobs.ts";

/** How long a process waits for another snapshot before it ends. */
const idleMs = 60_000;

/**
 * Its work is in SQLite, or goes record by record. So room for young objects, and compiling what runs often once more,
 * with a thread for it, would make it larger, by 11 MiB, and hardly faster.
 */
const execArgv: readonly string[] = [
  "--max-semi-space-size=1",
  "--optimize-for-size",
  "--no-opt",
  "--v8-pool-size=1",
];

interface CopyProcess {
  readonly child: ChildProcess;
  /** Settles when it is gone: what it had open is closed then, and its files can go. */
  readonly ended: Promise<void>;
  idle: NodeJS.Timeout | undefined;
}

/**
 * Processes that copy and check stores, one job at a time each: only a process can be stopped while SQLite
 * works in it. To start one takes some 100 ms, and holds the event loop for 10 ms per 100 MB of this
 * process, so one that has taken a snapshot is kept for the next for a while. One that has read what came from elsewhere is never used again.
 */
export class CopyProcesses {
  readonly #all = new Set<CopyProcess>();
  #idle: CopyProcess | undefined;

  /** The processes that run now, by their operating system's ids. */
  get pids(): readonly number[] {
    return [...this.#all].flatMap(({ child }) => child.pid ?? []);
  }

  /**
   * Does a job; its process is killed if the signal fires.
   *
   * @throws {CollectorError} what the job failed with; STORAGE_UNAVAILABLE if the process died; the signal's
   * reason
   */
  async run<J extends CopyJob>(
    job: J,
    { signal, onProgress }: CopyOptions,
  ): Promise<CopyResults[J["kind"]]> {
    signal?.throwIfAborted();
    const process = this.#take();
    const { child } = process;
    const kill = (): void => void child.kill("SIGKILL");
    signal?.addEventListener("abort", kill, { once: true });
    const { promise, resolve, reject } = Promise.withResolvers<CopyResults[J["kind"]]>();
    const fail = (error?: unknown): void =>
      reject(died(error instanceof Error ? error : undefined));
    const receive = (report: CopyReport): void => {
      if (report.kind === "progress") onProgress?.(report.progress);
      else if (report.kind === "failed") reject(unpackFailure(report.failure));
      // The result is of the job's kind.
      else resolve(report.result as CopyResults[J["kind"]]);
    };
    child.once("error", fail);
    child.once("exit", fail);
    child.on("message", receive);
    let isReusable = false;
    try {
      child.send(job);
      const result = await promise;
      isReusable = job.kind === "snapshot" && signal?.aborted !== true;
      return result;
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", kill);
      child.off("error", fail);
      child.off("exit", fail);
      child.off("message", receive);
      if (!isReusable || !this.#keep(process)) await end(process);
    }
  }

  /** Ends all processes. Nothing may be running. */
  async close(): Promise<void> {
    await Promise.all([...this.#all].map(end));
  }

  #take(): CopyProcess {
    const idle = this.#idle;
    this.#idle = undefined;
    if (idle === undefined) return this.#start();
    clearTimeout(idle.idle);
    idle.child.ref();
    idle.child.channel?.ref();
    return idle;
  }

  /** @returns false if it is not needed. */
  #keep(process: CopyProcess): boolean {
    if (this.#idle !== undefined || !process.child.connected) return false;
    process.child.unref();
    process.child.channel?.unref();
    process.idle = setTimeout(() => {
      this.#idle = undefined;
      void end(process);
    }, idleMs).unref();
    this.#idle = process;
    return true;
  }

  #start(): CopyProcess {
    const child = start();
    const { promise, resolve } = Promise.withResolvers<void>();
    const process: CopyProcess = { child, ended: promise, idle: undefined };
    const gone = (): void => {
      this.#all.delete(process);
      if (this.#idle === process) this.#idle = undefined;
      clearTimeout(process.idle);
      resolve();
    };
    child.once("error", gone);
    child.once("exit", gone);
    this.#all.add(process);
    return process;
  }
}

async function end({ child, ended }: CopyProcess): Promise<void> {
  // Whoever waits for its end does not do so in vain.
  child.ref();
  child.kill("SIGKILL");
  await ended;
}

function start(): ChildProcess {
  return startBackground(siblingModule(import.meta.url, "copy-process"), {
    patience: "whenever",
    execArgv,
  });
}

function died(cause: Error | undefined): CollectorError {
  return new CollectorError(
    "STORAGE_UNAVAILABLE",
    "the process that copies died; start over",
    cause === undefined ? {} : { cause },
  );
}
