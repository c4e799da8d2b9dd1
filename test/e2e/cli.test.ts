import assert from "node:assert/strict";
import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type CliResult, runCli } from "../support/run-cli.ts";
import { ServerProcess } from "../support/server-process.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";

const examples = join(import.meta.dirname, "../../examples");

describe("collector, the command", () => {
  let folder: TempFolder;
  let server: ServerProcess;

  const collector = (args: readonly string[], input?: string): Promise<CliResult> =>
    runCli(args, {
      cwd: folder.path,
      env: { COLLECTOR_URL: server.url },
      ...(input === undefined ? {} : { input }),
    });
  const succeed = async (args: readonly string[], input?: string): Promise<string> => {
    const result = await collector(args, input);
    assert.equal(result.exitCode, 0, result.stderr);
    return result.stdout;
  };
  const fail = async (args: readonly string[], exitCode: number): Promise<string> => {
    const result = await collector(args);
    assert.equal(result.exitCode, exitCode, result.stdout + result.stderr);
    assert.equal(result.stdout, "");
    return result.stderr;
  };

  before(async () => {
    folder = await tempFolder("cli");
    server = await ServerProcess.start({ dataFolder: join(folder.path, "data") });
    await cp(join(examples, "shop.proto"), join(folder.path, "shop.proto"));
    await succeed(["schema", "add", "shop.proto"]);
    await succeed(
      "collection create products --type shop.v1.Product --index price_cents".split(" "),
    );
  });

  after(async () => {
    await server[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  describe("schema", () => {
    it("says what a file brings, and that a second time brings nothing", async () => {
      await writeFile(
        join(folder.path, "quote.proto"),
        `syntax = "proto3"; package quote.v1; import "shop.proto";
         message Quote { shop.v1.Product product = 1; }
         service Quotes { rpc Get(Quote) returns (Quote); }`,
      );
      assert.equal(
        await succeed(["schema", "add", "quote.proto"]),
        "+1 message, +1 service, version 1\n",
      );
      assert.equal(await succeed(["schema", "add", "quote.proto"]), "unchanged, 2 files\n");
      const services = await succeed(["schema", "list", "--services", "-o", "jsonl"]);
      assert.equal(JSON.parse(services).name, "quote.v1.Quotes");
    });

    it("takes an import from the server that no folder has", async () => {
      await mkdir(join(folder.path, "elsewhere"));
      await writeFile(
        join(folder.path, "elsewhere/cart.proto"),
        `syntax = "proto3"; package cart.v1; import "shop.proto";
         message Cart { repeated shop.v1.Product products = 1; }`,
      );
      assert.equal(
        await succeed(["schema", "add", "elsewhere/cart.proto"]),
        "+1 message, version 1\n",
      );
    });

    it("names a file by its package, so that imports are found from any folder", async () => {
      const protos = join(folder.path, "protos/tree/v1");
      await mkdir(protos, { recursive: true });
      await writeFile(
        join(protos, "leaf.proto"),
        'syntax = "proto3"; package tree.v1; message Leaf { string color = 1; }',
      );
      await writeFile(
        join(protos, "tree.proto"),
        `syntax = "proto3"; package tree.v1; import "tree/v1/leaf.proto";
         message Tree { repeated Leaf leaves = 1; }`,
      );
      await succeed(["schema", "add", "protos/tree/v1/tree.proto"]);
      const file = await succeed(["schema", "show", "tree/v1/tree.proto", "-o", "json"]);
      assert.deepEqual(JSON.parse(file).messageNames, ["tree.v1.Tree"]);
    });

    it("registers nothing in a dry run", async () => {
      await writeFile(
        join(folder.path, "dry.proto"),
        'syntax = "proto3"; package dry.v1; message Dry { string a = 1; }',
      );
      const sentence = await succeed(["schema", "add", "--dry-run", "dry.proto"]);
      assert.match(sentence, /^\+1 message, version 1; nothing registered/);
      assert.match(await fail(["schema", "show", "dry.v1.Dry"], 3), /there is no/);
    });

    it("says that it has made a namespace", async () => {
      const add = ["schema", "add", "shop.proto", "-n", "fresh"];
      const [dry, first, second] = [
        await collector([...add, "--dry-run"]),
        await collector(add),
        await collector(add),
      ];
      assert.deepEqual(
        [dry.stderr, first.stderr, second.stderr],
        ["", "created namespace fresh\n", ""],
      );
    });

    it("points at the place that is wrong", async () => {
      await writeFile(
        join(folder.path, "bad.proto"),
        'syntax = "proto3";\nmessage P {\n  strng a = 1;\n}\n',
      );
      const message = await fail(["schema", "add", "bad.proto"], 1);
      assert.equal(message, "error: bad.proto:3:3 cannot find `strng`; did you mean string?\n");
    });

    it("refuses a change that breaks what is stored, as a conflict", async () => {
      await writeFile(
        join(folder.path, "shop.proto"),
        'syntax = "proto3"; package shop.v1; message Product { int32 title = 1; }',
      );
      try {
        assert.match(
          await fail(["schema", "add", "shop.proto"], 5),
          /shop\.v1\.Product\.title changed/,
        );
      } finally {
        await cp(join(examples, "shop.proto"), join(folder.path, "shop.proto"));
      }
    });
  });

  describe("record", () => {
    it("puts, gets, finds, lists and removes a record", async () => {
      const put = "record put products --id esp-1 -d".split(" ");
      const json = '{"title": "Espresso machine", "priceCents": "24900", "tags": ["coffee"]}';
      assert.equal(await succeed([...put, json]), "put esp-1\n");
      const got = await succeed(["record", "get", "products", "esp-1"]);
      assert.deepEqual(JSON.parse(got), JSON.parse(json));
      const found = await succeed(["record", "search", "products", "espresso", "-o", "jsonl"]);
      assert.equal(JSON.parse(found).title, "Espresso machine");
      const listed = await succeed(["-o", "json", "record", "list", "products", "--meta"]);
      assert.equal(JSON.parse(listed)[0].id, "esp-1");
      assert.equal(await succeed(["record", "rm", "products", "esp-1"]), "deleted esp-1\n");
      assert.match(await fail(["record", "get", "products", "esp-1"], 3), /esp-1/);
    });

    it("keeps integers exact that a JavaScript number cannot hold", async () => {
      const put = "record put products --id max -d".split(" ");
      await succeed([...put, '{"priceCents": 9223372036854775807}']);
      const got = await succeed(["record", "get", "products", "max"]);
      assert.equal(JSON.parse(got).priceCents, "9223372036854775807");
    });

    it("reads lines from stdin and takes the ids from a field", async () => {
      const lines = Array.from({ length: 1200 }, (_, index) =>
        JSON.stringify({ title: `p${index}` }),
      );
      const put = "record put products --id-field title -d -".split(" ");
      assert.equal(await succeed(put, lines.join("\n")), "put 1,200 records\n");
      const got = await succeed("record get products p7 p1199 -o json".split(" "));
      assert.deepEqual(JSON.parse(got), [{ title: "p7" }, { title: "p1199" }]);
    });

    it("reads an array, and an object over several lines", async () => {
      await writeFile(join(folder.path, "array.json"), '[\n {"title": "a1"},\n {"title": "a2"}\n]');
      const put = "record put products --id-field title -f".split(" ");
      assert.equal(await succeed([...put, "array.json"]), "put 2 records\n");
      await writeFile(join(folder.path, "object.json"), '{\n "title":\n "o1"\n}');
      assert.equal(await succeed([...put, "object.json"]), "put o1\n");
    });

    it("names the line and the likely field of a misspelt one", async () => {
      await writeFile(join(folder.path, "typo.jsonl"), '{"title": "x"}\n{"price_cent": 1}\n');
      const message = await fail("record put products -f typo.jsonl".split(" "), 1);
      assert.match(message, /^error: typo\.jsonl:2: .*"price_cent"; did you mean price_cents/);
    });

    it("names the line that the server refuses, and puts nothing of its batch", async () => {
      const lines = [{ title: "first" }, { title: "y".repeat(300) }].map((line) =>
        JSON.stringify(line),
      );
      await writeFile(join(folder.path, "long.jsonl"), lines.join("\n"));
      const message = await fail(
        "record put products --id-field title -f long.jsonl".split(" "),
        1,
      );
      assert.match(message, /^error: long\.jsonl:2: .*256/);
      await fail("record get products first".split(" "), 3);
    });

    it("refuses to create what is there", async () => {
      await succeed(["record", "put", "products", "--id", "once", "-d", "{}"]);
      await fail(["record", "put", "products", "--id", "once", "--create", "-d", "{}"], 5);
    });

    it("stops quietly when nobody reads on", async () => {
      const result = await runCli("record list products --limit 0 -o jsonl".split(" "), {
        env: { COLLECTOR_URL: server.url },
        onOutput: (child) => child.stdout?.destroy(),
      });
      assert.deepEqual([result.exitCode, result.stderr], [0, ""]);
    });
  });

  describe("call", () => {
    it("calls a method with the types of the registry", async () => {
      const create = {
        collectionName: "products",
        id: "called",
        item: { "@type": "type.googleapis.com/shop.v1.Product", title: "Called", priceCents: "5" },
      };
      const method = "collector.CollectionService/Create";
      await succeed(["call", method, "-d", JSON.stringify(create)]);
      const get = { collectionName: "products", id: "called" };
      const answer = await succeed([
        "call",
        "collector.CollectionService/Get",
        "-d",
        JSON.stringify(get),
      ]);
      assert.equal(JSON.parse(answer).item.title, "Called");
    });

    it("says which service or method is not there", async () => {
      assert.match(await fail(["call", "no.Such/Thing"], 3), /there is no service "no\.Such"/);
      assert.match(
        await fail(["call", "collector.CollectionService/Gett"], 1),
        /has no method Gett/,
      );
    });
  });

  describe("collection and namespace", () => {
    it("keep the same name apart in two namespaces", async () => {
      await succeed(["namespace", "create", "other"]);
      await succeed(["-n", "other", "schema", "add", "shop.proto"]);
      await succeed("collection create products --type shop.v1.Product -n other".split(" "));
      const shown = await succeed("collection show products -n other -o json".split(" "));
      assert.equal(JSON.parse(shown).recordCount ?? "0", "0");
      const listed = await succeed(["collection", "list", "-o", "json"]);
      const found = JSON.parse(listed) as { namespace: string; name: string }[];
      const names = found.map(({ namespace, name }) => `${namespace}/${name}`).sort();
      assert.deepEqual(names, ["default/products", "other/products"]);
      assert.match(await fail("collection rm products -n other".split(" "), 2), /say --yes/);
      assert.equal(
        await succeed("collection rm products --yes -n other".split(" ")),
        "deleted other/products\n",
      );
    });

    it("answers what is not there, is there already, and may not be", async () => {
      assert.match(await fail("record list nothing".split(" "), 3), /did you mean|collection list/);
      await fail("collection create products --type shop.v1.Product".split(" "), 5);
      await fail("-n system collection create mine --type shop.v1.Product".split(" "), 4);
    });
  });

  describe("errors", () => {
    it("of usage end with 2 and a suggestion", async () => {
      assert.match(
        await fail(["recrod", "list"], 2),
        /unknown command 'recrod'\n {2}Did you mean record\?/,
      );
      assert.match(
        await fail(["record", "list", "products", "--limt", "1"], 2),
        /Did you mean --limit\?/,
      );
      assert.match(await fail(["status", "-o", "toml"], 2), /table, json, jsonl, yaml, name/);
      assert.match(await fail(["--url", "ftp://x", "status"], 2), /is no address/);
    });

    it("of the connection end with 6 and say how to start a server", async () => {
      const message = await fail(["status", "--url", "http://127.0.0.1:1"], 6);
      assert.match(message, /cannot reach http:\/\/127\.0\.0\.1:1.*\n {2}start a server/);
    });

    it("are JSON on stderr for programs", async () => {
      const error = JSON.parse(await fail("record get products nobody -o json".split(" "), 3));
      assert.equal(error.code, "RECORD_NOT_FOUND");
      assert.equal(error.retryable, false);
      assert.equal(JSON.parse(await fail(["-o", "json", "recrod"], 2)).code, "USAGE");
    });
  });

  it("shows the server's state", async () => {
    const { url, version } = JSON.parse(await succeed(["status", "-o", "json"]));
    assert.deepEqual([url, version], [server.url, "0.1.0"]);
    assert.match(await succeed(["ops", "list", "-o", "json"]), /^\[/);
    assert.equal(await succeed(["--version"]), "0.1.0\n");
  });
});
