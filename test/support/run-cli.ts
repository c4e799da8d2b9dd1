import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";

const main = join(import.meta.dirname, "../../src/cli/main.ts");

export interface CliResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What the command reads from stdin, which is empty otherwise. */
  readonly input?: string;
  /** Called with the process as soon as it has written to stdout. */
  readonly onOutput?: (child: ChildProcess, stdout: string) => void;
  /** The same for what it says on stderr. */
  readonly onNote?: (child: ChildProcess, stderr: string) => void;
}

/** Runs `collector` with these arguments as its users do, in a process of its own. */
export async function runCli(
  args: readonly string[],
  options: CliOptions = {},
): Promise<CliResult> {
  const child = spawn(process.execPath, [main, ...args], {
    cwd: options.cwd,
    env: { ...process.env, NO_COLOR: "1", ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    options.onOutput?.(child, stdout);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    options.onNote?.(child, stderr);
  });
  // A command that fails early does not read what is sent to it.
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.input ?? "");
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.once("error", reject);
  child.once("close", resolve);
  return { exitCode: await promise, stdout, stderr };
}
