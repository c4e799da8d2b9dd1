/**
 * Installs what `npm pack` makes as a stranger would: by `npm install` and then by `npm ci` from the lock
 * file that this leaves, without development dependencies and without running anything of them. Then starts
 * a server by `npx`, asks it how it is, and says how large all of it is. Last it type-checks a program that
 * uses the package, as Node and as a bundler resolve it, and runs it.
 *
 * Asks the npm registry for the dependencies; everything else stays in a temporary folder.
 */
import { execFileSync, spawn } from "node:child_process";
import { copyFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";

/** Largest tree of files that installing may bring, in MB. */
const installedMbMax = 80;

const root = join(import.meta.dirname, "..");
const env = {
  ...process.env,
  PATH: `${dirname(process.execPath)}${delimiter}${process.env["PATH"] ?? ""}`,
};

const install = ["--ignore-scripts", "--no-audit", "--no-fund"];

/** The only thing beside the package that a program for Node needs to be type-checked. */
const typesOfNode = `@types/node@${await versionOf("@types/node")}`;

const resolutions = [
  ["nodenext", "nodenext"],
  ["esnext", "bundler"],
] as const;

const folder = await mkdtemp(join(tmpdir(), "collector-package-"));
try {
  const [packed] = JSON.parse(
    npm(root, "pack", "--json", "--silent", "--pack-destination", folder),
  ) as readonly { readonly filename: string; readonly size: number }[];
  if (packed === undefined) throw new Error("npm pack made nothing");
  await writeFile(
    join(folder, "package.json"),
    '{ "name": "consumer", "private": true, "type": "module" }\n',
  );
  npm(folder, "install", ...install, join(folder, packed.filename));
  await rm(join(folder, "node_modules"), { recursive: true });
  npm(folder, "ci", ...install);
  const megabytes = (await sizeOf(join(folder, "node_modules"))) / 1e6;
  say(`package ${(packed.size / 1e6).toFixed(1)} MB, installed ${megabytes.toFixed(1)} MB`);
  if (megabytes > installedMbMax) throw new Error(`more than ${installedMbMax} MB are installed`);
  say(`version ${run("npx", ["--offline", "collector", "--version"]).trim()}`);
  await startAndAsk();
  await compileAndRun();
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

/** Checks the types of `tools/consumer/program.ts` in each way of finding modules, libraries' too, and runs it. */
async function compileAndRun(): Promise<void> {
  await copyFile(join(root, "tools/consumer/program.ts"), join(folder, "program.ts"));
  npm(folder, "install", ...install, "--save-dev", typesOfNode);
  for (const [module, moduleResolution] of resolutions) {
    const compilerOptions = {
      target: "esnext",
      // Connect's declarations name types of `fetch` that only this library has.
      lib: ["es2025", "esnext.disposable", "dom", "dom.asynciterable"],
      module,
      moduleResolution,
      types: ["node"],
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
    };
    const config = JSON.stringify({ compilerOptions, files: ["program.ts"] });
    await writeFile(join(folder, "tsconfig.json"), config);
    run(join(root, "node_modules/.bin/tsc"), ["-p", folder]);
    say(`types resolve by ${moduleResolution}`);
  }
  const printed = run(process.execPath, ["program.ts", join(folder, "embedded")]).trim();
  if (printed !== "a RECORD_NOT_FOUND") throw new Error(`the program printed ${printed}`);
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

/** Of a dependency that this package is developed with. */
async function versionOf(name: string): Promise<string> {
  const { devDependencies } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as {
    readonly devDependencies: Readonly<Record<string, string>>;
  };
  const version = devDependencies[name];
  if (version === undefined) throw new Error(`${name} is no development dependency`);
  return version;
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
