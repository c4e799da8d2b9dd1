import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Collector } from "../../src/server.ts";
import { BackupFixture } from "../support/backup-fixture.ts";
import { CuttingProxy } from "../support/cutting-proxy.ts";
import type { TempFolder } from "../support/temp-folder.ts";

/** What commands print with `-o json`, as far as it is looked at here. */
interface Answer {
  readonly backupId: string;
  readonly baseBackupId?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly recordCount?: string;
  readonly sizeBytes: string;
  readonly sha256: string;
  readonly storagePath: string;
  readonly resumed: number;
  readonly setId: string;
  readonly backups: readonly { readonly content: string; readonly backupId: string }[];
}

describe("collector backup", () => {
  let fixture: BackupFixture;
  let folder: TempFolder;
  let server: Collector;
  let other: Collector;

  const json = async (args: string, url = server.url): Promise<Answer> =>
    JSON.parse(await fixture.done(`${args} -o json`, url)) as Answer;
  const fail = async (args: string, exitCode: number, url = server.url): Promise<string> => {
    const result = await fixture.run(args, url);
    assert.equal(result.exitCode, exitCode, result.stdout + result.stderr);
    return result.stderr;
  };
  const backUp = async (args = ""): Promise<string> => {
    return (await json(`backup create notes${args}`)).backupId;
  };
  const countOf = async (collection: string, url = server.url): Promise<string> =>
    (await json(`collection show ${collection}`, url)).recordCount ?? "0";

  before(async () => {
    fixture = await BackupFixture.open("cli-backup");
    ({ folder, server, other } = fixture);
  });

  after(() => fixture[Symbol.asyncDispose]());

  it("creates, lists, shows, verifies, restores and removes", async () => {
    const sentence = await fixture.done("backup create notes --meta reason=test --meta a=b=c");
    const [, id = ""] =
      /^backup (\S+) of default\/notes: 50 records, 1 file, [\d.]+ MB\n$/.exec(sentence) ?? [];
    assert.notEqual(id, "", sentence);

    const listed = await fixture.done("backup list notes");
    assert.match(listed, /ID +OF +TIME +RECORDS +FILES +SIZE +KIND +VERIFIED/);
    assert.match(listed, new RegExp(`${id} +default/notes +\\S+Z +50 +1 +[\\d.]+ MB +full`));
    const facts = await fixture.done(`backup show ${id}`);
    assert.match(facts, /reason +test\n/);
    assert.match(facts, /^a +b=c$/m);
    assert.deepEqual((await json(`backup show ${id}`)).metadata, { reason: "test", a: "b=c" });

    assert.match(
      await fixture.done(`backup verify ${id}`),
      /^ok: backup .* of default\/notes: 50 records/,
    );
    assert.match(await fixture.done(`backup show ${id}`), /Verified +\d{4}-/);

    assert.equal(
      await fixture.done(`backup restore ${id} --as restored`),
      "restored 50 records, 1 file into restored\n",
    );
    assert.equal(await countOf("restored"), "50");
    await fixture.done("file get restored photo.jpg copy.jpg");
    assert.deepEqual(await readFile(join(folder.path, "copy.jpg")), fixture.photo);

    assert.match(await fail(`backup rm ${id}`, 2), /--yes/);
    assert.match(
      await fixture.done(`backup rm ${id} --yes`),
      /^deleted backup \S+ \([\d.]+ MB\)\n$/,
    );
    assert.match(await fail(`backup show ${id}`, 3), /error: /);
  });

  it("replaces a collection only if it is told to", async () => {
    const id = await backUp(" --no-files --compression none");
    await fixture.done("clone notes replaced");
    await fixture.done("record rm replaced n1 n2");
    assert.match(await fail(`backup restore ${id} --as replaced`, 5), /replaced/);
    assert.match(await fail(`backup restore ${id} --as replaced --overwrite`, 2), /--yes/);
    assert.equal(await countOf("replaced"), "48");
    await fixture.done(`backup restore ${id} --as replaced --overwrite --yes`);
    assert.equal(await countOf("replaced"), "50");
  });

  it("lists what matches and no more than was asked for", async () => {
    await backUp();
    await backUp();
    const limited = await fixture.run("backup list -o json --limit 1");
    assert.equal(JSON.parse(limited.stdout).length, 1);
    assert.match(limited.stderr, /--limit 0 lists all/);
    assert.ok(
      JSON.parse(await fixture.done("backup list notes --limit 0 --since 1h -o json")).length >= 2,
    );
    assert.equal(await fixture.done("backup list --since 2999-01-01"), "");
    assert.equal(await fixture.done("backup list -n elsewhere"), "");
    assert.match(await fail("backup list --since yesterday", 2), /--since takes a moment/);
  });

  it("holds only what changed in an incremental backup, and keeps its base", async () => {
    const base = await backUp();
    await fixture.done("record rm notes n49");
    const id = await backUp(` --base ${base}`);
    const backup = await json(`backup show ${id}`);
    assert.equal(backup.baseBackupId, base);
    assert.ok(Number(backup.sizeBytes) < 100_000, backup.sizeBytes);
    assert.match(await fixture.done(`backup list notes --limit 1`), /incremental/);
    assert.match(await fail(`backup rm ${base} --yes`, 5), /error: /);
    await fixture.done(`backup verify ${id}`);
    assert.match(
      await fixture.done(`backup restore ${id} --as later`),
      /restored 49 records, 1 file/,
    );
    const next = await json("backup create notes --incremental");
    assert.equal(next.baseBackupId, id);
    const first = await fixture.run("backup create later --incremental");
    assert.match(
      first.stderr,
      /^it holds everything: there is no backup that it could be based on$/m,
    );
    await fixture.done(`record put notes --id n49 -d {"title":"again"}`);
  });

  it("says what is wrong with a damaged backup, and fails", async () => {
    const { backupId, storagePath } = await json("backup create notes --to broken.collector");
    const path = join(folder.path, "data/backups", storagePath);
    const bytes = await readFile(path);
    const at = bytes.byteLength >> 1;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    await writeFile(path, bytes);
    const { exitCode, stdout, stderr } = await fixture.run(`backup verify ${backupId}`);
    assert.equal(exitCode, 1);
    assert.match(stdout, /PART +AT +PROBLEM/);
    assert.match(stderr, /cannot be restored/);
    const asJson = await fixture.run(`backup verify ${backupId} -o json`);
    assert.ok(JSON.parse(asJson.stdout).problems.length > 0);
    assert.equal(JSON.parse(asJson.stderr).code, "BACKUP_INVALID");
    const refused = await fixture.run(`backup restore ${backupId} --as never -o json`);
    assert.equal(JSON.parse(refused.stderr).code, "ARCHIVE_DAMAGED");
    assert.match(await fail("collection show never", 3), /never/);
  });

  it("carries a collection in a file to a server that never saw it", async () => {
    const sentence = await fixture.done("backup create notes -f notes.collector");
    assert.match(
      sentence,
      /^wrote notes\.collector: default\/notes, 50 records, 1 file, [\d.]+ MB\n/,
    );
    const restored = await fixture.done("backup restore -f notes.collector", other.url);
    assert.equal(restored, "restored 50 records, 1 file\n");
    assert.equal(
      await fixture.done("record list notes --limit 0 --meta -o jsonl", other.url),
      await fixture.done("record list notes --limit 0 --meta -o jsonl"),
    );
    await fixture.done("file get notes photo.jpg far.jpg", other.url);
    assert.deepEqual(await readFile(join(folder.path, "far.jpg")), fixture.photo);

    const taken = await fixture.run("backup restore -f notes.collector -o json", other.url);
    assert.equal(taken.exitCode, 5);
    assert.equal(JSON.parse(taken.stderr).code, "COLLECTION_EXISTS");
    await fixture.done("backup restore -f notes.collector --overwrite --yes", other.url);
    await fixture.done("backup restore -f notes.collector --as far/away", other.url);
    // The name of a file that is here needs no -f.
    await fixture.done("backup restore notes.collector --as far/again", other.url);
    assert.match(
      await fixture.done("backup verify notes.collector", other.url),
      /^ok: notes\.collector of/,
    );
    assert.match(
      await fail("backup restore notes.collector -f notes.collector", 2, other.url),
      /id of a backup, or -f/,
    );
    assert.equal(await countOf("away -n far", other.url), "50");
  });

  it("writes a backup of the server to a file", async () => {
    const id = await backUp();
    const { sha256 } = await json(`backup show ${id}`);
    const answer = await json(`backup download ${id} -f downloaded.collector`);
    assert.equal(answer.sha256, sha256);
    await fixture.done("backup restore -f downloaded.collector --as downloaded", other.url);
    assert.equal(await countOf("downloaded", other.url), "50");
  });

  it("goes on after a cut connection, in both directions", async () => {
    const cutAfter = [2_500_000, 2_500_000];
    {
      await using proxy = await CuttingProxy.start({
        url: server.url,
        direction: "down",
        cutAfter,
      });
      const answer = await json("backup create notes -f resumed.collector", proxy.url);
      assert.ok(proxy.cuts > 0);
      assert.equal(answer.resumed, proxy.cuts);
    }
    await using proxy = await CuttingProxy.start({ url: other.url, direction: "up", cutAfter });
    const { stdout, stderr, exitCode } = await fixture.run(
      "backup restore -f resumed.collector --as resumed",
      proxy.url,
    );
    assert.equal(exitCode, 0, stderr);
    assert.equal(stdout, "restored 50 records, 1 file into resumed\n");
    assert.ok(proxy.cuts > 0);
    assert.match(stderr, /the connection broke/);
    assert.equal(await countOf("resumed", other.url), "50");
  });

  it("leaves no file behind when it fails", async () => {
    const before = await readdir(folder.path);
    assert.match(await fail("backup create nothing -f nothing.collector", 3), /nothing/);
    assert.match(await fail("backup create notes -f no/folder/x", 1), /no such folder/);
    assert.match(await fail("backup create notes -f x --meta a=b", 2), /exclude each other/);
    assert.match(await fail("backup restore", 2), /id of a backup, or -f/);
    assert.match(await fail("backup restore -f missing.collector", 3), /cannot read missing/);
    await writeFile(join(folder.path, "photo.txt"), "no archive at all");
    const refused = await fixture.run("backup restore -f photo.txt -o json");
    assert.equal(JSON.parse(refused.stderr).code, "ARCHIVE_INVALID");
    assert.match(await fail("backup verify 0198c0de", 3), /error: /);
    assert.deepEqual(await readdir(folder.path), [...before, "photo.txt"].sort());
  });
});
