import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type CliResult, runCli } from "../support/run-cli.ts";
import { SetServer } from "../support/set-server.ts";

/** What commands print with `-o json`, as far as it is looked at here. */
interface Answer {
  readonly setId: string;
  readonly backups: readonly { readonly content: string; readonly backupId: string }[];
  readonly restored: readonly { readonly recordsRestored?: string }[];
}

describe("collector backup server", () => {
  let server: SetServer;
  let other: SetServer;

  const run = (args: string, to = server): Promise<CliResult> =>
    runCli(args.split(" "), { cwd: to.folder.path, env: { COLLECTOR_URL: to.collector.url } });
  const done = async (args: string, to = server): Promise<CliResult> => {
    const result = await run(args, to);
    assert.equal(result.exitCode, 0, result.stderr);
    return result;
  };
  const json = async (args: string, to = server): Promise<Answer> =>
    JSON.parse((await done(`${args} -o json`, to)).stdout) as Answer;

  before(async () => {
    server = await SetServer.open();
    other = await SetServer.open();
    await server.fill();
  });

  after(async () => {
    await server[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();
  });

  it("creates, lists, verifies, imports and restores a set", async () => {
    const created = await done("backup server create --meta why=test --compression none");
    assert.match(created.stdout, /registry +\S+Z +7 +0 +[\d.]+ kB +full/);
    assert.match(created.stdout, /default\/notes +\S+Z +20 +1/);
    const [, setId = ""] = /^set (\S+): 4 backups$/m.exec(created.stderr) ?? [];
    assert.notEqual(setId, "", created.stderr);
    const listed = await done(`backup list --set ${setId}`);
    assert.equal(listed.stdout.trim().split("\n").length, 5);
    const next = await json("backup server create --no-files --incremental");
    const [registry] = next.backups;
    assert.equal(registry?.content, "REGISTRY");
    const verified = await done(`backup verify ${registry?.backupId}`);
    assert.match(verified.stdout, /^ok: backup \S+ of registry: 7 records/);

    await other.takeFolder(server);
    await writeFile(join(other.backupFolder, "broken.collector"), "no archive");
    const imported = await run("backup import", other);
    assert.equal(imported.exitCode, 1, imported.stderr);
    assert.match(imported.stderr, /not taken: broken\.collector: does not start as an archive/);
    assert.match(imported.stderr, /imported 8 backups\nerror: 1 archive could not be taken\n/);
    await rm(join(other.backupFolder, "broken.collector"));
    // What is known by now is no failure.
    assert.match((await done("backup import", other)).stderr, /imported 0 backups/);
    const one = await done(`backup server restore ${setId} --collection shop/prices`, other);
    assert.match(one.stdout, /^shop\/prices +1 record$/m);
    const dry = await run(`backup server restore ${setId} --dry-run`, other);
    const all = await run(`backup server restore ${setId}`, other);
    assert.equal(all.exitCode, 1, all.stderr);
    assert.equal(dry.exitCode, all.exitCode, dry.stderr);
    assert.match(dry.stdout, /^shop\/prices +1 record, .* +be refused: it is there/m);
    assert.match(dry.stdout, /^default\/notes +20 records, 1 file, .* +make it$/m);
    assert.match(dry.stderr, /dry run\n.*1 of 3 backups would be refused/);
    const rehearsed = `backup server restore ${setId} --dry-run --collection`;
    assert.equal((await run(`${rehearsed} shop/prices`, other)).exitCode, 1);
    await done(`${rehearsed} shop/prices --overwrite`, other);
    assert.match(all.stderr, /2 of 4 backups could not be restored/);
    assert.match(all.stdout, /^shop\/prices +there is a collection prices/m);
    assert.match(all.stdout, /^registry +namespace shop is there with other settings/m);
    assert.match(all.stdout, /^default\/notes +20 records, 1 file$/m);
    const asked = await run(`backup server restore ${setId} --overwrite`, other);
    assert.match(asked.stderr, /--yes/);
    const answer = await json(`backup server restore ${setId} --overwrite --yes`, other);
    assert.equal(answer.restored.length, 4);
    const again = await done(`backup server restore ${setId} --overwrite --yes`, other);
    assert.match(again.stdout, /^registry +yes$/m);
  });

  it("takes one namespace, and puts it where it is told to", async () => {
    const { backups } = await json("backup server create -n shop --to kept/shop");
    assert.equal(backups.length, 2);
    const refused = await run("backup server create --to ../out");
    assert.match(refused.stderr, /dest_path/);
    assert.notEqual(refused.exitCode, 0);
    const missing = await run("backup server restore 0198c0de-7a2b-7f00-8000-000000000001");
    assert.match(missing.stderr, /no backup of this set/);
    assert.equal(missing.exitCode, 3);
  });
});
