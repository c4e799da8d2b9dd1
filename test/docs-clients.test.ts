import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { cp, readFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { it } from "node:test";
import { createCollector } from "../src/server.ts";
import { runCliHere } from "./support/cli-in-process.ts";
import { tempFolder } from "./support/temp-folder.ts";

const root = join(import.meta.dirname, "..");
const marked = /^<!-- tested -->\n```(\w+)\n([\s\S]*?)^```$/gm;

/** Debian's, which has the modules; another Python in the PATH may not. */
const python = "/usr/bin/python3";

/** What each block prints, in the order of the page. */
const outputs: readonly RegExp[] = [
  /"title":"Espresso machine"/,
  /"title":\s*"Espresso machine"/,
  // protoc may warn of an import of ours.
  /^(?:.*warning: .*\n)*$/,
  /^Espresso machine 24900 \d+\n$/,
];

const isMissing =
  spawnSync(python, ["-c", "import grpc, google.protobuf"]).status !== 0 ||
  spawnSync("protoc", ["--version"]).status !== 0;
const hint = "grpcio for Python or protoc is missing; on Debian: python3-grpcio protobuf-compiler";
const skip = isMissing && process.env["CI"] === undefined ? hint : false;

it("the page of clients shows what works, as it is printed", { skip }, async () => {
  assert.ok(!isMissing, hint);
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
  const address = server.url.replace("http://", "");
  for (const [index, { language, code }] of blocks.entries()) {
    const script = code.replaceAll("127.0.0.1:50051", address);
    const command = language === "python" ? [python, "-"] : ["sh", "-e"];
    const { exitCode, output } = await run(command, script, folder.path);
    assert.equal(exitCode, 0, `${script}\n${output}`);
    assert.match(output, outputs[index] ?? /$^/, script);
  }
});

async function run(
  [command = "", ...args]: readonly string[],
  script: string,
  cwd: string,
): Promise<{ readonly exitCode: number | null; readonly output: string }> {
  const child = spawn(command, args, {
    cwd,
    env: {
      ...process.env,
      PATH: `${join(root, "node_modules/.bin")}${delimiter}${process.env["PATH"] ?? ""}`,
      PYTHONPATH: join(cwd, "gen"),
    },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  child.stdin.end(script);
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.once("error", reject);
  child.once("close", resolve);
  return { exitCode: await promise, output };
}
