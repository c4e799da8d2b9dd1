import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Collector, createCollector } from "../../src/server.ts";
import { noteItem } from "../support/notes.ts";
import { type CliResult, runCli } from "../support/run-cli.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";

describe("collector backup policy", () => {
  let folder: TempFolder;
  let server: Collector;

  const run = (...args: readonly string[]): Promise<CliResult> =>
    runCli(["backup", "policy", ...args], {
      cwd: folder.path,
      env: { COLLECTOR_URL: server.url },
    });
  const done = async (...args: readonly string[]): Promise<string> => {
    const { exitCode, stdout, stderr } = await run(...args);
    assert.equal(exitCode, 0, stderr);
    return stdout;
  };
  const fail = async (exitCode: number, ...args: readonly string[]): Promise<string> => {
    const result = await run(...args);
    assert.equal(result.exitCode, exitCode, result.stdout + result.stderr);
    return result.stderr;
  };

  before(async () => {
    folder = await tempFolder("cli-policy");
    server = await createCollector({ port: 0, logLevel: "silent", data: folder.path });
    using client = new TestClient(server.url);
    await client.registerNotes();
    for (const collectionName of ["products", "orders"]) {
      await client.createNotes(collectionName);
      await client.records.create({ collectionName, item: noteItem(1) });
    }
  });

  after(async () => {
    await server[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  it("puts, lists, shows and removes", async () => {
    assert.equal(await done("list"), "");
    const rules = ["--keep-daily", "7", "--keep-weekly", "4", "--keep-within", "2d"];
    const put = await done("put", "nightly", "--cron", "0 3 * * *", ...rules, "--meta", "team=ops");
    assert.match(put, /^put nightly, next run \d{4}-\d\d-\d\dT03:00:00Z\n$/);
    await done("put", "shop", "--collection", "shop/products", "--every", "6h", "--suspend");
    const listed = await done("list");
    assert.match(listed, /NAME +OF +WHEN +KEEPS +NEXT +LAST RUN/);
    assert.match(listed, /nightly +everything +0 3 \* \* \* +within 2d, daily 7, weekly 4 +\d{4}/);
    assert.match(listed, /shop +shop\/products +suspended +all/);
    const shown = JSON.parse(await done("show", "nightly", "-o", "json")) as object;
    assert.ok("metadata" in shown && "nextRunTime" in shown);
    assert.deepEqual(shown.metadata, { team: "ops" });
    await done("put", "whole", "--whole-server", "--keep-last", "3");
    assert.match(await done("list"), /whole +whole server +on demand +last 3/);
    await done("rm", "whole", "--yes");
    const inIndia = await done(
      "put",
      "nightly",
      "--cron",
      "0 3 * * *",
      "--time-zone",
      "Asia/Kolkata",
    );
    assert.match(inIndia, /^put nightly, next run \d{4}-\d\d-\d\dT21:30:00Z\n$/);
    assert.match(await done("list"), /nightly +everything +0 3 \* \* \* Asia\/Kolkata +all/);
    assert.match(await fail(2, "rm", "shop"), /--yes/);
    assert.equal(await done("rm", "shop", "--yes"), "deleted policy shop\n");
    assert.match(await fail(3, "show", "shop"), /no backup policy/);
    await done("rm", "nightly", "--yes");
  });

  it("says what is wrong with a policy, and keeps it out", async () => {
    const cron = await fail(1, "put", "p", "--cron", "0 25 * * *", "--full-every", "40");
    assert.match(cron, /policy\.cron: field 2 \(hour\), `25`, has `25`; valid is 0 to 23/);
    assert.match(cron, /policy\.full_every: is 40/);
    const zone = await fail(1, "put", "p", "--cron", "0 3 * * *", "--time-zone", "Mars");
    assert.match(zone, /policy\.time_zone: is none that this server knows/);
    assert.match(await fail(1, "put", "p", "--every", "30s"), /policy\.interval: is 30 s/);
    assert.match(await fail(2, "put", "p", "--every", "soon"), /--every takes a time/);
    assert.match(await fail(2, "put", "p", "--cron", "* * * * *", "--every", "1h"), /exclude/);
    assert.equal(await done("put", "p", "--every", "1h", "--dry-run"), "p is valid\n");
    assert.match(await fail(3, "run", "p"), /no backup policy/);
  });

  it("runs, and says beforehand what that removes", async () => {
    await done("put", "p", "--collection", "products", "--keep-last", "1");
    assert.equal(await done("run", "p"), "p: made 1 backup, removed 0\n");
    const { stdout, stderr } = await run("run", "p", "--dry-run");
    assert.equal(stdout, "p: would remove 1\n");
    const [, foretold = ""] = /would remove (\S+)/.exec(stderr) ?? [];
    const again = await run("run", "p");
    assert.equal(again.stdout, "p: made 1 backup, removed 1\n");
    assert.ok(again.stderr.includes(`removed ${foretold}`));
    assert.equal(await done("run", "p", "--prune-only"), "p: removed 0\n");
    assert.match(await done("show", "p"), /RUN +MADE +SIZE +REMOVED +TOOK +WENT WRONG\n/);
    assert.match(await done("show", "p"), /Z +1 +[\d.]+ kB +1 +[\d.]+ s/);
    assert.match(await done("list"), /p +default\/products +on demand +last 1 +ok \d{4}/);
  });

  it("fails if a run does", async () => {
    await done("put", "bad", "--collection", "nothing");
    const failed = await run("run", "bad", "-o", "json");
    assert.equal(failed.exitCode, 1);
    assert.match(failed.stderr, /POLICY_RUN_FAILED/);
    assert.match(failed.stderr, /namespace default has no collection nothing/);
    assert.match(await done("list"), /bad .* failed/);
  });
});
