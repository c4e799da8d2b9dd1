import type { ChildProcess } from "node:child_process";
import { CollectorError } from "../../../errors.ts";
import { startBackground } from "../../../lib/background-process.ts";
import { siblingModule } from "../../../lib/sibling-module.ts";
import { unpackFailure } from "../failure.ts";
import type { WriteBackReport, WriteBackRequest } from "./messages.ts";

/** The process ends after so long without work. */
const idleMs = 300_000;

interface Pending {
  readonly resolve: () => void;
  readonly reject: (error: CollectorError) => void;
}

/**
 * Writes the logs of stores back to their databases, in a process of its own: a thousand pages all over a
 * large file keep the disk busy for some 50 ms, and no write is to wait for that. Not in a thread, since it
 * has to sync the file itself: to close the handle for that would drop the locks of all connections that
 * its process has. The process starts when it is first needed.
 */
export class WriteBack {
  readonly #pending = new Map<number, Pending>();
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  #idle: NodeJS.Timeout | undefined;
  #nextCall = 1;

  /** The process that runs now, by its operating system's id. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /**
   * Writes back what is in the log of a store and no reader needs there. One store after the other; callers
   * ask once at a time for each.
   *
   * @param path of the database, absolute.
   * @throws {CollectorError} STORAGE_UNAVAILABLE, STORAGE_CORRUPT, DISK_FULL
   */
  run(path: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const call = this.#nextCall++;
    this.#pending.set(call, { resolve, reject });
    clearTimeout(this.#idle);
    try {
      this.#child ??= this.#start();
      this.#child.ref();
      this.#child.channel?.ref();
      // A failure to send means that the process is gone, which its exit event says as well.
      this.#child.send({ call, path } satisfies WriteBackRequest, () => undefined);
    } catch (error) {
      this.#pending.delete(call);
      reject(gone(error));
    }
    return promise;
  }

  /** Ends the process. Nothing may be running. */
  async close(): Promise<void> {
    this.#end();
    await this.#exited;
  }

  #start(): ChildProcess {
    const module = siblingModule(import.meta.url, "writeback-process");
    const child = startBackground(module, { patience: "soon" });
    const exited = Promise.withResolvers<void>();
    this.#exited = exited.promise;
    const end = (error: unknown): void => {
      exited.resolve();
      this.#died(child, error);
    };
    child.on("message", (report: WriteBackReport) => this.#receive(report));
    child.once("error", end);
    child.once("exit", end);
    return child;
  }

  #receive({ call, failure }: WriteBackReport): void {
    const pending = this.#pending.get(call);
    this.#pending.delete(call);
    if (failure === undefined) pending?.resolve();
    else pending?.reject(unpackFailure(failure));
    if (this.#pending.size > 0) return;
    this.#child?.unref();
    this.#child?.channel?.unref();
    this.#idle = setTimeout(() => this.#end(), idleMs).unref();
  }

  #end(): void {
    clearTimeout(this.#idle);
    // Whoever waits for its end does not do so in vain.
    this.#child?.ref();
    this.#child?.kill("SIGKILL");
    this.#child = undefined;
  }

  #died(child: ChildProcess, error: unknown): void {
    // One that was ended for want of work is of no interest any more.
    if (this.#child !== child) return;
    this.#child = undefined;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(gone(error));
  }
}

function gone(cause: unknown): CollectorError {
  return new CollectorError("STORAGE_UNAVAILABLE", "the process that writes logs back has ended", {
    cause,
  });
}
