import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { describe, it } from "node:test";
import { runCli } from "../support/run-cli.ts";
import { tempFolder } from "../support/temp-folder.ts";

describe("collector tour", () => {
  it("loads, reads, changes, finds, lists and deletes real records, and leaves nothing behind", async () => {
    await using temporary = await tempFolder("tour");
    const { exitCode, stdout, stderr } = await runCli(["tour", "-o", "jsonl"], {
      // What Node compiles once for all is none of what a tour leaves.
      env: { TMPDIR: temporary.path, NODE_DISABLE_COMPILE_CACHE: "1" },
    });
    assert.equal(exitCode, 0, stderr);
    const steps = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { step: number; tookMs: number; said: string });
    assert.deepEqual(
      steps.map(({ step }) => step),
      steps.map((_, index) => index + 1),
    );
    const said = steps.map((step) => step.said).join("\n");
    assert.match(said, /7,184 records in 8 pages/);
    assert.match(said, /Keflavik International Airport/);
    assert.match(said, /7,183 records, .* 2 indexes/);
    assert.deepEqual(await readdir(temporary.path), []);
  });

  it("leaves nothing behind at Ctrl-C either", async () => {
    await using temporary = await tempFolder("tour");
    let interrupted = false;
    const { exitCode, stderr } = await runCli(["tour", "-o", "jsonl"], {
      // What Node compiles once for all is none of what a tour leaves.
      env: { TMPDIR: temporary.path, NODE_DISABLE_COMPILE_CACHE: "1" },
      onOutput: (child, stdout) => {
        if (interrupted || !stdout.includes("create a collection")) return;
        interrupted = true;
        child.kill("SIGINT");
      },
    });
    assert.equal(exitCode, 130, stderr);
    assert.deepEqual(await readdir(temporary.path), []);
  });
});
