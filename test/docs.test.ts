import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  createFileRegistry,
  type FileRegistry,
  fromBinary,
  fromJsonString,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { defaultConfig } from "../src/config.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const run = promisify(execFile);
const buf = join(root, "node_modules/.bin/buf");

async function documents(): Promise<{ readonly path: string; readonly text: string }[]> {
  const decisions = (await readdir(join(root, "docs/decisions"))).map(
    (name) => `docs/decisions/${name}`,
  );
  const docs = (await readdir(join(root, "docs"))).filter((name) => name.endsWith(".md"));
  const paths = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    ...docs.map((name) => `docs/${name}`),
    ...decisions,
  ];
  return Promise.all(
    paths.map(async (path) => ({ path, text: await readFile(join(root, path), "utf8") })),
  );
}

/** The code blocks of a language, in order. */
function blocks(markdown: string, language: string): string[] {
  return [...markdown.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter((match) => match[1] === language)
    .map((match) => match[2] ?? "");
}

/** The contract together with the files of `sources`, compiled as a user's would be. */
async function compile(sources: readonly string[]): Promise<FileRegistry> {
  const folder = await mkdtemp(join(tmpdir(), "collector-docs-"));
  try {
    await mkdir(join(folder, "proto"));
    for (const [index, source] of sources.entries()) {
      await writeFile(join(folder, "proto", `example-${index}.proto`), source);
    }
    const modules = ["proto", "contract"].map((path) => `{ path: ${path} }`).join(", ");
    await cp(join(root, "proto"), join(folder, "contract"), { recursive: true });
    await writeFile(join(folder, "buf.yaml"), `version: v2\nmodules: [${modules}]\n`);
    await run(buf, ["build", "-o", "image.binpb"], { cwd: folder });
    const image = await readFile(join(folder, "image.binpb"));
    return createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe("the documents", async () => {
  const all = await documents();
  const readme = all.find(({ path }) => path === "README.md")?.text ?? "";

  it("link to what exists", async () => {
    for (const { path, text } of all) {
      for (const [, target = ""] of text.matchAll(/\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g)) {
        await stat(join(root, dirname(path), target)).catch(() => {
          assert.fail(`${path} links to ${target}, which does not exist`);
        });
      }
    }
  });

  it("name npm scripts that exist", async () => {
    const manifest: { scripts: Record<string, string> } = JSON.parse(
      await readFile(join(root, "package.json"), "utf8"),
    );
    const names = all.flatMap(({ text }) =>
      [...text.matchAll(/npm run (?:--silent )?([\w:-]+)/g)].map((match) => match[1] ?? ""),
    );
    assert.ok(names.length > 3);
    for (const name of names) assert.ok(Object.hasOwn(manifest.scripts, name), `npm run ${name}`);
    assert.ok(Object.hasOwn(manifest.scripts, "start") && Object.hasOwn(manifest.scripts, "test"));
  });

  it("show requests that the server's types accept", async () => {
    const registry = await compile(blocks(readme, "proto"));
    const requests = [
      ...readme.matchAll(
        /curl[^']*?http:\/\/127[.]0[.]0[.]1:50051\/([\w.]+)\/(\w+)[\s\S]*?-d '([^']+)'/g,
      ),
    ];
    assert.ok(requests.length > 1);
    for (const [, service = "", methodName = "", body = ""] of requests) {
      const method = registry
        .getService(service)
        ?.methods.find((candidate) => candidate.name === methodName);
      assert.ok(method, `${service}/${methodName}`);
      fromJsonString(method.input, body, { registry, ignoreUnknownFields: false });
    }
  });

  it("give the server's defaults", () => {
    const { host, port, data, namespace } = defaultConfig;
    assert.ok(readme.includes(`http://${host}:${port}`));
    for (const value of [host, String(port), data, namespace]) {
      assert.ok(readme.includes(`| \`${value}\` |`), value);
    }
  });

  it("record each decision under its own number, with context, choice, price and what would change it", () => {
    const decisions = all.filter(({ path }) => path.startsWith("docs/decisions/"));
    const numbers = decisions.map(({ path }) => /\/(\d{4})-[a-z0-9-]+[.]md$/.exec(path)?.[1]);
    assert.ok(decisions.length > 4);
    assert.ok(!numbers.includes(undefined), numbers.join());
    assert.equal(new Set(numbers).size, numbers.length);
    for (const { path, text } of decisions) {
      assert.match(text, new RegExp(`^# ${/\d{4}/.exec(path)?.[0]}: `), path);
      for (const heading of ["Context", "Choice", "Price", "What would change our mind"]) {
        assert.match(text, new RegExp(`^## ${heading}$`, "m"), path);
      }
    }
  });

  it("list every run-time dependency with a reason", async () => {
    const manifest: { dependencies: Record<string, string> } = JSON.parse(
      await readFile(join(root, "package.json"), "utf8"),
    );
    const page = all.find(({ path }) => path.endsWith("0004-run-time-dependencies.md"))?.text ?? "";
    for (const name of Object.keys(manifest.dependencies)) {
      const short = name.replace(/^@connectrpc\/connect-/, "connect-");
      assert.ok(page.includes(`\`${short}\``), name);
    }
  });
});
