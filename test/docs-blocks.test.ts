import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fromJsonString } from "@bufbuild/protobuf";
import { StructSchema } from "@bufbuild/protobuf/wkt";
import { parse } from "yaml";
import { Pricing } from "../examples/gen/pricing_pb.ts";
import { connect } from "../src/client/client.ts";
import { type Collector, createCollector } from "../src/server.ts";
import { runCliHere } from "./support/cli-in-process.ts";
import { pricing } from "./support/pricing.ts";
import { pathWithCollector, runScript } from "./support/shell.ts";
import { tempFolder } from "./support/temp-folder.ts";

const root = join(import.meta.dirname, "..");

/** A fenced block of code in a document. */
interface Block {
  readonly page: string;
  readonly language: string;
  readonly code: string;
  /** What the comment above it says of how it is tested; empty if there is none. */
  readonly mark: string;
}

async function pages(): Promise<string[]> {
  const inFolder = async (folder: string) =>
    (await readdir(join(root, folder)))
      .filter((name) => name.endsWith(".md"))
      .map((name) => `${folder}/${name}`);
  return [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "llms.txt",
    "bench/README.md",
    "examples/README.md",
    "examples/python/README.md",
    ...(await inFolder("docs")),
    ...(await inFolder("docs/decisions")),
  ];
}

async function blocksOf(page: string): Promise<Block[]> {
  const text = await readFile(join(root, page), "utf8");
  const fence = /^( *)(?:<!-- (.+) -->\n\1)?```(\w*)\n([\s\S]*?)^\1```$/gm;
  return Array.from(
    text.matchAll(fence),
    ([, indent = "", mark = "", language = "", code = ""]) => ({
      page,
      language,
      mark,
      code: code.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
    }),
  );
}

/** Pages whose commands this file runs. Those of others are run by the tests that their marks name, or that are here. */
const sessions: ReadonlySet<string> = new Set(["docs/backup.md", "docs/files.md", "docs/mesh.md"]);
const testsByPage: Readonly<Record<string, string>> = {
  "README.md": "test/docs-readme.test.ts",
  "docs/clients.md": "test/docs-clients.test.ts",
};

