import assert from "node:assert/strict";
import { it } from "node:test";
import { runCliHere } from "../support/cli-in-process.ts";

/** Change on purpose: `node --test --test-update-snapshots test/e2e/cli-help.test.ts`. */
it("the help of every command says what it said", async (t) => {
  const { stdout } = await runCliHere(["commands", "-o", "json"], {});
  const commands = JSON.parse(stdout) as readonly { readonly name: string }[];
  const paths = new Set([""]);
  for (const { name } of commands) {
    const words = name.split(" ");
    for (let length = 1; length <= words.length; length += 1) {
      paths.add(words.slice(0, length).join(" "));
    }
  }
  const pages: string[] = [];
  for (const path of [...paths].sort()) {
    const help = await runCliHere([...path.split(" ").filter(Boolean), "--help"], {});
    assert.equal(help.exitCode, 0, path);
    assert.equal(help.stderr, "");
    pages.push(`$ collector ${path}`, help.stdout);
  }
  t.assert.snapshot(pages.join("\n"), { serializers: [(text: string) => text] });
});
