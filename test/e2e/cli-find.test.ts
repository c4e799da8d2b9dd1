import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type CliResult, runCli } from "../support/run-cli.ts";
import { ServerProcess } from "../support/server-process.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";

const shop = `syntax = "proto3"; package finds.v1;
  message Product {
    string title = 1; string brand = 2; int64 price_cents = 3; repeated float look = 4;
  }`;

const products = [
  {
    sku: "esp",
    title: "Espresso machine",
    brand: "Lelit",
    priceCents: "9007199254740993",
    look: [1, 0],
  },
  { sku: "press", title: "French press", brand: "Bodum", priceCents: "3900", look: [0, 1] },
  { sku: "pot", title: "Tea pot", brand: "Bodum", priceCents: "2900", look: [0.5, 0.5] },
];

describe("collector, finding and moving records", () => {
  let folder: TempFolder;
  let server: ServerProcess;

  const collector = (args: readonly string[]): Promise<CliResult> =>
    runCli(args, { cwd: folder.path, env: { COLLECTOR_URL: server.url } });
  const succeed = async (...args: readonly string[]): Promise<CliResult> => {
    const result = await collector(args);
    assert.equal(result.exitCode, 0, result.stderr);
    return result;
  };
  const idsIn = (jsonl: string) =>
    jsonl
      .trim()
      .split("\n")
      .map((line) => String((JSON.parse(line) as { id?: string }).id));

  before(async () => {
    folder = await tempFolder("cli-find");
    server = await ServerProcess.start({ dataFolder: join(folder.path, "data") });
    await writeFile(join(folder.path, "finds.proto"), shop);
    await succeed("schema", "add", "finds.proto");
    const type = ["--type", "finds.v1.Product"];
    const setup = ["--index", "brand", "--text", "title:3,brand", "--vector", "look:2:l2:look"];
    await succeed("collection", "create", "products", ...type, ...setup);
    await succeed("collection", "create", "copies", ...type);
    for (const { sku, ...item } of products) {
      const data = JSON.stringify(item);
      await succeed("record", "put", "products", "--id", sku, "--label", "shelf=a", "-d", data);
    }
  });

  after(async () => {
    await server[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  it("lists by a condition and an order, and says how", async () => {
    const order = ["--where", 'brand = "Bodum"', "--order-by", "price_cents", "--explain"];
    const { stdout, stderr } = await succeed(
      "record",
      "list",
      "products",
      ...order,
      "-o",
      "jsonl",
      "--meta",
    );
    assert.deepEqual(idsIn(stdout), ["pot", "press"]);
    assert.match(stderr, /visited in/);
    const mistake = await collector(["record", "list", "products", "--where", "prize > 1"]);
    assert.match(mistake.stderr, /where: at character 1: unknown path "prize"/);
  });

  it("searches by words and nearness, with passages and facets", async () => {
    const words = await succeed(
      "record",
      "search",
      "products",
      "press",
      "--highlight",
      "--facet",
      "brand",
    );
    assert.match(words.stdout, /^press title: French \[press\]$/m);
    assert.match(words.stderr, /brand:\n {2}"Bodum" {2}1\n/);
    const near = ["--vector", "0,1", "--limit", "2", "-o", "jsonl", "--meta"];
    assert.deepEqual(idsIn((await succeed("record", "search", "products", ...near)).stdout), [
      "press",
      "pot",
    ]);
  });

  for (const file of ["products.jsonl", "products.pb"]) {
    it(`exports and imports ${file}, ids, labels and large integers included`, async () => {
      await succeed("record", "export", "products", "-f", file);
      await succeed("record", "import", "copies", "-f", file);
      const copied = await succeed("record", "get", "copies", "esp", "--meta", "-o", "jsonl");
      const { labels, item } = JSON.parse(copied.stdout) as { labels: object; item: object };
      assert.deepEqual(labels, { shelf: "a" });
      const { sku: _, ...esp } = products[0] ?? {};
      assert.deepEqual(item, esp);
      const { stdout } = await succeed("record", "export", "copies");
      assert.deepEqual(idsIn(stdout), ["esp", "press", "pot"]);
    });
  }

  it("says which line of an import is at fault, and what was written before", async () => {
    await succeed("record", "export", "products", "-f", "good.jsonl");
    const good = await readFile(join(folder.path, "good.jsonl"), "utf8");
    await writeFile(join(folder.path, "bad.jsonl"), `${good}{"title": "plain"}\n`);
    const { exitCode, stderr } = await collector(["record", "import", "copies", "-f", "bad.jsonl"]);
    assert.notEqual(exitCode, 0);
    assert.match(stderr, /bad\.jsonl:4: this is no exported record/);
  });

  it("changes what is searched while the collection is there", async () => {
    await succeed(
      "collection",
      "modify",
      "products",
      "--tokenizer",
      "english",
      "--text",
      "title,brand",
    );
    const { stdout } = await succeed(
      "record",
      "search",
      "products",
      "machines",
      "-o",
      "jsonl",
      "--meta",
    );
    assert.deepEqual(idsIn(stdout), ["esp"]);
  });
});