describe("every block of code in the documents", async () => {
  const blocks = (await Promise.all((await pages()).map(blocksOf))).flat();
  const of = (...languages: readonly string[]): Block[] =>
    blocks.filter(({ language }) => languages.includes(language));

  it("is in a language that is tested, or is none", () => {
    assert.ok(blocks.length > 30);
    const known = ["sh", "ts", "json", "yaml", "proto", "python", "go", "text"];
    for (const { page, language, code } of blocks)
      assert.ok(known.includes(language), `${page}: a block of \`${language}\`: ${code}`);
  });

  it("is run by a test if it is a program or a script", async () => {
    const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as {
      readonly scripts: Readonly<Record<string, string>>;
      readonly peerDependencies: Readonly<Record<string, string>>;
    };
    for (const { page, mark, code, language } of of("sh", "python", "go")) {
      const where = `${page}: ${code}`;
      const [, file, script] = /^tested by (?:(test\/\S+\.ts)|npm run ([\w:]+))/.exec(mark) ?? [];
      if (file !== undefined) {
        await stat(join(root, file));
      } else if (script !== undefined) {
        assert.ok(Object.hasOwn(manifest.scripts, script), where);
      } else if (mark === "tested") {
        assert.ok(sessions.has(page) || Object.hasOwn(testsByPage, page), where);
      } else {
        // What sets a machine up, or runs the tests themselves, is looked up by its parts.
        assert.equal(language, "sh", `${where}\nhas no mark that says which test runs it`);
        for (const line of code.trim().split(/\n| && /)) await checkSetUp(line, manifest);
      }
    }
  });

  it("compiles if it is TypeScript", { timeout: 120_000 }, async () => {
    await using folder = await tempFolder("docs-types");
    const programs = of("ts");
    assert.ok(programs.length > 6);
    await symlink(join(root, "node_modules"), join(folder.path, "node_modules"));
    await cp(join(root, "examples/gen"), join(folder.path, "gen"), { recursive: true });
    for (const [index, { code, page }] of programs.entries())
      await writeFile(join(folder.path, `block-${index}.ts`), `// ${page}\n${code}\nexport {};\n`);
    const config = {
      extends: join(root, "tsconfig.json"),
      compilerOptions: {
        noUnusedLocals: false,
        typeRoots: [join(root, "node_modules/@types")],
        paths: {
          collector: [join(root, "src/index.ts")],
          "collector/client": [join(root, "src/client/index.ts")],
        },
      },
      include: ["block-*.ts"],
      exclude: [],
    };
    await writeFile(join(folder.path, "tsconfig.json"), JSON.stringify(config));
    await writeFile(join(folder.path, "package.json"), '{ "type": "module" }');
    const tsc = join(root, "node_modules/.bin/tsc");
    const output = await new Promise<string>((resolve) => {
      const args = ["-p", folder.path, "--pretty", "false"];
      execFile(tsc, args, (_error, stdout, stderr) => resolve(stdout + stderr));
    });
    const named = output.replaceAll(/block-(\d+)\.ts/g, (name, index: string) => {
      return `${programs[Number(index)]?.page ?? name}, block ${index}`;
    });
    assert.equal(output, "", named);
  });

  it("can be read if it is data", () => {
    for (const { code } of of("json")) fromJsonString(StructSchema, code);
    for (const { code } of of("yaml")) assert.equal(typeof parse(code), "object");
    // The protos of the README are compiled by `docs.test.ts`.
    for (const { page } of of("proto")) assert.equal(page, "README.md");
  });

  it("does what it says if it is a session on a page of its own", {
    timeout: 120_000,
  }, async (t) => {
    await using folder = await tempFolder("docs-sessions");
    const open = async (name: string): Promise<Collector> =>
      await createCollector({
        port: 0,
        logLevel: "silent",
        data: join(folder.path, name),
        backupFolder: join(folder.path, "backups"),
      });
    await using server = await open("first");
    // Where what was lost is restored.
    await using other = await open("second");
    await using served = await server.serve(Pricing, pricing());
    assert.equal(served.namespace, "default");
    await using client = await connect({ url: server.url, env: {} });
    const cwd = join(folder.path, "here");
    const path = await pathWithCollector(folder.path);
    await mkdir(cwd);
    await writeFile(join(cwd, "front.jpg"), "a picture");
    const before = process.cwd();
    t.after(() => process.chdir(before));
    process.chdir(cwd);

    const run = async (line: string): Promise<string> => {
      const isElsewhere = /backup import|backup server restore/.test(line);
      const { url } = isElsewhere ? other : server;
      if (!line.startsWith("collector ") || line.includes(" | ")) {
        const script = line.replaceAll("http://127.0.0.1:50051", url);
        const env = { PATH: path, COLLECTOR_URL: url };
        const { exitCode, output } = await runScript(script, { cwd, env });
        assert.equal(exitCode, 0, `${line}\n${output}`);
        return output;
      }
      const result = await runCliHere(wordsOf(line).slice(1), { COLLECTOR_URL: url });
      assert.equal(result.exitCode, 0, `${line}\n${result.stdout}${result.stderr}`);
      return result.stdout;
    };
    await run(`collector schema add ${join(root, "examples/shop.proto")}`);
    await run("collector collection create products --type shop.v1.Product --index price_cents");
    await run(`collector record put products --id esp-1 -d '{"title": "Espresso machine"}'`);

    const lines = blocks
      .filter(({ page, mark }) => sessions.has(page) && mark === "tested")
      .flatMap(({ code }) =>
        code
          .trim()
          .replaceAll(/ *\\\n */g, " ")
          .split("\n"),
      );
    assert.ok(lines.length > 20);
    for (const line of lines) {
      if (line.includes("backup server restore")) await run("collector backup import");
      const all = await Array.fromAsync(client.backups.list());
      const ofCollection = all.find(
        ({ setId, collection }) => setId === "" && collection?.name === "products",
      );
      const ofSet = all.find(({ setId }) => setId !== "");
      const real = line
        .replaceAll("<backup id>", ofCollection?.backupId ?? "")
        .replaceAll("<set id>", ofSet?.setId ?? "")
        .replace(/(backup server restore \S+)$/, "$1 --overwrite --yes");
      const output = await run(real);
      if (line.includes("pricing.v1.Pricing/Quote")) assert.match(output, /"cents":"500"/);
    }
    const restored = ["products-restored", "products-from-file", "products-piped"].map((name) =>
      client.collection(name),
    );
    for (const collection of restored)
      assert.deepEqual((await collection.get("esp-1")).item, { title: "Espresso machine" });
    await using second = await connect({ url: other.url, env: {} });
    assert.equal((await second.collection("products").get("esp-1")).id, "esp-1");
    assert.equal(await readFile(join(cwd, "copy.jpg"), "utf8"), "a picture");
  });
});

/** Commands that are not run here: whether what they name is there. */
async function checkSetUp(
  line: string,
  manifest: {
    readonly scripts: Readonly<Record<string, string>>;
    readonly peerDependencies: Readonly<Record<string, string>>;
  },
): Promise<void> {
  const [, script] = /^npm (?:run )?([\w:]+)$/.exec(line) ?? [];
  if (script === "ci") return;
  if (script !== undefined) {
    assert.ok(Object.hasOwn(manifest.scripts, script), line);
    return;
  }
  const [, path] = /^node --test (\S+)$/.exec(line) ?? [];
  if (path !== undefined) {
    await stat(join(root, path));
    return;
  }
  const [, packages = ""] = /^npm install (.+)$/.exec(line) ?? [];
  assert.notEqual(packages, "", `${line}\nhas no mark that says which test runs it`);
  for (const one of packages.split(" ")) {
    const at = one.lastIndexOf("@");
    assert.equal(manifest.peerDependencies[one.slice(0, at)], one.slice(at + 1), one);
  }
}

/** A line of a shell cut into words; quotes are all that it may have. */
function wordsOf(line: string): string[] {
  return Array.from(line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g), ([, single, double, bare]) => {
    return single ?? double ?? bare ?? "";
  });
}
