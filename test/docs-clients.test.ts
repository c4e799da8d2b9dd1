import assert from "node:assert/strict";
import { cp, readFile } from "node:fs/promises";
import { join } from "node:path";
import { it } from "node:test";
import { createCollector } from "../src/server.ts";
import { runCliHere } from "./support/cli-in-process.ts";
import { python, pythonProblem, skipWithoutPython } from "./support/python.ts";
import { pathWithCollector, runScript } from "./support/shell.ts";
import { tempFolder } from "./support/temp-folder.ts";

const root = join(import.meta.dirname, "..");
const marked = /^<!-- tested -->\n```(\w+)\n([\s\S]*?)^```$/gm;

/** What each block prints, in the order of the page. */
const outputs: readonly RegExp[] = [
  /"title":"Espresso machine"/,
  /"title":\s*"Espresso machine"/,
  // protoc may warn of an import of ours.
  /^(?:.*warning: .*\n)*$/,
  /^Espresso machine 24900 \d+\n$/,
];

it("the page of clients shows what works, as it is printed", {
  skip: skipWithoutPython,
}, async () => {
  assert.equal(pythonProblem, undefined);
  const page = await readFile(join(root, "docs/clients.md"), "utf8");
  const blocks = [...page.matchAll(marked)].map(([, language = "", code = ""]) => ({
    language,
    code,
  }));
  assert.equal(blocks.length, outputs.length, "each marked block has its output in this test");
  await using folder = await tempFolder("clients");
  await using server = await createCollector({
    port: 0,
    logLevel: "silent",
    data: join(folder.path, "data"),
  });
  await cp(join(root, "proto"), join(folder.path, "proto"), { recursive: true });
  await cp(join(root, "examples/shop.proto"), join(folder.path, "shop.proto"));
  const item = '{"title": "Espresso machine", "priceCents": "24900"}';
  for (const args of [
    ["schema", "add", join(folder.path, "shop.proto")],
    ["collection", "create", "products", "--type", "shop.v1.Product"],
    ["record", "put", "products", "--id", "esp-1", "-d", item],
  ]) {
    const result = await runCliHere(args, { COLLECTOR_URL: server.url });
    assert.equal(result.exitCode, 0, result.stderr);
  }
  const env = { PATH: await pathWithCollector(folder.path), PYTHONPATH: "gen" };
  const address = server.url.replace("http://", "");
  for (const [index, { language, code }] of blocks.entries()) {
    const script = code.replaceAll("127.0.0.1:50051", address);
    const command = language === "python" ? { command: [python, "-"] } : {};
    const { exitCode, output } = await runScript(script, { cwd: folder.path, env, ...command });
    assert.equal(exitCode, 0, `${script}\n${output}`);
    assert.match(output, outputs[index] ?? /$^/, script);
  }
});
