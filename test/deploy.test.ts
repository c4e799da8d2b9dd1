import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { tempFolder } from "./support/temp-folder.ts";

const root = join(import.meta.dirname, "..");
const main = join(root, "src/cli/main.ts");

/** The lines of a unit or Dockerfile that begin with a word. */
async function linesOf(path: string, word: string): Promise<readonly string[]> {
  const text = await readFile(join(root, path), "utf8");
  return text
    .split("\n")
    .filter((line) => line.startsWith(word))
    .map((line) => line.slice(word.length).trim());
}

/** Runs a command that starts a server, until it says where it listens, and ends it. */
async function startOnce(
  [command = "", ...args]: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv,
): Promise<{ readonly dataFolder: string; readonly code: number | null }> {
  const child = spawn(command, [...args, "-o", "jsonl", "--port", "0"], { cwd, env });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    log += text;
  });
  const closed = once(child, "close");
  try {
    const [line] = await Promise.race([
      once(createInterface(child.stdout), "line"),
      closed.then(() => assert.fail(`it ended before it was ready: ${log}`)),
    ]);
    const { url, dataFolder } = JSON.parse(line) as { url: string; dataFolder: string };
    assert.equal((await fetch(`${url}/healthz`)).status, 200);
    child.kill("SIGTERM");
    const [code] = (await closed) as [number | null];
    return { dataFolder, code };
  } finally {
    child.kill("SIGKILL");
  }
}

describe("deploy/collector.service", () => {
  it("starts where nothing is configured yet", async () => {
    const [start = ""] = await linesOf("deploy/collector.service", "ExecStart=");
    await using bin = await tempFolder("deploy-bin");
    await using configuration = await tempFolder("deploy-configuration");
    await using state = await tempFolder("deploy-state");
    // As npm would link the command of the package.
    const script = `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`;
    await writeFile(join(bin.path, "collector"), script, { mode: 0o755 });
    const words = start.split(" ").map((word) => word.replace("${STATE_DIRECTORY}", state.path));
    const env = { ...process.env, PATH: `${bin.path}:${process.env["PATH"]}` };
    const { dataFolder, code } = await startOnce(words, configuration.path, env);
    assert.deepEqual([dataFolder, code], [state.path, 0]);
  });
});

describe("Dockerfile", () => {
  it("copies what is there, and starts", async () => {
    for (const words of await linesOf("Dockerfile", "COPY ")) {
      const sources = words.split(" ").slice(0, -1);
      // What `npm run build` makes is not in the tree.
      for (const source of sources.filter((name) => name !== "dist")) {
        assert.ok(existsSync(join(root, source)), source);
      }
    }
    const [start = ""] = await linesOf("Dockerfile", "CMD ");
    await using data = await tempFolder("deploy-data");
    const words = (JSON.parse(start) as string[]).map((word) => {
      if (word === "dist/cli/main.js") return main;
      return word === "/var/lib/collector" ? data.path : word;
    });
    const { dataFolder, code } = await startOnce(words, root, process.env);
    assert.deepEqual([dataFolder, code], [data.path, 0]);
  });
});
