import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { lstat, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { BackupFixture } from "../support/backup-fixture.ts";
import { pathWithCollector, runScript } from "../support/shell.ts";
import { StallingProxy } from "../support/stalling-proxy.ts";
import { waitUntil } from "../support/wait.ts";

const main = join(import.meta.dirname, "../../src/cli/main.ts");

/** Commands that write content to a file here. */
const commands = [
  "record export notes -f",
  "file get notes photo.jpg",
  "backup download $BACKUP -f",
];

let fixture: BackupFixture;
let path: string;
let backupId: string;
/** Of this test alone. */
let folder: string;

before(async () => {
  fixture = await BackupFixture.open("cli-local-files");
  path = await pathWithCollector(fixture.folder.path);
  backupId = JSON.parse(await fixture.done("backup create notes -o json")).backupId;
});

after(() => fixture[Symbol.asyncDispose]());

beforeEach(() => {
  folder = join(fixture.folder.path, "here");
  execFileSync("mkdir", [folder]);
});

afterEach(() => rm(folder, { recursive: true }));

function shell(script: string) {
  const env = { PATH: path, COLLECTOR_URL: fixture.server.url, BACKUP: backupId };
  return runScript(script, { cwd: folder, env, command: ["bash", "-eo", "pipefail"] });
}

/** Begins a command, and interrupts it once `isUnderWay`. */
async function interrupted(
  args: readonly string[],
  isUnderWay: () => Promise<boolean>,
  url = fixture.server.url,
) {
  const env = { ...process.env, COLLECTOR_URL: url };
  const child = spawn(process.execPath, [main, ...args], {
    cwd: folder,
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const exited = once(child, "exit");
  await waitUntil("the command is under way", 20_000, isUnderWay);
  child.kill("SIGINT");
  const [exitCode] = await Promise.race([exited, sleep(5000, ["it goes on"])]);
  child.kill("SIGKILL");
  return exitCode;
}

describe("what is written to a file here", () => {
  for (const command of commands) {
    it(`goes through a link, a device and a named pipe, which stay: ${command}`, async () => {
      await writeFile(join(folder, "file"), "before");
      await symlink("file", join(folder, "link"));
      await symlink("made", join(folder, "next"));
      await symlink("/dev/null", join(folder, "null"));
      const { exitCode, output } = await shell(`
        collector ${command} plain
        collector ${command} link
        collector ${command} next
        mkfifo pipe; timeout 60 cat pipe > piped & collector ${command} pipe; wait $!
        collector ${command} null`);
      assert.equal(exitCode, 0, output);
      const plain = await readFile(join(folder, "plain"));
      for (const name of ["link", "next", "null"]) {
        assert.ok((await lstat(join(folder, name))).isSymbolicLink(), name);
      }
      assert.ok((await lstat(join(folder, "pipe"))).isFIFO());
      for (const name of ["file", "made", "piped"]) {
        assert.deepEqual(await readFile(join(folder, name)), plain, name);
      }
      const files = ["file", "link", "made", "next", "null", "pipe", "piped", "plain"];
      assert.deepEqual((await readdir(folder)).toSorted(), files);
    });

    it(`is there as a whole or not at all, however little room there is: ${command}`, async () => {
      // The file is a little larger than it may be, in the middle of what is written at once.
      const { output } = await shell(`collector ${command} whole >/dev/null; stat -c %s whole`);
      const blocks = Math.floor((Number(output) - 1) / 1024);
      await rm(join(folder, "whole"));
      const limited = await shell(`ulimit -f ${blocks}; collector ${command} whole`);
      assert.equal(limited.exitCode, 1, limited.output);
      assert.match(limited.output, /error: cannot write whole: it would be larger than files may/);
      assert.deepEqual(await readdir(folder), []);
    });
  }

  it("is not left there in part after Ctrl-C", async () => {
    await using proxy = await StallingProxy.start(fixture.server.url, 2_000_000);
    const isPartial = async (): Promise<boolean> =>
      (await readdir(folder)).some((name) => name.endsWith(".part"));
    const args = ["file", "get", "notes", "photo.jpg"];
    assert.equal(await interrupted(args, isPartial, proxy.url), 130);
    assert.deepEqual(await readdir(folder), []);
  });

  it("waits for whoever reads a named pipe only until Ctrl-C", async () => {
    execFileSync("mkfifo", [join(folder, "pipe")]);
    for (const command of commands) {
      const isUnderWay = () => sleep(1500, true);
      const args = [...command.replace("$BACKUP", backupId).split(" "), "pipe"];
      assert.equal(await interrupted(args, isUnderWay), 130, command);
    }
    assert.deepEqual(await readdir(folder), ["pipe"]);
  });
});
