import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { completeConfig, loadConfig } from "./config.ts";

async function withFile(text: string, use: (path: string) => void): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "collector-config-"));
  try {
    const path = join(folder, "collector.yaml");
    await writeFile(path, text);
    use(path);
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe("loadConfig", () => {
  it("takes a flag over the environment over the file over the default", async () => {
    await withFile("port: 3\nhost: ::1\nnamespace: file\n", (file) => {
      const { config, origins } = loadConfig({
        flags: { port: 1 },
        env: { COLLECTOR_PORT: "2", COLLECTOR_NAMESPACE: "env" },
        file,
      });
      assert.equal(config.port, 1);
      assert.equal(config.namespace, "env");
      assert.equal(config.host, "::1");
      assert.equal(config.data, "./collector-data");
      assert.deepEqual(
        [origins.port, origins.namespace, origins.host, origins.data],
        ["flag", "environment", "file", "default"],
      );
    });
  });

  it("reads lists and switches from the environment, and the file's name too", async () => {
    await withFile("logLevel: warn", (file) => {
      const { config } = loadConfig({
        flags: {},
        env: {
          COLLECTOR_CONFIG: file,
          COLLECTOR_ALLOWED_HOSTS: "a.example, b.example",
          COLLECTOR_INSECURE: "1",
        },
        file: undefined,
      });
      assert.deepEqual(config.allowedHosts, ["a.example", "b.example"]);
      assert.equal(config.insecure, true);
      assert.equal(config.logLevel, "warn");
    });
  });

  it("names a misspelt key and the one that was meant", async () => {
    await withFile("limits: { pageSizeMx: 3 }\nprt: 1\n", (file) => {
      for (const message of [
        /`pageSizeMx` \(did you mean `pageSizeMax`\?\)/,
        /`prt` \(did you mean `port`\?\)/,
      ]) {
        assert.throws(() => loadConfig({ flags: {}, env: {}, file }), {
          reason: "ARGUMENT_INVALID",
          message,
        });
      }
    });
  });

  it("refuses to share the registrations of namespace system", () => {
    const env = { COLLECTOR_SHARED_REGISTRATIONS: "shop,system" };
    assert.throws(() => loadConfig({ flags: {}, env, file: undefined }), {
      reason: "ARGUMENT_INVALID",
      message: /sharedRegistrations\.1: namespace system .*\(from environment\)/,
    });
  });

  it("is as strict with what a program gives", () => {
    assert.equal(completeConfig({ port: 0, advertise: undefined }).namespace, "default");
    const wrong: [object, RegExp][] = [
      [{ sharedRegistrations: ["system"] }, /sharedRegistrations\.0: namespace system/],
      [{ namespace: "a b" }, /namespace: 1–128 of/],
      [{ port: -1 }, /port: .*0/],
      [{ limits: { drainMs: "soon" } }, /limits\.drainMs: .*number/],
      [{ prt: 1 }, /`prt` \(did you mean `port`\?\)/],
      [{ tlsKey: "k.pem" }, /tls-key is set and tls-cert is not/],
    ];
    for (const [given, message] of wrong) {
      assert.throws(() => completeConfig(given), { reason: "ARGUMENT_INVALID", message });
    }
  });

  it("says which value is out of range and who set it", () => {
    assert.throws(
      () => loadConfig({ flags: {}, env: { COLLECTOR_PORT: "70000" }, file: undefined }),
      {
        reason: "ARGUMENT_INVALID",
        message: /port: .*65535.*environment/,
      },
    );
  });

  it("refuses half a TLS setup", () => {
    assert.throws(() => loadConfig({ flags: { tlsCert: "c.pem" }, env: {}, file: undefined }), {
      message: /tls-cert is set and tls-key is not/,
    });
  });

  it("says that a file cannot be read", () => {
    assert.throws(() => loadConfig({ flags: {}, env: {}, file: "/nowhere/c.yaml" }), {
      reason: "ARGUMENT_INVALID",
      message: /cannot read/,
    });
  });
});
