import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { type Collector, createCollector } from "../../src/server.ts";
import { encodeNote, noteOf, noteTypeName } from "../support/notes.ts";
import { python, pythonProblem, skipWithoutPython } from "../support/python.ts";
import { pathWithCollector, runScript } from "../support/shell.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";

const runFile = promisify(execFile);

const recordCount = 20;

/** A server with a collection of notes, and examples run against it. */
class Site implements AsyncDisposable {
  readonly folder: TempFolder;
  readonly server: Collector;
  readonly client: TestClient;

  private constructor(folder: TempFolder, server: Collector) {
    this.folder = folder;
    this.server = server;
    this.client = new TestClient(server.url);
  }

  static async open(): Promise<Site> {
    const folder = await tempFolder("examples");
    const data = join(folder.path, "data");
    return new Site(folder, await createCollector({ port: 0, logLevel: "silent", data }));
  }

  async fill(): Promise<void> {
    await this.client.registerNotes();
    await this.client.createNotes("products");
    for (let number = 0; number < recordCount; number += 1) await this.put(number);
  }

  async put(number: number): Promise<void> {
    await this.client.records.create({
      collectionName: "products",
      id: `n${number}`,
      item: { typeUrl: `x/${noteTypeName}`, value: encodeNote(noteOf(number)) },
    });
  }

  async count(collectionName: string, namespace = ""): Promise<bigint> {
    const described = await this.client.records.describe({ namespace, collectionName });
    return described.recordCount;
  }

  /** What the example prints. */
  async run(example: string, ...args: readonly string[]): Promise<string> {
    const path = join(import.meta.dirname, "../../examples", `${example}.ts`);
    const env = { ...process.env, COLLECTOR_URL: this.server.url };
    const { stdout } = await runFile(process.execPath, [path, ...args], { env });
    return stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client[Symbol.dispose]();
    await this.server[Symbol.asyncDispose]();
    await this.folder[Symbol.asyncDispose]();
  }
}

