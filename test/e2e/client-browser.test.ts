import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { runInNewContext } from "node:vm";
import { gzipSync } from "node:zlib";
import { build, type Plugin } from "esbuild";
import { createCollector } from "../../src/server.ts";
import { tempFolder } from "../support/temp-folder.ts";

const root = join(import.meta.dirname, "../..");

/** Largest bundle of the client, gzipped, in kB. */
const bundleKbMax = 120;

/** Applies what package.json says under `browser`, to the sources. */
async function browserField(): Promise<Plugin> {
  const { browser } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as {
    readonly browser: Readonly<Record<string, string>>;
  };
  const source = (path: string): string =>
    join(root, path.replace("./dist/", "src/").replace(/\.js$/, ".ts"));
  const replaced = new Map(Object.entries(browser).map(([from, to]) => [source(from), source(to)]));
  return {
    name: "browser-field",
    setup(bundler) {
      bundler.onResolve({ filter: /^\.\/.*\.ts$/ }, ({ path, resolveDir }) => {
        const found = replaced.get(join(resolveDir, path));
        return found === undefined ? undefined : { path: found };
      });
    },
  };
}

async function bundle(entry: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    platform: "browser",
    format: "iife",
    target: "es2022",
    globalName: "page",
    plugins: [await browserField()],
    logLevel: "silent",
  });
  const [file] = outputFiles;
  assert.ok(file !== undefined);
  return file.text;
}

describe("the client in a browser", () => {
  it("is one bundle without anything of Node, and not large", async (t) => {
    const text = await bundle(join(root, "src/client/client.ts"));
    assert.doesNotMatch(text, /require\("node:|from"node:/);
    const kilobytes = gzipSync(text).byteLength / 1000;
    t.diagnostic(`${(text.length / 1000).toFixed(0)} kB, ${kilobytes.toFixed(0)} kB gzipped`);
    assert.ok(kilobytes < bundleKbMax, `${kilobytes} kB`);
  });

  it("reads, writes and is told failures by fetch", async () => {
    await using folder = await tempFolder("browser");
    await using collector = await createCollector({
      port: 0,
      data: folder.path,
      logLevel: "silent",
    });
    const page = join(folder.path, "page.ts");
    await writeFile(
      page,
      `import { connect } from ${JSON.stringify(join(root, "src/client/client.ts"))};
       export async function run(url: string): Promise<unknown> {
         const client = await connect({ url, namespace: "web" });
         await client.services.namespaces.createNamespace({ namespace: { name: "web" } });
         const { serverVersion } = await client.services.records.meta({});
         const failure = await client.services.records
           .get({ collectionName: "none", id: "x" })
           .catch((error: { reason: string }) => error.reason);
         client.close();
         return { serverVersion, failure };
       }`,
    );
    const text = await bundle(page);
    // What a page has, and nothing of Node.
    const globals = {
      AbortController,
      AbortSignal,
      DOMException,
      Headers,
      ReadableStream,
      Response,
      TextDecoder,
      TextEncoder,
      URL,
      clearTimeout,
      fetch,
      performance,
      setTimeout,
      url: collector.url,
    };
    const answer = (await runInNewContext(`${text}; page.run(url)`, globals)) as {
      readonly serverVersion: string;
      readonly failure: string;
    };
    assert.equal(answer.serverVersion, collector.version);
    assert.equal(answer.failure, "COLLECTION_NOT_FOUND");
  });
});
