import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { createCollector } from "../../src/server.ts";
import { runCli } from "../support/run-cli.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";

describe("collector file", () => {
  it("puts, shows, lists, gets and deletes files", async () => {
    await using folder = await tempFolder("cli-file");
    const data = join(folder.path, "data");
    await using server = await createCollector({ port: 0, logLevel: "silent", data });
    using client = new TestClient(server.url);
    await client.registerNotes();
    await client.createNotes("notes");
    const cwd = join(folder.path);
    const run = (args: string[], input = "") =>
      runCli(["file", ...args], { cwd, input, env: { COLLECTOR_URL: server.url } });
    const done = async (args: string[], input = "") => {
      const { exitCode, stdout, stderr } = await run(args, input);
      assert.equal(exitCode, 0, stderr);
      return stdout;
    };

    const content = randomBytes(2_000_000);
    await writeFile(join(cwd, "front.png"), content);
    assert.equal(await done(["put", "notes", "front.png"]), "put front.png (2.0 MB)\n");
    await done(["put", "notes", "-", "--name", "texts/hello.txt"], "hello");
    const listed = await done(["list", "notes"]);
    assert.match(listed, /NAME +SIZE +TYPE/);
    assert.match(listed, /front\.png +2\.0 MB +image\/png/);
    assert.match(listed, /texts\/hello\.txt +5 bytes +text\/plain/);
    const one = JSON.parse(await done(["list", "notes", "--prefix", "texts/", "-o", "json"]));
    assert.equal(one.length, 1);
    assert.match(await done(["stat", "notes", "front.png"]), /url +http:.*\/shared\/front\.png/);

    assert.equal(await done(["get", "notes", "texts/hello.txt", "-"]), "hello");
    assert.match(await done(["get", "notes", "front.png", "copy.png"]), /wrote copy\.png/);
    assert.deepEqual(await readFile(join(cwd, "copy.png")), content);

    const taken = await run(["put", "notes", "front.png", "--create", "-o", "json"]);
    assert.equal(taken.exitCode, 5);
    assert.equal(JSON.parse(taken.stderr).code, "FILE_EXISTS");
    const again = await run(["put", "notes", "front.png", "--create", "-o", "yaml"]);
    assert.match(again.stderr, /^---\n(.+\n)*code: FILE_EXISTS\n/);
    const last = await run(["put", "notes", "front.png", "--create", "-o", "yaml", "-o", "json"]);
    assert.equal(JSON.parse(last.stderr).code, "FILE_EXISTS");
    const missing = await run(["get", "notes", "nothing", "there.bin"]);
    assert.equal(missing.exitCode, 3);
    assert.equal((await run(["put", "notes", "no-such-file"])).exitCode, 3);
    assert.equal((await run(["put", "notes", "-"], "x")).exitCode, 2);
    assert.deepEqual((await readdir(cwd)).sort(), ["copy.png", "data", "front.png"]);

    assert.equal(await done(["delete", "notes", "front.png"]), "deleted front.png\n");
    assert.equal((await run(["delete", "notes", "front.png"])).exitCode, 3);
    await done(["delete", "notes", "front.png", "--allow-missing"]);
  });
});
