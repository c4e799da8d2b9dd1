import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { copyFile, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { type Collector, createCollector } from "../../src/server.ts";
import { BackupFixture } from "../support/backup-fixture.ts";
import { CuttingProxy } from "../support/cutting-proxy.ts";
import { pathWithCollector, runScript } from "../support/shell.ts";
import type { TempFolder } from "../support/temp-folder.ts";
import { waitUntil } from "../support/wait.ts";

const main = join(import.meta.dirname, "../../src/cli/main.ts");

let fixture: BackupFixture;
let folder: TempFolder;
let server: Collector;
let other: Collector;
let path: string;

before(async () => {
  fixture = await BackupFixture.open("cli-backup-pipe");
  ({ folder, server, other } = fixture);
  path = await pathWithCollector(folder.path);
  await fixture.done("backup create notes -f whole.collector");
});

after(() => fixture[Symbol.asyncDispose]());

/** Runs a script whose pipelines fail if any of their commands does; `$NEAR` and `$FAR` are the servers. */
function shell(script: string, near = server.url, far = other.url) {
  return runScript(script, {
    cwd: folder.path,
    env: { PATH: path, NEAR: near, FAR: far },
    command: ["bash", "-eo", "pipefail"],
  });
}

/** What is staged of transfers at the servers, either way. */
async function staged(): Promise<string[]> {
  const found: string[] = [];
  for (const data of ["data", "other"]) {
    for (const way of ["incoming", "outgoing", "packing", "installing"]) {
      const names = await readdir(join(folder.path, data, "transfers", way)).catch(() => []);
      found.push(...names.map((name) => `${data}/${way}/${name}`));
    }
  }
  return found;
}

describe("an archive in a pipe", () => {
  it("is the bytes of the archive alone, and everything else is on stderr", async () => {
    const { backupId, storagePath } = JSON.parse(await fixture.done("backup create notes -o json"));
    const script = `collector --url $NEAR backup download ${backupId} -f - 2>said | cmp - data/backups/${storagePath}
      cat said`;
    const { exitCode, output } = await shell(script);
    assert.equal(exitCode, 0, output);
    assert.match(
      output,
      /^wrote default\/notes, 50 records, 1 file, [\d.]+ MB, SHA-256 [0-9a-f]{64}\n$/,
    );
    // In whatever form results are wanted.
    const asJson = `collector --url $NEAR backup download ${backupId} -f - -o json | cmp - data/backups/${storagePath}`;
    assert.equal((await shell(asJson)).exitCode, 0);
  });

  it("goes from one server to another, through what changes it on the way and back", async () => {
    const { exitCode, output } = await shell(`
      collector --url $NEAR backup create notes -f - 2>said | gzip -1 | gunzip |
        collector --url $FAR backup restore -f - --as far/piped`);
    assert.equal(exitCode, 0, output);
    assert.equal(output, "restored 50 records, 1 file into far/piped\n");
    assert.equal(
      await fixture.done("record list piped -n far --limit 0 --meta -o jsonl", other.url),
      await fixture.done("record list notes --limit 0 --meta -o jsonl"),
    );
    await fixture.done("file get piped photo.jpg far.jpg -n far", other.url);
    assert.deepEqual(await readFile(join(folder.path, "far.jpg")), fixture.photo);
    assert.deepEqual(await staged(), []);
  });

  it("replaces a collection only if told so beforehand, as nobody can be asked", async () => {
    const restore = "cat whole.collector | collector --url $FAR backup restore -f - --as far/kept";
    assert.equal((await shell(restore)).exitCode, 0);
    const taken = await shell(restore);
    assert.equal(taken.exitCode, 5, taken.output);
    assert.match((await shell(`${restore} --overwrite`)).output, /say --yes/);
    const replaced = await shell(`${restore} --overwrite --yes`);
    assert.equal(replaced.exitCode, 0, replaced.output);
    assert.deepEqual(await staged(), []);
  });

  it("fails if its reader goes before the end, and leaves nothing at the server", async () => {
    const { exitCode, output } = await shell(
      "collector --url $NEAR backup create notes -f - | head -c 100000 >/dev/null",
    );
    assert.equal(exitCode, 1, output);
    assert.match(output, /not all written: whoever reads it has gone/);
    assert.deepEqual(await staged(), []);
  });

  it("is refused if it was cut, is none or is not there, and leaves nothing at the server", async () => {
    for (const [source, exitCode, message] of [
      ["head -c 3000000 whole.collector", 1, /damaged/],
      ["head -c 100 whole.collector", 1, /not valid|damaged/],
      ["cat whole.collector whole.collector", 1, /damaged/],
      ["cat photo.jpg", 1, /does not start as one/],
      ["true", 1, /nothing came to be read/],
    ] as const) {
      const result = await shell(`${source} | collector --url $FAR backup restore -f - --as never`);
      assert.equal(result.exitCode, exitCode, `${source}: ${result.output}`);
      assert.match(result.output, message, source);
    }
    assert.equal((await fixture.run("collection show never", other.url)).exitCode, 3);
    assert.deepEqual(await staged(), []);
  });

  it("goes on after a cut connection, in both directions", async () => {
    const cutAfter = [2_500_000, 2_500_000];
    await using near = await CuttingProxy.start({ url: server.url, direction: "down", cutAfter });
    await using far = await CuttingProxy.start({ url: other.url, direction: "up", cutAfter });
    const { exitCode, output } = await shell(
      `collector --url $NEAR backup create notes -f - |
        collector --url $FAR backup restore -f - --as far/resumed`,
      near.url,
      far.url,
    );
    assert.equal(exitCode, 0, output);
    assert.match(output, /restored 50 records, 1 file into far\/resumed\n/);
    assert.match(output, /the connection broke/);
    assert.ok(near.cuts > 0 && far.cuts > 0);
  });

  it("is given up at the server when the command is interrupted", async () => {
    const child = spawn(process.execPath, [main, "backup", "restore", "-f", "-", "--as", "never"], {
      env: { ...process.env, COLLECTOR_URL: other.url },
      stdio: ["pipe", "ignore", "pipe"],
    });
    // What is still being written when it goes.
    child.stdin.on("error", () => undefined);
    const said = child.stderr.setEncoding("utf8").toArray();
    const half = createReadStream(join(folder.path, "whole.collector"), { end: 3_000_000 });
    half.pipe(child.stdin, { end: false });
    await waitUntil("half of it is there", 20_000, async () =>
      (await staged()).some((name) => name.includes("incoming")),
    );
    child.kill("SIGTERM");
    const [exitCode] = await once(child, "close");
    assert.equal(exitCode, 130);
    assert.match((await said).join(""), /interrupted/);
    assert.deepEqual(await staged(), []);
  });

  it("is only looked for where a dry run needs it", async () => {
    const { stdout } = await fixture.run("backup restore -f - --as dry --dry-run", other.url);
    assert.match(stdout, /the archive on stdin/);
    assert.match(
      (await fixture.run("backup restore -f - --dry-run", other.url)).stderr,
      /needs --as/,
    );
  });
});

describe("collector backup verify of an archive here", () => {
  it("says that it is valid, from a file or a pipe, and makes nothing of it", async () => {
    const before = await fixture.done("collection list -o json", other.url);
    assert.match(
      await fixture.done("backup verify whole.collector", other.url),
      /^ok: whole\.collector of default\/notes: 50 records, 1 file, [\d.]+ MB\n$/,
    );
    assert.equal(
      await fixture.done("backup verify -f whole.collector -o name", other.url),
      "whole.collector\n",
    );
    const piped = await shell("collector --url $FAR backup verify -f - <whole.collector");
    assert.match(piped.output, /^ok: the archive on stdin of default\/notes/);
    const { isValid, backup } = JSON.parse(
      await fixture.done("backup verify whole.collector -o json", other.url),
    );
    assert.equal(isValid, true);
    assert.equal(backup.recordCount, "50");
    assert.equal(await fixture.done("collection list -o json", other.url), before);
    assert.equal(await fixture.done("backup list", other.url), "");
    assert.deepEqual(await staged(), []);
  });

  it("says what is wrong with it, and where", async () => {
    const bytes = await readFile(join(folder.path, "whole.collector"));
    const at = bytes.byteLength >> 1;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    await writeFile(join(folder.path, "damaged.collector"), bytes);
    const { exitCode, stdout, stderr } = await fixture.run(
      "backup verify damaged.collector",
      other.url,
    );
    assert.equal(exitCode, 1);
    assert.match(stdout, /^PART +AT +PROBLEM\nfiles\/[0-9a-f]+… +\d+ +a block does not/);
    assert.match(stderr, /damaged\.collector cannot be restored/);
    const asJson = await fixture.run("backup verify damaged.collector -o json", other.url);
    assert.equal(JSON.parse(asJson.stdout).isValid ?? false, false);
    assert.equal(JSON.parse(asJson.stderr).code, "BACKUP_INVALID");

    for (const [script, problem] of [
      ["head -c 3000000 whole.collector", /trailer|ends/],
      ["head -c 60 whole.collector", /header|manifest/],
      ["cat photo.jpg", /does not start as one/],
    ] as const) {
      const result = await shell(`${script} | collector --url $FAR backup verify -f -`);
      assert.equal(result.exitCode, 1, result.output);
      assert.match(result.output, problem, script);
    }
    assert.deepEqual(await staged(), []);
  });

  it("says that a base is needed, and reads the archive of a registry", async () => {
    const backups = join(folder.path, "data/backups");
    const base = JSON.parse(await fixture.done("backup create notes -o json"));
    const next = JSON.parse(
      await fixture.done(`backup create notes --base ${base.backupId} -o json`),
    );
    await copyFile(join(backups, next.storagePath), join(folder.path, "next.collector"));
    const { exitCode, stdout } = await fixture.run("backup verify next.collector", other.url);
    assert.equal(exitCode, 1);
    assert.match(stdout, new RegExp(`it is whole, but .* since backup ${base.backupId}`));

    const set = JSON.parse(await fixture.done("backup server create -o json"));
    const registry = set.backups.find(
      ({ content }: { readonly content: string }) => content === "REGISTRY",
    );
    await copyFile(join(backups, registry.storagePath), join(folder.path, "registry.collector"));
    assert.match(
      await fixture.done("backup verify registry.collector", other.url),
      /^ok: registry/,
    );
  });

  it("needs the identity that an encrypted one is for, at the server", async () => {
    const identity = await generateIdentity();
    const identityFile = join(folder.path, "identity.txt");
    await writeFile(identityFile, identity, { mode: 0o600 });
    await using keyed = await createCollector({
      port: 0,
      logLevel: "silent",
      data: join(folder.path, "keyed"),
      backupRecipients: [await identityToRecipient(identity)],
      backupIdentityFile: identityFile,
    });
    const restored = await fixture.run("backup restore whole.collector", keyed.url);
    assert.equal(restored.exitCode, 0, restored.stderr);
    const { backupId } = JSON.parse(await fixture.done("backup create notes -o json", keyed.url));
    const copied = `backup download ${backupId} -f - | cat > encrypted.collector`;
    assert.equal((await shell(`collector --url ${keyed.url} ${copied}`)).exitCode, 0);
    const answer = JSON.parse(
      await fixture.done("backup verify encrypted.collector -o json", keyed.url),
    );
    assert.deepEqual([answer.isValid, answer.backup.encrypted], [true, true]);
    const blind = await fixture.run("backup verify encrypted.collector -o json", other.url);
    assert.notEqual(blind.exitCode, 0);
    assert.equal(JSON.parse(blind.stderr).code, "KEY_UNAVAILABLE");
    assert.deepEqual(await staged(), []);
  });

  it("takes either an id or a file", async () => {
    for (const args of ["", " whole.collector -f whole.collector"]) {
      const { exitCode, stderr } = await fixture.run(`backup verify${args}`);
      assert.equal(exitCode, 2);
      assert.match(stderr, /id of a backup, or -f/);
    }
    assert.equal((await fixture.run("backup verify -f missing.collector")).exitCode, 3);
  });
});
