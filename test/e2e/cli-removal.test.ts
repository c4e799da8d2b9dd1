import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { openerOf } from "../../src/cli/open-in-browser.ts";
import { runCliHere } from "../support/cli-in-process.ts";
import { openCollector, type TestCollector } from "../support/pricing.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";

const shop = join(import.meta.dirname, "../../examples/shop.proto");
const pricing = join(import.meta.dirname, "../../examples/pricing.proto");
const main = join(import.meta.dirname, "../../src/cli/main.ts");

let folder: TempFolder;
let server: TestCollector;

const run = async (exitCode: number, line: string, ...more: readonly string[]) => {
  const env = { COLLECTOR_URL: server.url, XDG_CONFIG_HOME: folder.path };
  const result = await runCliHere([...line.split(" "), ...more], env);
  assert.equal(result.exitCode, exitCode, result.stdout + result.stderr);
  return result;
};
const succeed = async (line: string, ...more: readonly string[]): Promise<string> =>
  (await run(0, line, ...more)).stdout;
const json = async (line: string): Promise<Record<string, unknown>> =>
  JSON.parse(await succeed(`${line} -o json`));

before(async () => {
  folder = await tempFolder("cli-removal");
  server = await openCollector();
  await succeed(`schema add ${shop} ${pricing}`);
  await succeed("collection create products --type shop.v1.Product --index price_cents");
  await succeed("record put products --id a -d", '{"title": "Pot"}');
  await succeed("record put products --id b -d", '{"title": "Cup"}');
  await writeFile(join(folder.path, "note.txt"), "fine");
  await succeed(`file put products ${join(folder.path, "note.txt")}`);
});

