import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { CollectorError } from "../../../errors.ts";
import { siblingModule } from "../../../lib/sibling-module.ts";
import type { CopyOptions } from "../../store-copies.ts";
import { unpackFailure } from "../failure.ts";
import type { CopyJob, CopyReport, CopyResults } from "./copy-jobs.ts";

/**
 * Does a job in a process of its own, which costs some 100 ms to start and is killed if it is cancelled.
 *
 * @throws {CollectorError} what the job failed with; STORAGE_UNAVAILABLE if the process died; the signal's
 * reason
 */
export async function runCopyJob<J extends CopyJob>(
  job: J,
  { signal, onProgress }: CopyOptions,
): Promise<CopyResults[J["kind"]]> {
  signal?.throwIfAborted();
  const child = start();
  const kill = (): void => void child.kill("SIGKILL");
  signal?.addEventListener("abort", kill, { once: true });
  const ended = Promise.withResolvers<void>();
  const { promise, resolve, reject } = Promise.withResolvers<CopyResults[J["kind"]]>();
  child.once("error", (error) => {
    reject(died(error));
    ended.resolve();
  });
  child.once("exit", () => {
    reject(died(undefined));
    ended.resolve();
  });
  child.on("message", (report: CopyReport) => {
    if (report.kind === "progress") onProgress?.(report.progress);
    else if (report.kind === "failed") reject(unpackFailure(report.failure));
    // The result is of the job's kind.
    else resolve(report.result as CopyResults[J["kind"]]);
  });
  try {
    child.send(job);
    return await promise;
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener("abort", kill);
    child.kill("SIGKILL");
    // What it had open is closed then, and its files can go.
    await ended.promise;
  }
}

function start(): ChildProcess {
  const { NODE_OPTIONS: _, ...env } = process.env;
  return fork(fileURLToPath(siblingModule(import.meta.url, "copy-process")), {
    execArgv: [],
    env,
    serialization: "advanced",
    stdio: ["ignore", "ignore", "ignore", "ipc"],
    // In a session of its own, so that a terminal's Ctrl-C does not reach it before the server.
    detached: true,
  });
}

function died(cause: Error | undefined): CollectorError {
  return new CollectorError(
    "STORAGE_UNAVAILABLE",
    "the process that copies died; start over",
    cause === undefined ? {} : { cause },
  );
}
