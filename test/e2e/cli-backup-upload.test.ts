import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type CliResult, runCli } from "../support/run-cli.ts";
import { SetServer } from "../support/set-server.ts";

describe("collector backup server download, and backup upload", () => {
  let server: SetServer;
  let other: SetServer;
  let setId: string;

  const run = (args: string, to = server): Promise<CliResult> =>
    runCli(args.split(" "), { cwd: server.folder.path, env: { COLLECTOR_URL: to.collector.url } });
  const done = async (args: string, to = server): Promise<CliResult> => {
    const result = await run(args, to);
    assert.equal(result.exitCode, 0, result.stderr);
    return result;
  };
  const inFolder = (name: string): string => join(server.folder.path, "saved", name);

  before(async () => {
    server = await SetServer.open();
    other = await SetServer.open();
    await server.fill();
    await done("backup server create");
    const second = await done("backup server create --incremental");
    [, setId = ""] = /^set (\S+): 4 backups$/m.exec(second.stderr) ?? [];
    assert.notEqual(setId, "", second.stderr);
  });

  after(async () => {
    await server[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();
  });

  it("writes a set, and what it is based on, to a folder here", async () => {
    const { stdout } = await done(`backup server download ${setId} --folder saved`);
    // A registry and three collections, and the three that those are based on.
    assert.match(stdout, new RegExp(`^set ${setId}: 7 archives in saved, [\\d.]+ kB$`, "m"));
    assert.equal((await readdir(inFolder(""))).length, 7);
  });

  it("fetches again only what is not there as it should be", async () => {
    const [kept = "", damaged = ""] = await readdir(inFolder(""));
    const before = await readFile(inFolder(damaged));
    await writeFile(inFolder(damaged), Buffer.alloc(before.length));
    await rm(inFolder(kept));
    await done(`backup server download ${setId} --folder saved`);
    assert.ok(before.equals(await readFile(inFolder(damaged))));
    assert.equal((await readdir(inFolder(""))).length, 7);
  });

  it("has another server keep them, from which it restores all", async () => {
    const { stdout } = await done("backup upload saved", other);
    assert.equal(stdout.trim().split("\n").length, 8);
    const all = await done(`backup server restore ${setId} --overwrite --yes`, other);
    assert.match(all.stdout, /^registry +yes$/m);
    assert.match(all.stdout, /^default\/notes +20 records, 1 file$/m);
    const listed = await done("backup list -o json", other);
    assert.equal((JSON.parse(listed.stdout) as { sha256: string }[]).every(hasDigest), true);
    // Again, as after a cut: nothing is new.
    await done("backup upload saved", other);
    assert.equal((await done("backup list", other)).stdout.trim().split("\n").length, 8);
  });

  it("repairs what the server has lost of them, and leaves valid all that is based on it", async () => {
    const { backups } = await other.client.repo.listBackups({ collection: { name: "notes" } });
    const [changes, full] = backups;
    assert.ok(changes !== undefined && full !== undefined);
    assert.equal(changes.baseBackupId, full.backupId);
    await writeFile(join(other.backupFolder, full.storagePath), "");
    const invalid = await run(`backup verify ${changes.backupId}`, other);
    assert.equal(invalid.exitCode, 1);
    const { stdout } = await done("backup upload saved", other);
    assert.doesNotMatch(stdout, /invalid/);
    for (const { backupId } of backups) await done(`backup verify ${backupId}`, other);
  });

  it("writes one backup with what it is based on, which is restored elsewhere", async () => {
    const listed = await done("backup list notes -o json");
    const [{ backupId }] = JSON.parse(listed.stdout) as [{ readonly backupId: string }];
    const refused = await run(`backup download ${backupId} -f alone.collector`);
    assert.equal(refused.exitCode, 5);
    assert.match(refused.stderr, /is incremental[^]*--folder takes it with those/);
    const { stdout } = await done(`backup download ${backupId} --folder one`);
    assert.match(stdout, new RegExp(`^backup ${backupId}: 2 archives in one, [\\d.]+ kB$`, "m"));
    await using third = await SetServer.open();
    await done("backup upload one", third);
    await done(`backup restore ${backupId} --as notes-again`, third);
    const found = await done("record list notes-again --limit 0 -o json", third);
    assert.equal((JSON.parse(found.stdout) as readonly unknown[]).length, 20);
  });

  it("says what cannot be kept, and keeps the others", async () => {
    await using third = await SetServer.open();
    await writeFile(inFolder("broken.collector"), "no archive");
    await writeFile(inFolder("0.collector"), "");
    await mkdir(inFolder("1.collector"));
    const result = await run("backup upload saved missing.collector", third);
    assert.equal(result.exitCode, 3);
    const upload = await run("backup upload saved", third);
    for (const name of ["0.collector", "1.collector", "broken.collector"]) {
      await rm(inFolder(name), { recursive: true });
    }
    assert.equal(upload.exitCode, 1);
    assert.match(upload.stderr, /not kept: saved\/broken\.collector: /);
    assert.match(upload.stderr, /not kept: saved\/0\.collector: there is no archive: the file is/);
    assert.match(upload.stderr, /2 of 9 archives could not be kept/);
    assert.equal((await done("backup list", third)).stdout.trim().split("\n").length, 8);
  });

  it("leaves a file alone that is in the way there, and keeps the others", async () => {
    await using third = await SetServer.open();
    const listed = await done(`backup list --set ${setId} -o json`);
    const [newest] = JSON.parse(listed.stdout) as readonly { readonly backupId: string }[];
    const name = `${newest?.backupId}.collector`;
    await mkdir(join(third.backupFolder, setId), { recursive: true });
    await writeFile(join(third.backupFolder, setId, name), "in the way");
    const result = await run("backup upload saved", third);
    assert.equal(result.exitCode, 1);
    assert.match(result.stderr, /not kept: .*import or remove it/);
    assert.match(result.stderr, /1 of 7 archives could not be kept/);
    assert.equal(await readFile(join(third.backupFolder, setId, name), "utf8"), "in the way");
  });

  it("sends what others are based on first, in whatever order they are named", async () => {
    await using third = await SetServer.open();
    const names = (await readdir(inFolder(""))).toSorted().toReversed();
    await done(`backup upload ${names.map((name) => `saved/${name}`).join(" ")}`, third);
    assert.equal((await done("backup list", third)).stdout.trim().split("\n").length, 8);
  });

  it("says what is wrong with what it is given", async () => {
    const id = "0198c0de-7a2b-7f00-8000-000000000001";
    await writeFile(inFolder("file"), "");
    const taken = await run(`backup server download ${setId} --folder saved/file`);
    await rm(inFolder("file"));
    assert.match(taken.stderr, /cannot write saved\/file: there is a file of that name/);
    const missing = await run(`backup server download ${id} --folder f`);
    assert.equal(missing.exitCode, 3);
    assert.match(missing.stderr, /no backup of set/);
    assert.equal((await run("backup upload nothing-here")).exitCode, 3);
    assert.equal((await run(`backup download ${id} --folder f`)).exitCode, 3);
    assert.match((await run(`backup download ${id}`)).stderr, /takes -f FILE or --folder FOLDER/);
    assert.match((await run(`backup download ${id} -f f --folder f`)).stderr, /exclude each other/);
    const empty = await run("backup upload backups/none");
    assert.equal(empty.exitCode, 3);
    await done("backup create notes -f sent.collector");
    const sent = await run("backup upload sent.collector");
    assert.equal(sent.exitCode, 1);
    assert.match(sent.stderr, /made to be sent, not as a backup/);
  });
});

function hasDigest({ sha256 }: { readonly sha256: string }): boolean {
  return /^[0-9a-f]{64}$/.test(sha256);
}
