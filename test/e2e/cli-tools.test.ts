import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { parse } from "yaml";
import { runCliHere } from "../support/cli-in-process.ts";
import { type CliResult, runCli } from "../support/run-cli.ts";
import { ServerProcess } from "../support/server-process.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";

const examples = join(import.meta.dirname, "../../examples");
const main = join(import.meta.dirname, "../../src/cli/main.ts");

describe("collector, the tools around records", () => {
  let folder: TempFolder;
  let server: ServerProcess;

  const collector = (
    args: readonly string[],
    env: Readonly<Record<string, string>> = { COLLECTOR_URL: server.url },
  ): Promise<CliResult> => runCliHere(args, { XDG_CONFIG_HOME: join(folder.path, "xdg"), ...env });
  const succeed = async (line: string, ...more: readonly string[]): Promise<CliResult> => {
    const result = await collector([...line.split(" "), ...more]);
    assert.equal(result.exitCode, 0, result.stderr);
    return result;
  };
  const fail = async (exitCode: number, line: string, ...more: readonly string[]) => {
    const result = await collector([...line.split(" "), ...more]);
    assert.equal(result.exitCode, exitCode, result.stdout + result.stderr);
    return result.stderr;
  };

  const path = (name: string): string => join(folder.path, name);

  before(async () => {
    folder = await tempFolder("cli-tools");
    server = await ServerProcess.start({ dataFolder: join(folder.path, "data") });
    await cp(join(examples, "shop.proto"), join(folder.path, "shop.proto"));
    await succeed(`schema add ${path("shop.proto")}`);
    await succeed("collection create products --type shop.v1.Product --index price_cents");
  });

  after(async () => {
    await server[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  describe("record patch", () => {
    const read = async () =>
      JSON.parse((await succeed("record get products a --meta -o json")).stdout) as {
        readonly version: string;
        readonly item: unknown;
        readonly labels: unknown;
      };

    before(async () => {
      await succeed("record put products --id a -d", '{"title": "Pot", "priceCents": "5"}');
    });

    it("changes what the JSON has and clears what is null in it", async () => {
      await succeed("record patch products a -d", '{"priceCents": "7", "tags": ["new"]}');
      assert.deepEqual((await read()).item, { title: "Pot", priceCents: "7", tags: ["new"] });
      await succeed("record patch products a -d", '{"tags": null}');
      assert.deepEqual((await read()).item, { title: "Pot", priceCents: "7" });
    });

    it("changes labels alone, and nothing if the version is another", async () => {
      const { version, item } = await read();
      await succeed("record patch products a --label shelf=3 --if-version", version);
      const changed = await read();
      assert.deepEqual([changed.item, changed.labels], [item, { shelf: "3" }]);
      await fail(5, "record patch products a --label shelf=4 --if-version", version);
      assert.deepEqual((await read()).labels, { shelf: "3" });
    });

    it("refuses what would change nothing, what is no field, and what is not there", async () => {
      assert.match(await fail(2, "record patch products a -d {}"), /nothing to change/);
      assert.match(await fail(2, "record patch products a -d []"), /one JSON object/);
      assert.match(
        await fail(1, "record patch products a -d", '{"titel": "x"}'),
        /did you mean title\?/,
      );
      await fail(3, "record patch products nobody -d", '{"title": "x"}');
    });
  });

  describe("schema check and diff", () => {
    const change = async (from: string, to: string, use: () => Promise<void>): Promise<void> => {
      const file = path("shop.proto");
      const source = await readFile(file, "utf8");
      assert.ok(source.includes(from));
      await writeFile(file, source.replace(from, to));
      try {
        await use();
      } finally {
        await writeFile(file, source);
      }
    };

    it("say what would change, and register nothing", async () => {
      await change("message Product {", "message Product { bool fresh = 40;", async () => {
        const checked = await succeed(`schema check ${path("shop.proto")}`);
        assert.equal(checked.stdout, "+ shop.v1.Product.fresh  40: bool\n");
        assert.match(checked.stderr, /^ok: changed, version 2/);
        const { stdout } = await succeed(`schema diff ${path("shop.proto")} -o jsonl`);
        assert.deepEqual(JSON.parse(stdout), {
          sign: "+",
          name: "shop.v1.Product.fresh",
          what: "40: bool",
        });
      });
      const { stdout, stderr } = await succeed(`schema diff ${path("shop.proto")}`);
      assert.deepEqual([stdout, stderr], ["", "no differences\n"]);
    });

    it("say what would break, as a conflict", async () => {
      await change("string title = 1;", "int32 title = 1;", async () => {
        const { stdout } = await succeed(`schema diff ${path("shop.proto")}`);
        assert.equal(stdout, "~ shop.v1.Product.title  1: int32, was 1: string\n");
        assert.match(
          await fail(5, `schema check ${path("shop.proto")}`),
          /shop\.v1\.Product\.title/,
        );
      });
    });

    it("name the place of what does not compile", async () => {
      await change("string title = 1;", "strng title = 1;", async () => {
        assert.match(
          await fail(1, `schema check ${path("shop.proto")}`),
          /^error: shop\.proto:\d+:\d+ .*strng/,
        );
      });
    });

    it("say which files are new", async () => {
      await writeFile(
        join(folder.path, "new.proto"),
        'syntax = "proto3"; package fresh.v1; message M { string a = 1; } enum E { E_ZERO = 0; }',
      );
      const { stdout, stderr } = await succeed(`schema diff ${path("new.proto")}`);
      assert.equal(stdout, "+ fresh.v1.M  message\n+ fresh.v1.E  enum\n");
      assert.equal(stderr, "new.proto is not registered\n");
    });
  });

  describe("a collection of another namespace", () => {
    it("is named with it", async () => {
      await succeed("namespace create far");
      await writeFile(
        path("pot.proto"),
        'syntax = "proto3"; package far.v1; message Pot { string title = 1; }',
      );
      await succeed(`-n far schema add ${path("pot.proto")}`);
      const made = await succeed("collection create far/pots --type far.v1.Pot");
      assert.equal(made.stdout, "created far/pots\n");
      await succeed("record put far/pots --id a -d", '{"title": "Pot"}');
      assert.match((await succeed("collection show far/pots")).stdout, /^Collection +far\/pots$/m);
      assert.match((await succeed("record list far/pots")).stdout, /^a +Pot$/m);
      await succeed("collection alter far/pots --index title");
      const { stdout } = await succeed("collection reindex far/pots");
      assert.equal(stdout, "reindexed far/pots: 1 record\n");
      await fail(3, "collection show pots");
      assert.equal((await succeed("collection rm far/pots --yes")).stdout, "deleted far/pots\n");
      await succeed("-n far schema rm pot.proto");
      await succeed("namespace rm far");
    });
  });

  describe("collection reindex", () => {
    it("makes the indexes anew, or begins to", async () => {
      const { stdout } = await succeed("collection reindex products");
      assert.match(stdout, /^reindexed default\/products: \d+ records?\n$/);
      const begun = await succeed("collection reindex products --no-wait -o json");
      const { operation } = JSON.parse(begun.stdout) as { readonly operation: string };
      const shown = await succeed(`ops show ${operation}`);
      assert.equal((JSON.parse(shown.stdout) as { kind: string }).kind, "reindex");
      await fail(3, "collection reindex nothing");
    });
  });

  describe("-o", () => {
    it("prints YAML that says what the JSON says, and bare names", async () => {
      const json = JSON.parse((await succeed("record get products a --meta -o json")).stdout);
      assert.deepEqual(parse((await succeed("record get products a --meta -o yaml")).stdout), json);
      assert.equal((await succeed("record list products -o name")).stdout, "a\n");
      assert.equal((await succeed("record get products a -o name")).stdout, "a\n");
      assert.equal((await succeed("collection list -o name")).stdout, "products\n");
    });
  });

  describe("config", () => {
    it("says where each setting comes from: flag, environment, file, context, default", async () => {
      const origins = async (env: Readonly<Record<string, string>>, ...args: readonly string[]) => {
        const result = await runCli([...args, "config", "show", "-o", "json"], {
          cwd: folder.path,
          env: { XDG_CONFIG_HOME: join(folder.path, "xdg"), ...env },
        });
        assert.equal(result.exitCode, 0, result.stderr);
        const rows = JSON.parse(result.stdout) as { name: string; value: string; origin: string }[];
        const found = rows.find(({ name }) => name === "client.url");
        return [found?.value, found?.origin];
      };
      assert.deepEqual(await origins({}), ["http://127.0.0.1:50051", "default"]);
      await collector("config set here --url http://127.0.0.1:7 -n shop".split(" "), {});
      await collector("config set there --url http://127.0.0.1:8".split(" "), {});
      assert.deepEqual(await origins({}), ["http://127.0.0.1:7", "context here"]);
      await collector("config use there".split(" "), {});
      assert.deepEqual(await origins({}), ["http://127.0.0.1:8", "context there"]);
      await writeFile(join(folder.path, "collector.yaml"), "port: 9\n");
      assert.deepEqual(await origins({}), ["http://127.0.0.1:9", "file collector.yaml"]);
      await writeFile(join(folder.path, "collector.yaml"), "");
      const env = { COLLECTOR_URL: "http://127.0.0.1:10" };
      assert.deepEqual(await origins(env), ["http://127.0.0.1:10", "environment"]);
      assert.deepEqual(await origins(env, "--context", "here"), [
        "http://127.0.0.1:7",
        "flag here",
      ]);
      assert.deepEqual(await origins(env, "--url", "http://127.0.0.1:11"), [
        "http://127.0.0.1:11",
        "flag",
      ]);
    });

    it("reads one setting, and names what there is instead of what is not", async () => {
      assert.equal((await succeed("config get logLevel")).stdout, "info\n");
      assert.match(await fail(3, "config get prot"), /config show/);
      assert.match(await fail(3, "status --context nowhere"), /here, there/);
      assert.match(await fail(2, "config set empty"), /needs an address/);
    });
  });

  describe("doctor", () => {
    it("finds a machine well, and a server that it was told of", async () => {
      const { stdout } = await succeed("doctor --port 0 -o json");
      const findings = JSON.parse(stdout) as { name: string; state: string }[];
      const bad = findings.filter(({ state }) => state === "failed");
      assert.deepEqual(bad, []);
      const names = findings.map(({ name }) => name);
      for (const name of ["Node", "SQLite", "Port", "Data folder", "Disk", "Disk sync", "Server"]) {
        assert.ok(names.includes(name), name);
      }
    });

    it("says the mend of a port that is taken and a folder that is none", async () => {
      const { port } = new URL(server.url);
      await writeFile(join(folder.path, "file"), "");
      const result = await collector(["doctor", "--port", port, "--data", path("file")]);
      assert.equal(result.exitCode, 1);
      assert.match(result.stdout, /FAIL {2}Port .*taken.*\n.*--port/);
      assert.match(result.stdout, /FAIL {2}Data folder .*no folder\n.*--data/);
    });
  });

  describe("describe", () => {
    it("tells collections, types and methods apart", async () => {
      assert.match((await succeed("describe products")).stdout, /^Collection +default\/products\n/);
      assert.match(
        (await succeed("describe shop.v1.Product")).stdout,
        /^message shop\.v1\.Product\n/,
      );
      const method = await succeed("describe collector.CollectionService/Get -o json");
      assert.deepEqual(JSON.parse(method.stdout).example, {
        namespace: "",
        collectionName: "",
        id: "",
        ids: [],
      });
      await fail(3, "describe nothing.v1.AtAll");
    });
  });

  describe("completion", () => {
    const words = async (...line: readonly string[]): Promise<readonly string[]> => {
      const { stdout } = await succeed("completion --words", ...line);
      return stdout.split("\n").filter((word) => word !== "");
    };

    it("knows commands, options, and the names of the server", async () => {
      assert.deepEqual(await words("rec"), ["record"]);
      assert.ok((await words("record", "")).includes("patch"));
      assert.deepEqual(await words("record", "list", "products", "--wh"), ["--where"]);
      assert.deepEqual(await words("record", "get", ""), ["products"]);
      assert.deepEqual(await words("record", "-n", "nowhere", "get", ""), []);
      assert.deepEqual(await words("collection", "create", "x", "--type", "shop"), [
        "shop.v1.Product",
      ]);
      assert.ok((await words("record", "list", "products", "--order-by", "pr")).length > 0);
      assert.deepEqual(await words("call", "collector.Namespaces/C"), [
        "collector.Namespaces/CreateNamespace",
      ]);
      assert.deepEqual(await words("status", "-o", "y"), ["yaml"]);
      assert.deepEqual(await words("record", "list", "products", "--where", "pri"), [
        "price_cents",
      ]);
      assert.deepEqual(await words("collection", "alter", "products", "--index", "title,pr"), [
        "title,price_cents",
      ]);
      const type = ["--type", "shop.v1.Product"];
      assert.deepEqual(await words("collection", "create", "fresh", ...type, "--text", "t"), [
        "tags",
        "title",
      ]);
      assert.deepEqual(await words("service", "show", "collector.Name"), ["collector.Namespaces"]);
      assert.deepEqual(await words("collection", "reindex", "p"), ["products"]);
      assert.deepEqual(await words("completion", "z"), ["zsh"]);
      assert.deepEqual(await words("collection", "create", "x", "--tokenizer", "e"), [
        "english",
        "exact",
      ]);
    });

    it("knows files, backups, sets, policies, endpoints and contexts", async () => {
      await writeFile(path("note.txt"), "x");
      await succeed(`file put products ${path("note.txt")}`);
      await succeed("backup policy put nightly --every 6h");
      const made = JSON.parse((await succeed("backup server create -o json")).stdout) as {
        readonly setId: string;
        readonly backups: readonly { readonly backupId: string }[];
      };
      await succeed("config set far --url http://127.0.0.1:9");
      assert.deepEqual(await words("file", "get", "products", "n"), ["note.txt"]);
      assert.deepEqual(await words("file", "put", "products", "n"), []);
      const { setId, backups } = made;
      assert.deepEqual(await words("backup", "server", "restore", ""), [setId]);
      const ids = backups.map(({ backupId }) => backupId).sort();
      assert.deepEqual(await words("backup", "verify", ""), ids);
      assert.deepEqual(await words("backup", "policy", "rm", ""), ["nightly"]);
      assert.ok((await words("--context", "f")).includes("far"));
      assert.ok((await words("config", "use", "f")).includes("far"));
      await succeed("config rm far");
    });

    it("says nothing when there is no server", async () => {
      const result = await collector(["completion", "--words", "record", "get", ""], {
        COLLECTOR_URL: "http://127.0.0.1:1",
      });
      assert.deepEqual([result.exitCode, result.stdout, result.stderr], [0, "", ""]);
    });

    it("works in bash", async () => {
      const { stdout } = await succeed("completion bash");
      const program = `collector() { "${process.execPath}" "${main}" "$@"; }
        ${stdout}
        COMP_WORDS=(collector record get pro); COMP_CWORD=3; _collector_complete
        echo "\${COMPREPLY[*]}"`;
      const child = spawn("bash", ["-c", program], {
        env: { ...process.env, COLLECTOR_URL: server.url },
        stdio: ["ignore", "pipe", "inherit"],
      });
      let text = "";
      for await (const chunk of child.stdout.setEncoding("utf8")) text += chunk;
      assert.equal(text.trim(), "products");
    });
  });

  it("commands lists every command with its options, for programs", async () => {
    const { stdout } = await succeed("commands -o json");
    const entries = JSON.parse(stdout) as { name: string; options: { flags: string }[] }[];
    const patch = entries.find(({ name }) => name === "record patch");
    assert.ok(patch?.options.some(({ flags }) => flags.startsWith("-d, --data")));
    assert.ok(entries.length > 40, `only ${entries.length}`);
  });
});
