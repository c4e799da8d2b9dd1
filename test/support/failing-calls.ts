import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { tempFolder } from "./temp-folder.ts";
import { waitUntil } from "./wait.ts";

/** System calls that fail while this is in use, as a broken disk or a used-up limit would make them. */
export interface FailingCalls extends AsyncDisposable {
  /** How many calls were made to fail so far. */
  failed(): Promise<number>;
}

/**
 * Makes the system calls of a running process fail, by strace. Threads are included, other processes
 * that it started are not.
 *
 * @param calls as strace names them, as in `fsync,fdatasync`.
 * @param error as in `EIO`.
 * @param when which calls of each thread fail: `1` only the first, `1+` all, `3+5` the third and
 * every fifth after it.
 */
export async function failCalls(options: {
  readonly pid: number;
  readonly calls: string;
  readonly error: string;
  readonly when: string;
}): Promise<FailingCalls> {
  const folder = await tempFolder("strace");
  const trace = join(folder.path, "trace");
  const { calls, error, when, pid } = options;
  const strace = spawn(
    "strace",
    ["-f", "-p", String(pid), "-o", trace, "-e", `trace=${calls}`].concat([
      "-e",
      `inject=${calls}:error=${error}:when=${when}`,
    ]),
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let said = "";
  strace.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const ended = new Promise((resolve) => strace.once("close", resolve));
  await waitUntil("strace attaches", 10_000, () => {
    if (strace.exitCode !== null) throw new Error(`strace ended: ${said}`);
    return said.includes("attached");
  });
  return {
    async failed() {
      const text = await readFile(trace, "utf8");
      return text.split("(INJECTED)").length - 1;
    },
    async [Symbol.asyncDispose]() {
      // strace lets go of the process at this signal and leaves it running.
      strace.kill("SIGINT");
      await ended;
      await folder[Symbol.asyncDispose]();
    },
  };
}
