import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { it } from "node:test";
import { exitCodes } from "../src/cli/exit-codes.ts";
import { runCliHere } from "./support/cli-in-process.ts";
import { openCollector } from "./support/pricing.ts";
import { pathWithCollector, runScript } from "./support/shell.ts";
import { tempFolder } from "./support/temp-folder.ts";

const root = join(import.meta.dirname, "..");
const page = await readFile(join(root, "docs/cli.md"), "utf8");

function blockOf(language: string): string {
  const block = new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\`$`, "m").exec(page)?.[1];
  assert.ok(block, language);
  return block;
}

it("the page of the command line names every command, and nothing else", async () => {
  const { stdout } = await runCliHere(["commands", "-o", "json"], {});
  const commands = JSON.parse(stdout) as readonly { readonly name: string }[];
  const words = new Set(commands.flatMap(({ name }) => name.split(" ")));
  const named = new Set(blockOf("text").match(/[a-z]+/g));
  assert.deepEqual([...named].sort(), [...words].sort());
});

it("the page of the command line has the exit codes that there are", () => {
  const codes = [...page.matchAll(/^\| (\d+) \|/gm)].map((match) => Number(match[1]));
  assert.deepEqual(codes, Object.values(exitCodes));
});

it("the session of the page of the command line runs as it is printed", async () => {
  await using folder = await tempFolder("docs-cli");
  await using server = await openCollector();
  const env = { COLLECTOR_URL: server.url, XDG_CONFIG_HOME: folder.path };
  await runCliHere(["schema", "add", join(root, "examples/shop.proto")], env);
  await runCliHere("collection create products --type shop.v1.Product".split(" "), env);
  const PATH = await pathWithCollector(folder.path);
  const script = { cwd: folder.path, env: { ...env, PATH } };
  const { exitCode, output } = await runScript(blockOf("sh"), script);
  assert.equal(exitCode, 0, output);
  const titles = ["Pot", "Cup", "Jug"].map((title) => `{"title":"${title}"}\n`);
  const dry =
    "would delete default/products with 3 records; nothing was changed, as this is a dry run";
  assert.equal(output, `put Pot\nput 2 records\n${titles.join("")}${dry}\n`);
});
