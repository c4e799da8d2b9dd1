/**
 * Runs the examples of `docs/clients.md` that need `go`: grpcurl and a program, both built from Go's module proxy, so it
 * takes a minute or two the first time. The other examples are run by `npm test`.
 */
import { execFileSync } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createCollector } from "../src/index.ts";
import { pathWithCollector, runScript } from "../test/support/shell.ts";

const grpcurl = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3";

const root = join(import.meta.dirname, "..");
const page = await readFile(join(root, "docs/clients.md"), "utf8");
const blocks = page.matchAll(/^<!-- tested by npm run try:clients -->\n```\w+\n([\s\S]*?)^```$/gm);
const [askByGrpcurl, generate, program] = Array.from(blocks, ([, code]) => code);
if (askByGrpcurl === undefined || generate === undefined || program === undefined)
  throw new Error("docs/clients.md lacks an example of grpcurl or Go");
try {
  process.stdout.write(execFileSync("go", ["version"], { encoding: "utf8" }));
} catch (error) {
  throw new Error("go is not installed; these examples need it", { cause: error });
}

const folder = await mkdtemp(join(tmpdir(), "collector-clients-"));
try {
  const bin = join(folder, "go-bin");
  await using server = await createCollector({
    port: 0,
    logLevel: "silent",
    data: join(folder, "data"),
  });
  const env = {
    PATH: `${bin}${delimiter}${await pathWithCollector(folder)}`,
    GOBIN: bin,
    COLLECTOR_URL: server.url,
  };
  const address = new URL(server.url).host;
  const run = async (script: string, ...expected: readonly string[]): Promise<void> => {
    const here = script.replaceAll("127.0.0.1:50051", address);
    const { exitCode, output } = await runScript(here, { cwd: folder, env });
    process.stdout.write(output);
    if (exitCode !== 0) throw new Error(`a script ended with ${exitCode}:\n${here}`);
    for (const text of expected)
      if (!output.includes(text)) throw new Error(`${text} was not printed`);
  };
  await cp(join(root, "proto"), join(folder, "proto"), { recursive: true });
  await cp(join(root, "examples/shop.proto"), join(folder, "shop.proto"));
  await run(`collector schema add shop.proto
collector collection create products --type shop.v1.Product
collector record put products --id esp-1 -d '{"title": "Espresso machine", "priceCents": "24900"}'`);
  await run(`go install ${grpcurl}\n${askByGrpcurl}`, "CollectionService", "Espresso machine");
  await run(`go mod init example.com/shop\n${generate}`);
  await mkdir(join(folder, "cmd"));
  await writeFile(join(folder, "cmd/main.go"), program.replaceAll("127.0.0.1:50051", address));
  await run("go mod tidy\ngo run ./cmd", "Espresso machine 24900 ");
} finally {
  await rm(folder, { recursive: true, force: true });
}
