import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { runCliHere } from "../support/cli-in-process.ts";
import { openCollector, type TestCollector } from "../support/pricing.ts";
import { runCli } from "../support/run-cli.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";

const main = join(import.meta.dirname, "../../src/cli/main.ts");
const shop = join(import.meta.dirname, "../../examples/shop.proto");
const collector = `"${process.execPath}" "${main}"`;

const escape = "\u001b";

/** A select graphic rendition, as colours are; taking a line back is none. */
const color = new RegExp(`${escape}\\[\\d+(;\\d+)*m`);
const bar = /[█░]{24} +\d+%/;

let folder: TempFolder;
let server: TestCollector;
/** Large enough for a bar. */
let large: string;

before(async () => {
  folder = await tempFolder("cli-terminal");
  server = await openCollector();
  const env = { COLLECTOR_URL: server.url };
  await runCliHere(["schema", "add", shop], env);
  await runCliHere("collection create products --type shop.v1.Product".split(" "), env);
  await runCliHere(["record", "put", "products", "--id", "a", "-d", '{"title": "Pot"}'], env);
  large = join(folder.path, "large.bin");
  await writeFile(large, new Uint8Array(4 * 1024 * 1024));
});

after(async () => {
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** What a shell's command line writes to a pseudo-terminal. */
async function onTerminal(line: string, env: Readonly<Record<string, string>> = {}) {
  const child = spawn("script", ["-qec", line, "/dev/null"], {
    env: { ...process.env, COLLECTOR_URL: server.url, TERM: "xterm", NO_COLOR: "", ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  for await (const chunk of child.stdout.setEncoding("utf8")) text += chunk;
  return text;
}

describe("on a terminal", () => {
  it("a bar is as wide as the terminal at most", async () => {
    const text = await onTerminal(`stty cols 40; ${collector} file put products ${large}`);
    assert.match(text, /sending large\.bin/);
    for (const line of text.split(`\r${escape}[K`)) assert.ok(line.trim().length < 40, line);
  });

  it("an archive is neither written to it nor read from it", async () => {
    const written = await onTerminal(`${collector} backup create products -f -`);
    assert.match(written, /an archive is nothing for a terminal/);
    for (const command of ["restore", "verify"]) {
      const read = await onTerminal(`${collector} backup ${command} -f -`);
      assert.match(read, /no archive on stdin: it is a terminal/);
    }
  });

  it("tables and errors have colours, unless somebody wants none", async () => {
    const list = `${collector} record list products`;
    assert.match(await onTerminal(list), color);
    assert.match(await onTerminal(`${collector} record get products nobody`), color);
    assert.doesNotMatch(await onTerminal(`${list} --no-color`), color);
    assert.doesNotMatch(await onTerminal(list, { NO_COLOR: "1" }), color);
    assert.doesNotMatch(await onTerminal(list, { TERM: "dumb" }), color);
    assert.doesNotMatch(await onTerminal(`${list} -o json`), color);
  });

  it("long work has a bar, which goes again, also without colours", async () => {
    const put = `${collector} file put products ${large}`;
    for (const text of [await onTerminal(put), await onTerminal(put, { NO_COLOR: "1" })]) {
      assert.match(text, bar);
      assert.match(text, /sending large\.bin .*4\.2 MB/);
      // The bar's line is empty again where the sentence begins.
      assert.ok(text.endsWith(`\r${escape}[Kput large.bin (4.2 MB)\r\n`), text);
    }
    assert.doesNotMatch(await onTerminal(put, { NO_COLOR: "1" }), color);
  });

  it("the bar stays out of data that is sent elsewhere", async () => {
    const target = join(folder.path, "out.json");
    const line = `${collector} file put products ${large} -o json > ${target}`;
    assert.match(await onTerminal(line), bar);
    const { name } = JSON.parse(await readFile(target, "utf8")) as { readonly name: string };
    assert.equal(name, "large.bin");
  });
});

describe("elsewhere", () => {
  it("there are no colours, bars or questions, whatever TERM says", async () => {
    const env = { COLLECTOR_URL: server.url, TERM: "xterm-256color", NO_COLOR: "" };
    const lines = [
      `file put products ${large}`,
      "record list products",
      "record get products nobody",
      "collection reindex products",
      "collection rm products",
    ];
    for (const line of lines) {
      const { stdout, stderr } = await runCli(line.split(" "), { env });
      for (const char of [escape, "\r", "█", "░"]) {
        assert.ok(!`${stdout}${stderr}`.includes(char), line);
      }
    }
  });
});
