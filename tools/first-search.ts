/**
 * How long it takes from `git clone` to the first search that finds something, by the README alone: clones this
 * repository into a temporary folder, runs the README's commands there as they are printed, and says what each took
 * and how many there were. The dependencies come from npm's cache or registry, as for anyone.
 *
 * Only the port is another one, by the environment, so that a server that runs here is left alone.
 */
import { execFileSync, type StdioOptions, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

const temp = await mkdtemp(join(tmpdir(), "first-search-"));
const folder = join(temp, "collector");
const port = await freePort();
const env = {
  ...process.env,
  // As a stranger's shell has it: not the Node of the npm script that runs this.
  PATH: (process.env["PATH"] ?? "")
    .split(":")
    .filter((part) => !part.includes("node_modules"))
    .join(":"),
  COLLECTOR_PORT: String(port),
  COLLECTOR_URL: `http://127.0.0.1:${port}`,
  NO_COLOR: "1",
};
let commands = 0;
const startMs = performance.now();

try {
  step("git clone", () => execFileSync("git", ["clone", "-q", root, folder]));
  // And `cd collector`.
  commands += 2;
  const readme = await readFile(join(folder, "README.md"), "utf8");
  const start = /^```sh\n(npm ci && npm start)$/m.exec(readme)?.[1];
  const proto = /^Save this as `shop[.]proto`:\n\n```proto\n([\s\S]*?)^```$/m.exec(readme)?.[1];
  const session = /^<!-- tested -->\n```sh\n([\s\S]*?)^```$/m.exec(readme)?.[1];
  if (start === undefined || proto === undefined || session === undefined)
    throw new Error("the README has no commands to begin with");
  const [install = "", serve = ""] = start.split(" && ");
  step(install, () => shell(install));
  commands += 2;
  const serveMs = performance.now();
  const server = spawn("sh", ["-c", `exec ${serve}`], {
    cwd: folder,
    env,
    stdio: ["ignore", "pipe", "ignore"],
    detached: true,
  });
  const ended = new Promise((resolve) => server.once("close", resolve));
  try {
    let said = "";
    for await (const chunk of server.stdout) {
      said += String(chunk);
      if (said.includes(`:${port}`)) break;
    }
    if (!said.includes(`:${port}`)) throw new Error(`the server did not start: ${said}`);
    say(serve, performance.now() - serveMs);
    await writeFile(join(folder, "shop.proto"), proto);
    await search(session);
  } finally {
    if (server.pid !== undefined) process.kill(-server.pid, "SIGTERM");
    await ended;
  }
} finally {
  await rm(temp, { recursive: true, force: true });
}

/** Runs the session's commands up to the search, in one shell, as the alias has to hold. */
async function search(session: string): Promise<void> {
  const lines = session.split("\n").filter((line) => line !== "");
  const last = lines.findIndex((line) => line.includes("record search"));
  if (last < 0) throw new Error("the README's session has no search");
  const typed = lines.slice(0, last + 1);
  const found = step(`${typed.length} lines up to the search`, () =>
    // A shell that is not interactive has no aliases unless it is told.
    shell(`shopt -s expand_aliases\n${typed.join("\n")}`),
  );
  commands += typed.length;
  if (!/Espresso machine/.test(found)) throw new Error(`the search found nothing:\n${found}`);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  console.log(`from git clone to the first search: ${seconds} s, ${commands} commands`);
}

/** Runs lines one after another, as aliases are known only to the lines behind them. */
function shell(script: string): string {
  const path = join(temp, "script.sh");
  writeFileSync(path, `${script}\n`);
  const stdio: StdioOptions = ["ignore", "pipe", "ignore"];
  return execFileSync("bash", ["-e", path], { cwd: folder, env, encoding: "utf8", stdio });
}

function step<T>(name: string, run: () => T): T {
  const beforeMs = performance.now();
  const result = run();
  say(name, performance.now() - beforeMs);
  return result;
}

function say(name: string, ms: number): void {
  console.log(`${name}: ${(ms / 1000).toFixed(1)} s`);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port is free");
  return address.port;
}
