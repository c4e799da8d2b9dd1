/**
 * Runs the examples of `docs/clients.md` for grpcurl, which is built from Go's module proxy: needs `go`, and takes a
 * minute the first time. The other examples are run by `npm test`.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { connect } from "../src/client/client.ts";
import { NamespaceSchema } from "../src/gen/collector/namespaces_pb.ts";
import { createCollector } from "../src/server.ts";

const grpcurl = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3";

const page = await readFile(join(import.meta.dirname, "../docs/clients.md"), "utf8");
const script = /^<!-- tested by npm run try:clients -->\n```sh\n([\s\S]*?)^```$/m.exec(page)?.[1];
if (script === undefined) throw new Error("docs/clients.md has no example for grpcurl");

const folder = await mkdtemp(join(tmpdir(), "collector-clients-"));
try {
  const bin = join(folder, "bin");
  execFileSync("go", ["install", grpcurl], {
    env: { ...process.env, GOBIN: bin },
    stdio: "inherit",
  });
  await using server = await createCollector({
    port: 0,
    logLevel: "silent",
    data: join(folder, "data"),
  });
  await using client = await connect({ url: server.url, env: {} });
  await client.services.repo.createCollection({
    collection: { name: "products", messageType: { messageName: NamespaceSchema.typeName } },
  });
  await client.collection("products", NamespaceSchema).create({ name: "esp" }, { id: "esp-1" });
  const shell = spawn("sh", ["-e"], {
    env: { ...process.env, PATH: `${bin}${delimiter}${process.env["PATH"] ?? ""}` },
    stdio: ["pipe", "pipe", "inherit"],
    timeout: 60_000,
  });
  shell.stdin.end(script.replaceAll("127.0.0.1:50051", server.url.replace("http://", "")));
  let printed = "";
  for await (const text of shell.stdout.setEncoding("utf8")) printed += text;
  process.stdout.write(printed);
  for (const expected of ["collector.CollectionService", '"name": "esp"']) {
    if (!printed.includes(expected)) throw new Error(`grpcurl did not print ${expected}`);
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
