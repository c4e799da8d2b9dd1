import { type ChildProcess, fork } from "node:child_process";
import { Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { CollectorError } from "../../../errors.ts";
import type { Log } from "../../../lib/log.ts";
import { siblingModule } from "../../../lib/sibling-module.ts";
import { unpackFailure } from "../failure.ts";
import { cancelFd, type ReaderOptions, type ReaderReport, type ReaderRequest } from "./messages.ts";
import type { ReaderQuery, ReaderResult } from "./queries.ts";
import { queryTimeout } from "./query-runner.ts";

export interface ReaderHandleOptions {
  readonly reader: ReaderOptions;
  readonly log: Log;
}

/** The reader died while it ran the query, for no fault that is known to be the query's. */
export class ReaderDiedError extends Error {}

/** How long a query that was told to stop may go on before its process is killed. */
const killGraceMs = 500;
/** How long a process may take to start. */
const startMs = 30_000;
const stderrCharsMax = 2000;

interface RunningQuery {
  readonly call: number;
  readonly resolve: (result: ReaderResult) => void;
  readonly reject: (error: Error) => void;
  /** What the query failed with if its process has to be killed. */
  verdict: CollectorError | undefined;
  killer: NodeJS.Timeout;
}

/** One reader process as the server sees it. */
export class ReaderHandle {
  readonly #child: ChildProcess;
  readonly #log: Log;
  readonly #cancels: Writable | undefined;
  readonly #ready = Promise.withResolvers<void>();
  readonly #exited = Promise.withResolvers<void>();
  readonly #releases = new Map<number, () => void>();
  readonly #storeKeys = new Set<string>();
  #running: RunningQuery | undefined;
  #nextCall = 1;
  #ended = false;

  constructor(options: ReaderHandleOptions) {
    this.#log = options.log;
    const { NODE_OPTIONS: _, ...env } = process.env;
    this.#child = fork(fileURLToPath(siblingModule(import.meta.url, "reader-process")), {
      execArgv: [],
      env,
      serialization: "advanced",
      // The last is where calls are cancelled.
      stdio: ["ignore", "ignore", "pipe", "ipc", "pipe"],
      // In a session of its own, so that a terminal's Ctrl-C does not reach it before the server.
      detached: true,
    });
    const cancels = this.#child.stdio[cancelFd];
    this.#cancels = cancels instanceof Writable ? cancels : undefined;
    // As with messages, a failure to write means that the process is gone.
    this.#cancels?.on("error", () => undefined);
    this.#child.on("message", (report: ReaderReport) => this.#receive(report));
    this.#child.on("error", (error) => this.#fail(error));
    this.#child.on("exit", (code, signal) =>
      this.#fail(new Error(`ended with ${signal ?? `code ${code}`}`)),
    );
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#log.warn({ text: text.slice(0, stderrCharsMax) }, "a reader process complains");
    });
    // Whoever runs a query is told; with nobody waiting there is nobody to tell.
    this.#ready.promise.catch(() => undefined);
    const slow = setTimeout(() => this.kill(), startMs);
    void this.#exited.promise.then(() => clearTimeout(slow));
    void this.#ready.promise.then(
      () => clearTimeout(slow),
      () => clearTimeout(slow),
    );
    this.#post({ kind: "start", options: options.reader });
  }

  /** The operating system's id of the process. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** False once the process has ended or is about to. */
  get alive(): boolean {
    return !this.#ended;
  }

  /** Resolves when the process can run queries. @throws {ReaderDiedError} */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /**
   * Runs a query, alone. One that goes on past its budget or after it was cancelled is ended with
   * its process; the promise settles only when the query has truly stopped.
   *
   * @throws {CollectorError} CANCELLED, QUERY_TIMEOUT. @throws {ReaderDiedError}
   */
  run(
    storeKey: string,
    query: ReaderQuery,
    options: { readonly budgetMs: number; readonly signal: AbortSignal | undefined },
  ): Promise<ReaderResult> {
    const { budgetMs, signal } = options;
    const { promise, resolve, reject } = Promise.withResolvers<ReaderResult>();
    const call = this.#nextCall++;
    const killer = this.#killIn(budgetMs + killGraceMs);
    const running: RunningQuery = { call, resolve, reject, verdict: undefined, killer };
    this.#running = running;
    this.#storeKeys.add(storeKey);
    const cancel = (): void => {
      this.#cancels?.write(`${call}\n`);
      clearTimeout(running.killer);
      running.verdict = cancelled();
      running.killer = this.#killIn(killGraceMs);
    };
    signal?.addEventListener("abort", cancel, { once: true });
    this.#post({ kind: "query", call, storeKey, query, budgetMs });
    return promise.finally(() => {
      signal?.removeEventListener("abort", cancel);
      clearTimeout(running.killer);
      this.#running = undefined;
    });
  }

  /** Closes the connection to a store, after the query that runs. */
  async release(storeKey: string): Promise<void> {
    if (this.#ended || !this.#storeKeys.delete(storeKey)) return;
    const call = this.#nextCall++;
    await new Promise<void>((resolve) => {
      this.#releases.set(call, resolve);
      this.#post({ kind: "release", call, storeKey });
    });
  }

  kill(): void {
    this.#ended = true;
    this.#child.kill("SIGKILL");
  }

  /** Ends the process. Nothing may be running. */
  async close(): Promise<void> {
    this.#ended = true;
    if (this.#child.connected) this.#child.send({ kind: "end" } satisfies ReaderRequest);
    const killer = this.#killIn(killGraceMs);
    await this.#exited.promise;
    clearTimeout(killer);
  }

  #killIn(ms: number): NodeJS.Timeout {
    return setTimeout(() => {
      if (this.#running !== undefined) this.#running.verdict ??= queryTimeout();
      this.kill();
    }, ms);
  }

  #post(request: ReaderRequest): void {
    // A failure to send means that the process is gone, which its exit event says as well.
    this.#child.send(request, () => undefined);
  }

  #receive(report: ReaderReport): void {
    switch (report.kind) {
      case "ready":
        this.#ready.resolve();
        return;
      case "result":
        this.#running?.resolve(report.result);
        return;
      case "failed":
        this.#running?.reject(unpackFailure(report.failure));
        return;
      case "released":
        this.#releases.get(report.call)?.();
        this.#releases.delete(report.call);
    }
  }

  #fail(error: Error): void {
    this.#ended = true;
    const died = new ReaderDiedError("a reader process ended", { cause: error });
    this.#ready.reject(died);
    this.#running?.reject(this.#running.verdict ?? died);
    for (const released of this.#releases.values()) released();
    this.#releases.clear();
    this.#exited.resolve();
  }
}

export function cancelled(): CollectorError {
  return new CollectorError("CANCELLED", "the query was cancelled");
}
