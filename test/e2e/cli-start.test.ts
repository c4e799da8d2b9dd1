import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { runCli } from "../support/run-cli.ts";
import { ServerProcess } from "../support/server-process.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { selfSignedCertificate } from "../support/tls.ts";

describe("collector start", () => {
  it("says where it listens, where the data is, and what to try next", async () => {
    await using folder = await tempFolder("start");
    const dataFolder = join(folder.path, "data");
    await using server = await ServerProcess.start({
      dataFolder,
      env: { npm_lifecycle_event: "start" },
    });
    const [ready, url, data, next] = server.stdout.split("\n");
    assert.match(ready ?? "", /^Collector \d+\.\d+\.\d+ ready in \d+\.\ds$/);
    assert.equal(url, `  gRPC · JSON   ${server.url}`);
    assert.equal(data, `  Data          ${dataFolder} (persistent)`);
    assert.equal(next, "Next: npm run tour");
  });

  it("ends with 0 at SIGTERM, at Ctrl-C, and when its terminal is closed", async () => {
    await using folder = await tempFolder("start");
    const dataFolder = join(folder.path, "data");
    await using first = await ServerProcess.start({ dataFolder });
    assert.deepEqual(await first.stop(), { code: 0, signal: null });
    for (const signal of ["SIGINT", "SIGHUP"] as const) {
      await using next = await ServerProcess.start({ dataFolder });
      next.signal(signal);
      assert.deepEqual(await next.exited, { code: 0, signal: null });
    }
  });

  it("says in a line which Node it needs, if it has an older one", async () => {
    const older = `Object.defineProperty(process, "versions", { value: { node: "20.11.1" } })`;
    const options = `--import data:text/javascript,${encodeURIComponent(older)}`;
    const result = await runCli(["--version"], { env: { NODE_OPTIONS: options } });
    assert.deepEqual(
      [result.exitCode, result.stdout, result.stderr],
      [1, "", "collector needs Node 24 or later; this is Node 20.11.1\n"],
    );
  });

  it("reads ./collector.yaml if there is one", async () => {
    await using folder = await tempFolder("start");
    await writeFile(join(folder.path, "collector.yaml"), "port: -1\n");
    const result = await runCli(["start"], { cwd: folder.path });
    assert.equal(result.exitCode, 2);
    assert.match(result.stderr, /port: .*from file/);
  });

  it("suggests --port 0 if the port is taken", async () => {
    await using folder = await tempFolder("start");
    await using server = await ServerProcess.start({ dataFolder: join(folder.path, "a") });
    const { port } = new URL(server.url);
    const other = [
      "start",
      "--port",
      port,
      "--data",
      join(folder.path, "b"),
      "--log-level",
      "silent",
    ];
    const { exitCode, stderr } = await runCli(other);
    assert.equal(exitCode, 5);
    assert.equal(
      stderr,
      `error: port ${port} on 127.0.0.1 is taken\n  \`--port 0\` picks a free one\n`,
    );
  });

  it("refuses a data folder that another server uses", async () => {
    await using folder = await tempFolder("start");
    const dataFolder = join(folder.path, "data");
    await using server = await ServerProcess.start({ dataFolder });
    const second = ["start", "--port", "0", "--data", dataFolder, "--log-level", "silent"];
    const { exitCode, stderr } = await runCli(second);
    assert.equal(exitCode, 6);
    assert.match(
      stderr,
      new RegExp(`^error: another server \\(process ${server.pid} on .*--data\n$`),
    );
  });

  it("takes settings from the environment, and a flag over them", async () => {
    await using folder = await tempFolder("start");
    await using server = await ServerProcess.start({
      dataFolder: join(folder.path, "flag"),
      env: { COLLECTOR_DATA: join(folder.path, "environment"), COLLECTOR_NAMESPACE: "team" },
    });
    assert.match(server.stdout, /\/flag \(persistent\)/);
    const { stdout } = await runCli(["status", "--url", server.url, "-o", "json"]);
    assert.equal(JSON.parse(stdout).defaultNamespace, "team");
  });

  it("is reached over TLS by who trusts its certificate, and who does not is told how", async () => {
    await using folder = await tempFolder("start");
    const { cert, key } = selfSignedCertificate();
    const [certFile, keyFile] = [join(folder.path, "cert.pem"), join(folder.path, "key.pem")];
    await writeFile(certFile, cert);
    await writeFile(keyFile, key);
    await using server = await ServerProcess.start({
      dataFolder: join(folder.path, "data"),
      args: ["--tls-cert", certFile, "--tls-key", keyFile],
    });
    const status = ["status", "--url", server.url];
    const { exitCode, stderr } = await runCli(status);
    assert.equal(exitCode, 6);
    assert.match(
      stderr,
      /^error: the server's certificate is not trusted: .*\n.*NODE_EXTRA_CA_CERTS\n$/,
    );
    const trusting = await runCli(status, { env: { NODE_EXTRA_CA_CERTS: certFile } });
    assert.equal(trusting.exitCode, 0, trusting.stderr);
  });

  it("refuses what cannot be meant", async () => {
    const wrong: readonly (readonly [readonly string[], RegExp])[] = [
      [["--port", "99999"], /--port takes a number from 0 to 65535/],
      [["--host", "0.0.0.0"], /--insecure/],
      [["--tls-cert", "cert.pem"], /tls-key/],
      [["--log-level", "loud"], /logLevel/],
      [["--config", "nowhere.yaml"], /cannot read nowhere\.yaml/],
    ];
    await using folder = await tempFolder("start");
    for (const [args, message] of wrong) {
      const result = await runCli(["start", "--data", join(folder.path, "data"), ...args]);
      assert.equal(result.exitCode, 2, result.stderr);
      assert.match(result.stderr, message);
    }
  });
});