describe("the examples", () => {
  it("have a collection backed up daily, with notes and a retention", async () => {
    await using site = await Site.open();
    await site.fill();
    const text = await site.run("backup-daily", "products");
    assert.match(
      text,
      /^\S+: 20 records, before the release\n\S+: 20 records, daily\nnext: .*T03:00:00/,
    );
    await site.put(recordCount);
    const again = await site.run("backup-daily", "products");
    assert.equal(again.split("\n").filter((line) => line.endsWith("daily")).length, 1, again);
    const { backups } = await site.client.repo.listBackups({});
    const [newest] = backups;
    assert.deepEqual([newest?.recordCount, newest?.metadata["retention"]], [21n, "30d"]);
    assert.equal(backups.at(-1)?.policy, "daily-products");
    await assert.rejects(site.run("backup-daily", "missing"), /no collection missing/);
  });

  it("embed a collector, call it in each way, and stop with nothing left open", async () => {
    // It ends by itself: something that were left open would keep it.
    const program = join(import.meta.dirname, "../../examples/embedded.ts");
    const { stdout } = await runFile(process.execPath, [program], { timeout: 60_000 });
    assert.deepEqual(stdout.trim().split("\n"), [
      "by gRPC: tea costs 750 cents",
      "in the process: 250, 500, 750",
      "by worker-1: tea costs 42 cents",
      "stopped",
    ]);
  });

  it("clone production to staging, and bring the clone up to date", async () => {
    await using site = await Site.open();
    await site.fill();
    assert.match(await site.run("clone-to-staging"), /copied products to staging\/products: 20 /);
    await site.put(recordCount);
    assert.match(await site.run("clone-to-staging"), /staging\/products: 21 records/);
    assert.equal(await site.count("products", "staging"), 21n);
    await site.client.createNotes("taken");
    await assert.rejects(site.run("clone-to-staging", "products", "default/taken"), /another/);
    assert.equal(await site.count("taken"), 0n);
  });

  it("mirror a collection of another server, and bring the mirror up to date", async () => {
    await using production = await Site.open();
    await using mirror = await Site.open();
    await production.fill();
    const { url } = production.server;
    assert.match(await mirror.run("mirror", url), /^products: 20 records, 0 files; all of it, /);
    await production.put(recordCount);
    assert.match(await mirror.run("mirror", url), /^products: 21 records, 0 files; changes, /);
    assert.equal(await mirror.count("products"), 21n);
    await assert.rejects(
      mirror.run("mirror", "10.9.8.7:50051"),
      /not an endpoint that this server/,
    );
  });

  it("keep nightly backups at a second collector, each one once, live and with a retention", async () => {
    await using first = await Site.open();
    await using second = await Site.open();
    await first.fill();
    const { url } = second.server;
    assert.match(await first.run("nightly-offsite", url), / 20 records in offsite\/products\n$/);
    assert.match(await first.run("nightly-offsite", url), /: there already\n$/);
    assert.equal(await second.count("products", "offsite"), 20n);
    // The next night.
    await first.put(recordCount);
    await first.client.backups.runBackupPolicy({ name: "nightly-products" });
    assert.match(await first.run("nightly-offsite", url), / 21 records in offsite\/products\n$/);
    const { backups } = await second.client.repo.listBackups({});
    const kept = backups.map(({ recordCount: n, metadata }) => [n, metadata["retention"]]);
    assert.deepEqual(kept, [
      [21n, "90d"],
      [20n, "90d"],
    ]);
    const policies = await first.client.backups.listBackupPolicies({});
    assert.deepEqual(
      policies.policies.map(({ name }) => name),
      ["nightly-products"],
    );
  });

  it("have a service in Python registered while a collector runs, and call it through the mesh", {
    skip: skipWithoutPython,
  }, async () => {
    assert.equal(pythonProblem, undefined);
    await using first = await Site.open();
    await using second = await Site.open();
    const root = join(import.meta.dirname, "../..");
    const page = await readFile(join(root, "examples/python/README.md"), "utf8");
    const blocks = [...page.matchAll(/^<!-- tested by .*-->\n```sh\n([\s\S]*?)^```$/gm)];
    const [prepare = "", start = "", ask = "", curl = ""] = blocks.map(([, code = ""]) =>
      code
        .replaceAll("127.0.0.1:50051", new URL(first.server.url).host)
        .replaceAll("127.0.0.1:50052", new URL(second.server.url).host)
        .replaceAll("python3", python),
    );
    const folder = first.folder.path;
    for (const name of ["proto", "examples"]) await symlink(join(root, name), join(folder, name));
    const shell = {
      cwd: folder,
      env: { PATH: await pathWithCollector(folder), PYTHONPATH: "gen" },
    };
    assert.equal((await runScript(prepare, shell)).exitCode, 0);
    const [service = "", link = ""] = start.split("\n").slice(2);
    const [program = "", ...args] = service.replace(/ &$/, "").split(" ");
    const child = spawn(program, args, {
      cwd: folder,
      env: { ...process.env, PYTHONPATH: "gen" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const closed = once(child, "close");
    try {
      const [line] = await once(createInterface({ input: child.stdout }), "line");
      assert.match(String(line), /^serving pricing[.]v1[.]Pricing on 127/);
      const { exitCode, output } = await runScript(`${link}\n${ask}\n${curl}`, shell);
      assert.equal(exitCode, 0, output);
      assert.match(output, /^tea: 750 cents\n\{"title":"tea","cents":"750"\}$/m);
      const wrong = await runScript(ask.replace("tea 3", "tea 0"), shell);
      assert.match(wrong.output, /^INVALID_ARGUMENT: quantity must be at least 1$/m);
    } finally {
      child.kill("SIGTERM");
      await closed;
    }
  });

  it("find airports in a catalogue by words and filters", async () => {
    await using site = await Site.open();
    assert.match(await site.run("catalogue", "load"), /^loaded \d{4,} airports\n$/);
    const found = await site.run("catalogue", "find", "reykjavik", "--country", "Iceland");
    assert.match(found, /^BIRK {2}Reykjavik Airport, Reykjavik \(Iceland\)\n/);
    const high = await site.run("catalogue", "find", "", "--above", "14000");
    assert.match(high, /\(China\)/);
    assert.match(await site.run("catalogue", "find", "nowhere-at-all"), /nothing found/);
  });

  it("remember what an agent learned, by meaning and by words", async () => {
    await using site = await Site.open();
    const remember = (topic: string, text: string) =>
      site.run("agent-memory", "remember", topic, text);
    await remember("person", "Ada prefers espresso to tea");
    await remember("project", "The release is planned for the first week of May");
    await remember("person", "Grace moved to Reykjavik last spring");
    const [best] = (await site.run("agent-memory", "recall", "what espresso does Ada like")).split(
      "\n",
    );
    assert.match(best ?? "", /person {2}Ada prefers espresso to tea$/);
    const [when] = (await site.run("agent-memory", "recall", "releases planned when")).split("\n");
    assert.match(when ?? "", /project {2}The release is planned/);
  });

  it("recover from a disaster with the newest backup that is valid", async () => {
    await using site = await Site.open();
    await site.fill();
    const collection = { name: "products" };
    await site.client.repo.backupCollection({ collection });
    await site.put(recordCount);
    const { backup } = await site.client.repo.backupCollection({ collection });
    const path = join(site.folder.path, "data/backups", backup?.storagePath ?? "");
    const archive = await readFile(path);
    await writeFile(path, archive.subarray(0, archive.byteLength - 100));
    await site.client.records.delete({ collectionName: "products", id: "n1" });

    const text = await site.run("disaster-recovery", "products");
    const [first = "", second = "", last = ""] = text.split("\n");
    assert.ok(!first.endsWith(": valid"), text);
    assert.ok(second.endsWith(": valid"), text);
    assert.match(last, /^restored products: 20 records/);
    assert.equal(await site.count("products"), 20n);
  });
});
