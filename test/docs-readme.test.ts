import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { it } from "node:test";
import { ServerProcess } from "./support/server-process.ts";
import { tempFolder } from "./support/temp-folder.ts";

const root = join(import.meta.dirname, "..");
const marked = /^<!-- tested -->\n```sh\n([\s\S]*?)^```$/gm;

/** What each marked block prints, in the order of the page. */
const outputs: readonly (readonly RegExp[])[] = [
  [
    /^\+1 message, version 1$/m,
    /^created default\/products$/m,
    /^put esp-1$/m,
    /^ {2}"title": "Espresso machine",$/m,
    /^esp-1: \[Espresso\] machine$/m,
    /^esp-1 +Espresso machine +24900/m,
  ],
  [/"id":"grinder-1"/, /"item":\{.*"title":"Grinder","priceCents":"12900"/, /"totalCount":"1"/],
  [/"messageName": "shop\.v1\.Product"/, /^deleted 2 records$/m, /^Version +\d+\.\d+/m],
];

it("the README's session runs as it is printed", { timeout: 60_000 }, async () => {
  const readme = await readFile(join(root, "README.md"), "utf8");
  const scripts = [...readme.matchAll(marked)].map((match) => match[1] ?? "");
  assert.equal(scripts.length, outputs.length, "each marked block has its outputs in this test");
  const proto = /^Save this as `shop[.]proto`:\n\n```proto\n([\s\S]*?)^```$/m.exec(readme)?.[1];
  assert.ok(proto);

  await using folder = await tempFolder("readme");
  await using server = await ServerProcess.start({ dataFolder: join(folder.path, "data") });
  await writeFile(join(folder.path, "shop.proto"), proto);
  const bin = join(folder.path, "bin");
  await mkdir(bin);
  const main = join(root, "src/cli/main.ts");
  // Aliases mean nothing to a shell that runs a script: this stands for the README's.
  const command = `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`;
  await writeFile(join(bin, "collector"), command);
  await chmod(join(bin, "collector"), 0o755);

  for (const [index, script] of scripts.entries()) {
    const text = script.replaceAll("http://127.0.0.1:50051", server.url);
    const { exitCode, output } = await runShell(text, folder.path, {
      PATH: `${bin}${delimiter}${process.env["PATH"] ?? ""}`,
      COLLECTOR_URL: server.url,
    });
    assert.equal(exitCode, 0, `${script}\n${output}`);
    for (const line of outputs[index] ?? []) assert.match(output, line, script);
    assert.doesNotMatch(output, /^error:|"code":/m, script);
  }
});

async function runShell(
  script: string,
  cwd: string,
  env: Readonly<Record<string, string>>,
): Promise<{ readonly exitCode: number | null; readonly output: string }> {
  const child = spawn("sh", ["-e"], { cwd, env: { ...process.env, NO_COLOR: "1", ...env } });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  // A shell that fails early does not read the rest of its script.
  child.stdin.on("error", () => undefined);
  // Read as a whole before anything runs, as the commands would read the rest from stdin.
  child.stdin.end(`{\n${script}\n} </dev/null\n`);
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.once("error", reject);
  child.once("close", resolve);
  return { exitCode: await promise, output };
}
