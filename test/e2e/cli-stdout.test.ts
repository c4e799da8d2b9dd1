import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { BackupFixture } from "../support/backup-fixture.ts";
import { pathWithCollector, runScript } from "../support/shell.ts";

const main = join(import.meta.dirname, "../../src/cli/main.ts");

let fixture: BackupFixture;
let path: string;
let backupId: string;

before(async () => {
  fixture = await BackupFixture.open("cli-stdout");
  path = await pathWithCollector(fixture.folder.path);
  backupId = JSON.parse(await fixture.done("backup create notes -o json")).backupId;
});

after(() => fixture[Symbol.asyncDispose]());

function shell(script: string) {
  const env = { PATH: path, COLLECTOR_URL: fixture.server.url, BACKUP: backupId };
  return runScript(script, { cwd: fixture.folder.path, env, command: ["bash", "-eo", "pipefail"] });
}

/** What is worth nothing in part. */
const contents = [
  "record export notes",
  "file get notes photo.jpg -",
  "backup download $BACKUP -f -",
];

const lines = ["--help", "status", "collection list", "record list notes", "commands"];

describe("what cannot be written to stdout", () => {
  for (const command of [
    ...lines,
    ...contents,
    "start --port 0 --data started --log-level error",
  ]) {
    it(`is a failure that is told in a line: ${command}`, async () => {
      const { exitCode, output } = await shell(`collector ${command} >/dev/full`);
      assert.equal(exitCode, 1, output);
      assert.equal(output, "error: cannot write stdout: there is no room left\n");
    });
  }

  it("is none if there is nothing to write", async () => {
    const { exitCode, output } = await shell("collector mesh list >/dev/full");
    assert.equal(exitCode, 0, output);
  });

  it("is told with -o json as all failures are", async () => {
    const { output } = await shell("collector collection list -o json >/dev/full");
    assert.equal(JSON.parse(output).code, "FILE_UNWRITABLE");
  });

  for (const command of contents) {
    it(`fails also if a part of the last piece has room: ${command}`, async () => {
      const written = join(fixture.folder.path, "written");
      assert.equal((await shell(`collector ${command} >written 2>&-`)).exitCode, 0);
      const { size } = await stat(written);
      const limit = Math.floor((size - 1) / 1024);
      const { exitCode, output } = await shell(`ulimit -f ${limit}; collector ${command} >written`);
      assert.equal(exitCode, 1, output);
      assert.match(output, /^error: cannot write stdout: it would be larger than files may be/m);
      await rm(written);
    });
  }

  it("is the failure of a content, and no failure of lines, whose reader has gone", async () => {
    for (const command of [...lines, ...contents]) {
      // Who reads has gone before anything is written.
      const script = `set +e; collector ${command} 2>said | true; echo $PIPESTATUS`;
      const { output } = await shell(script);
      const said = await readFile(join(fixture.folder.path, "said"), "utf8");
      const isContent = contents.includes(command);
      assert.equal(output, isContent ? "1\n" : "0\n", command);
      const failure = "error: stdout is not all written: whoever reads it has gone\n";
      assert.equal(said, isContent ? failure : "", command);
    }
  });

  it("waits for a slow reader only until it is interrupted", async () => {
    const env = { ...process.env, COLLECTOR_URL: fixture.server.url };
    for (const command of ["file get notes photo.jpg -", "backup create notes -f -"]) {
      const child = spawn(process.execPath, [main, ...command.split(" ")], {
        env,
        stdio: ["ignore", "pipe", "ignore"],
      });
      const exited = once(child, "exit");
      await once(child.stdout, "readable");
      await sleep(200);
      child.kill("SIGTERM");
      const [exitCode] = await Promise.race([exited, sleep(5000, ["it goes on"])]);
      child.kill("SIGKILL");
      assert.equal(exitCode, 130, command);
    }
  });
});

describe("what cannot be written to stderr", () => {
  it("is no failure of its own", async () => {
    const found = await shell("collector record export notes 2>/dev/full | wc -l");
    assert.deepEqual([found.exitCode, found.output.trim()], [0, "50"]);
    const { exitCode, output } = await shell("collector record get notes nobody 2>/dev/full");
    assert.deepEqual([exitCode, output], [3, ""]);
  });
});
