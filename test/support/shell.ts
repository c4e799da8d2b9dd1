import { spawn } from "node:child_process";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";

const root = join(import.meta.dirname, "../..");

export interface ShellResult {
  readonly exitCode: number | null;
  /** What was written to stdout and stderr, as it came. */
  readonly output: string;
}

export interface ShellOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What reads the script from stdin, `sh -e` if it is left out. */
  readonly command?: readonly string[];
}

/** Runs a script as a reader of a document would, up to the first command that fails. */
export async function runScript(script: string, options: ShellOptions): Promise<ShellResult> {
  const { cwd, env, command } = options;
  const [program = "sh", ...args] = command ?? ["sh", "-e"];
  const child = spawn(program, args, { cwd, env: { ...process.env, NO_COLOR: "1", ...env } });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  // A shell that fails early does not read the rest of its script.
  child.stdin.on("error", () => undefined);
  // Read as a whole before anything runs, as the commands would read the rest from stdin.
  child.stdin.end(command === undefined ? `{\n${script}\n} </dev/null\n` : script);
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.once("error", reject);
  child.once("close", resolve);
  return { exitCode: await promise, output };
}

/**
 * Puts the command `collector` of this tree into a folder.
 *
 * @returns a PATH with it and with the programs of the development dependencies
 */
export async function pathWithCollector(folder: string): Promise<string> {
  const bin = join(folder, "bin");
  await mkdir(bin, { recursive: true });
  // Aliases mean nothing to a shell that runs a script: this stands for the documents'.
  const main = join(root, "src/cli/main.ts");
  await writeFile(join(bin, "collector"), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`);
  await chmod(join(bin, "collector"), 0o755);
  const path = process.env["PATH"] ?? "";
  return [bin, join(root, "node_modules/.bin"), path].join(delimiter);
}
