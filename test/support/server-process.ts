import { type ChildProcess, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

const commandOfSources = join(import.meta.dirname, "../../src/cli/main.ts");

/** What of the server's log is kept for the message of a failure. */
const logCharsMax = 256 * 1024;

export interface ServerProcessOptions {
  readonly dataFolder: string;
  /** The program; that of the sources if absent. */
  readonly command?: string | undefined;
  /** Further arguments of `collector start`. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Arguments of Node itself, as in `--cpu-prof`. */
  readonly nodeArgs?: readonly string[];
  /** How long the start may take, in ms. */
  readonly readyWithinMs?: number;
}

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A server in a process of its own, on a free port of 127.0.0.1, as `collector start` makes it. */
export class ServerProcess implements AsyncDisposable {
  readonly pid: number;
  /** Settles when the process is gone, whatever ended it. */
  readonly exited: Promise<ProcessExit>;
  /** Resolves with the URL once the server says that it is ready; rejects if it ends before. */
  readonly ready: Promise<string>;
  readonly #child: ChildProcess;
  #log = "";
  #stdout = "";
  #url = "";

  /** Starts the process and does not wait for it. */
  constructor(options: ServerProcessOptions) {
    const args = ["start", "--port", "0", "--data", options.dataFolder, ...(options.args ?? [])];
    const command = options.command ?? commandOfSources;
    this.#child = spawn(process.execPath, [...(options.nodeArgs ?? []), command, ...args], {
      env: { ...process.env, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const { pid } = this.#child;
    if (pid === undefined) throw new Error("the server process could not be started");
    this.pid = pid;
    const kill = () => this.#child.kill("SIGKILL");
    process.once("exit", kill);
    this.exited = new Promise((resolve) => {
      this.#child.once("close", (code, signal) => {
        process.off("exit", kill);
        resolve({ code, signal });
      });
    });
    this.ready = this.#whenReady(options.readyWithinMs ?? 30_000);
    // Who kills a server before it is ready does not wait for it to be.
    this.ready.catch(() => undefined);
  }

  /** Starts a server and waits until it is ready. */
  static async start(options: ServerProcessOptions): Promise<ServerProcess> {
    const server = new ServerProcess(options);
    try {
      await server.ready;
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** As in `http://127.0.0.1:40412`; empty until the server is ready. */
  get url(): string {
    return this.#url;
  }

  /** The end of what the server has written to stderr. */
  get log(): string {
    return this.#log;
  }

  /** What the server has written to stdout. */
  get stdout(): string {
    return this.#stdout;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Ends the process at once, as a crash would, and waits until it is gone. */
  async kill(): Promise<ProcessExit> {
    this.#child.kill("SIGKILL");
    return await this.exited;
  }

  /** Asks the server to end and waits until it has. */
  async stop(): Promise<ProcessExit> {
    this.#child.kill("SIGTERM");
    return await this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #whenReady(withinMs: number): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const timer = setTimeout(() => {
      reject(new Error(`the server was not ready within ${withinMs} ms\n${this.#log}`));
    }, withinMs);
    this.#child.once("error", reject);
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#log = (this.#log + text).slice(-logCharsMax);
    });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#stdout = (this.#stdout + text).slice(-logCharsMax);
      // The line must be whole: a URL cut in two would lose digits of its port.
      const url = /(https?:\/\/[^\s/]+:\d+)\S*\s/.exec(this.#stdout)?.[1];
      if (url === undefined) return;
      this.#url = url;
      resolve(url);
    });
    void this.exited.then(({ code, signal }) => {
      reject(new Error(`the server ended before it was ready (${code ?? signal})\n${this.#log}`));
    });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** The processes that `pid` has started and that still run, and theirs. */
export async function childrenOf(pid: number): Promise<readonly number[]> {
  const stat = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  const children = stat.split(" ").filter(Boolean).map(Number);
  const nested = await Promise.all(children.map(childrenOf));
  return [...children, ...nested.flat()];
}

/** True while a process of that id runs; one that has ended and was not waited for does not. */
export async function isRunning(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  return (
    stat !== undefined && stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3) !== "Z"
  );
}
