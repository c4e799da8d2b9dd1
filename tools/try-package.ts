/**
 * Installs what `npm pack` makes as a stranger would: by `npm install` and then by `npm ci` from the lock
 * file that this leaves, without development dependencies and without running anything of them. Then starts
 * a server by `npx`, asks it how it is, and says how large all of it is.
 *
 * Asks the npm registry for the dependencies; everything else stays in a temporary folder.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";

/** Largest tree of files that installing may bring, in MB. */
const installedMbMax = 80;

const root = join(import.meta.dirname, "..");
const env = {
  ...process.env,
  PATH: `${dirname(process.execPath)}${delimiter}${process.env["PATH"] ?? ""}`,
};

const folder = await mkdtemp(join(tmpdir(), "collector-package-"));
try {
  const [packed] = JSON.parse(
    npm(root, "pack", "--json", "--silent", "--pack-destination", folder),
  ) as readonly { readonly filename: string; readonly size: number }[];
  if (packed === undefined) throw new Error("npm pack made nothing");
  await writeFile(join(folder, "package.json"), '{ "name": "consumer", "private": true }\n');
  const install = ["--ignore-scripts", "--no-audit", "--no-fund"];
  npm(folder, "install", ...install, join(folder, packed.filename));
  await rm(join(folder, "node_modules"), { recursive: true });
  npm(folder, "ci", ...install);
  const megabytes = (await sizeOf(join(folder, "node_modules"))) / 1e6;
  say(`package ${(packed.size / 1e6).toFixed(1)} MB, installed ${megabytes.toFixed(1)} MB`);
  if (megabytes > installedMbMax) throw new Error(`more than ${installedMbMax} MB are installed`);
  say(`version ${run("npx", ["--offline", "collector", "--version"]).trim()}`);
  await startAndAsk();
  say("ok");
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** Starts a server on a port of its own choice, asks for its status, and ends it. */
async function startAndAsk(): Promise<void> {
  const bin = join(folder, "node_modules/.bin/collector");
  const args = ["start", "--port", "0", "--data", join(folder, "data"), "-o", "jsonl"];
  const server = spawn(bin, args, { cwd: folder, env, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => server.once("close", resolve));
  try {
    const { url } = await firstLine(server.stdout);
    const status = run(bin, ["status", "--url", url, "-o", "jsonl"]);
    say(`status ${(JSON.parse(status) as { version: string }).version} at ${url}`);
  } finally {
    server.kill("SIGTERM");
    await ended;
  }
}

async function firstLine(stream: AsyncIterable<Buffer>): Promise<{ readonly url: string }> {
  let text = "";
  for await (const chunk of stream) {
    text += chunk.toString("utf8");
    if (text.includes("\n")) return JSON.parse(text) as { readonly url: string };
  }
  throw new Error("the server did not start");
}

function npm(cwd: string, ...args: readonly string[]): string {
  return execFileSync("npm", args, {
    cwd,
    env,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
}

function run(program: string, args: readonly string[]): string {
  return execFileSync(program, args, { cwd: folder, env, encoding: "utf8" });
}

async function sizeOf(path: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size;
  }
  return bytes;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
