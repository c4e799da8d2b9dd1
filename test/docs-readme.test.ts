import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { it } from "node:test";
import { connect } from "../src/client/client.ts";
import { ServerProcess } from "./support/server-process.ts";
import { pathWithCollector, runScript } from "./support/shell.ts";
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
  const env = { PATH: await pathWithCollector(folder.path), COLLECTOR_URL: server.url };
  const shell = { cwd: folder.path, env };

  for (const [index, script] of scripts.entries()) {
    const text = script.replaceAll("http://127.0.0.1:50051", server.url);
    const { exitCode, output } = await runScript(text, shell);
    assert.equal(exitCode, 0, `${script}\n${output}`);
    for (const line of outputs[index] ?? []) assert.match(output, line, script);
    assert.doesNotMatch(output, /^error:|"code":/m, script);
  }

  const program = /^<!-- run by test[/]docs-readme.*-->\n```ts\n([\s\S]*?)^```$/m.exec(readme)?.[1];
  assert.ok(program);
  const lines = program.split("\n").filter((line) => line !== "");
  assert.ok(lines.length <= 12, `the program has ${lines.length} lines`);
  // What an installed package and generated code would be.
  const here = program
    .replace('"collector/client"', JSON.stringify(join(root, "src/client/index.ts")))
    .replace('"./gen/shop_pb.ts"', JSON.stringify(join(root, "examples/gen/shop_pb.ts")));
  await writeFile(join(folder.path, "program.mts"), here);
  const ran = await runScript(`'${process.execPath}' program.mts`, shell);
  assert.equal(ran.exitCode, 0, ran.output);
  assert.match(ran.output, /^Kettle at 3900 \(\d+\.\d\)\n$/);
  await using client = await connect({ url: server.url, env: {} });
  const [kettle] = await client.collection("staging/products").search("kettle");
  assert.equal(kettle?.item["priceCents"], "3900");
  const backups = await Array.fromAsync(client.backups.list({ collection: "products" }));
  assert.equal(backups.length, 1);
});