after(async () => {
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

describe("what destroys something", () => {
  /** What there is, as one text. */
  const everything = async (): Promise<string> => {
    const lines = [
      "schema list",
      "collection show products",
      "record list products",
      "file list products",
      "backup list",
      "backup policy list",
      "namespace list",
    ];
    const texts: string[] = [];
    for (const line of lines) texts.push(await succeed(`${line} -o json`));
    return texts.join("\n").replace(/"revision".*|"storageSizeBytes".*/g, "");
  };

  it("only says what would go with --dry-run", async () => {
    await succeed("namespace create empty");
    await succeed("backup policy put nightly --every 6h");
    const backupId = String((await json("backup create products"))["backupId"]);
    const before = await everything();
    const expected: readonly (readonly [string, RegExp])[] = [
      ["collection rm products", /^would delete default\/products with 2 records, 1 file; /],
      ["record rm products a", /^would delete a; /],
      ["record rm products a b", /^would delete 2 records; /],
      ["file rm products note.txt", /^would delete note\.txt \(4 bytes\); /],
      ["namespace rm empty", /^would delete empty; /],
      [`backup rm ${backupId}`, /^would delete backup \S+ of default\/products: 2 records/],
      ["backup policy rm nightly", /^would delete policy nightly of everything, every 6h; /],
      [`backup restore ${backupId} --as other`, /^would make other from backup /],
      [
        `backup restore ${backupId} --overwrite`,
        /^would replace default\/products, which has 2 records, 1 file, by backup /,
      ],
      [`backup restore -f ${shop} --as fresh`, /^would make fresh from \S+ \(\d+ bytes\); /],
      ["schema rm pricing.proto", /^would remove pricing\.proto with 3 types; /],
      ["collection alter products --index title", /^\+ index on title\n- index on price_cents\n$/],
      ["collection alter products --no-text", /^- full-text search\n$/],
    ];
    for (const [line, text] of expected) {
      assert.match(await succeed(`${line} --dry-run`), text, line);
    }
    assert.equal(await everything(), before);
    const told = await json("record rm products a --dry-run");
    assert.deepEqual(told, { ids: ["a"], dryRun: true });
  });

  it("fails with --dry-run where it would fail without", async () => {
    await run(3, "record rm products nobody --dry-run");
    await run(3, "collection rm nothing --dry-run");
    await run(5, "schema rm shop.proto --dry-run");
    await run(3, "file rm products nothing.txt --dry-run");
    const [backup] = JSON.parse(await succeed("backup list products -o json"));
    const refused = await run(5, `backup restore ${backup.backupId} --dry-run`);
    assert.match(refused.stderr, /default\/products already\n.*--overwrite/);
    await run(2, `backup restore -f ${shop} --dry-run`);
  });

  it("says what a set of backups would replace", async () => {
    const setId = String((await json("backup server create"))["setId"]);
    const told = await run(0, `backup server restore ${setId} --overwrite --dry-run`);
    assert.match(told.stdout, /default\/products +2 records, 1 file, .* replace 2 records, 1 file/);
    assert.match(told.stderr, /dry run/);
    const refused = await run(1, `backup server restore ${setId} --dry-run`);
    assert.match(refused.stdout, /be refused: .*--overwrite/);
    assert.match(refused.stderr, /1 of 1 backup would be refused/);
    await run(3, "backup server restore nothing --dry-run");
  });

  it("asks before it drops vectors that came beside records", async () => {
    await succeed("collection create pictures --type shop.v1.Product --vector image:2");
    const alter = "collection alter pictures --vector other:2";
    assert.match(await succeed(`${alter} --dry-run`), /- vector image, with the vectors/);
    assert.match((await run(2, alter)).stderr, /will not drop vector image.*\n.*--yes/);
    await succeed(`${alter} --yes`);
  });

  it("asks on a terminal, and never with --no-input", async () => {
    assert.match((await run(2, "collection rm products")).stderr, /unasked\n {2}say --yes/);
    const refused = await run(2, "collection rm products --no-input -o json");
    const { code, hint, retryable } = JSON.parse(refused.stderr);
    assert.deepEqual([code, hint, retryable], ["USAGE", "say --yes", false]);
    const command = `"${process.execPath}" "${main}" collection rm products`;
    const asked = await onTerminal(command, "n\r");
    assert.match(asked, /delete default\/products with 2 records, 1 file\? \[y\/N\]/);
    assert.match(asked, /nothing was changed/);
    const unasked = await onTerminal(`${command} --no-input`);
    assert.doesNotMatch(unasked, /\[y\/N\]/);
    assert.match(unasked, /say --yes/);
    assert.equal((await json("collection show products"))["recordCount"], "2");
    await onTerminal(command, "y\r");
    assert.match((await run(3, "collection show products")).stderr, /products/);
  });
});

describe("collector open", () => {
  it("checks the server and prints its addresses, without a browser off a terminal", async () => {
    const { stdout, stderr } = await run(0, "open");
    assert.match(stdout, new RegExp(`^Server +${server.url} \\(version [\\d.]+, ok\\)\n`));
    assert.match(stdout, new RegExp(`^JSON +curl .* ${server.url}/collector`, "m"));
    assert.equal(stderr, "");
    const { health, pages } = await json("open");
    assert.equal(health, "ok");
    for (const url of Object.values(pages as Record<string, string>)) {
      assert.notEqual((await fetch(url)).status, 500, url);
    }
    const down = await runCliHere(["open"], { COLLECTOR_URL: "http://127.0.0.1:1" });
    assert.deepEqual([down.exitCode, down.stdout], [6, ""]);
  });

  it("shows the page in the browser on a terminal, and does without one", async () => {
    const browser = join(folder.path, "browser");
    const shown = join(folder.path, "shown");
    await writeFile(browser, `#!/bin/sh\necho "$1" > ${shown}\n`);
    await chmod(browser, 0o755);
    const command = `"${process.execPath}" "${main}" open`;
    assert.match(await onTerminal(`BROWSER=${browser} ${command}`), /shown in the browser/);
    assert.equal(await readFile(shown, "utf8"), `${server.url}/\n`);
    const none = "env -u DISPLAY -u WAYLAND_DISPLAY -u BROWSER";
    assert.match(await onTerminal(`${none} ${command}; echo "ended $?"`), /ended 0/);
    assert.match(await onTerminal(`BROWSER=/nowhere ${command}`), /no `\/nowhere` here/);
    assert.doesNotMatch(await onTerminal(`BROWSER=${browser} ${command} --no-browser`), /shown in/);
  });

  it("takes the program that the system has for it", () => {
    const url = "http://h/?a&b";
    assert.deepEqual(openerOf(url, {}, "darwin"), ["open", url]);
    assert.deepEqual(openerOf(url, {}, "linux"), []);
    assert.deepEqual(openerOf(url, { DISPLAY: ":0" }, "linux"), ["xdg-open", url]);
    assert.deepEqual(openerOf(url, { BROWSER: "w3m" }, "darwin"), ["w3m", url]);
    assert.equal(openerOf(url, {}, "win32")[0], "rundll32");
  });
});

/** What a command says on a terminal, when it is asked and answered. */
async function onTerminal(command: string, answer?: string): Promise<string> {
  const child = spawn("script", ["-qec", command, "/dev/null"], {
    env: { ...process.env, COLLECTOR_URL: server.url, TERM: "xterm" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  let text = "";
  for await (const chunk of child.stdout.setEncoding("utf8")) {
    text += chunk;
    if (answer !== undefined && text.includes("[y/N]")) {
      child.stdin.write(answer);
      answer = undefined;
    }
  }
  return text;
}
