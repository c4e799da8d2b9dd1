import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

const root = join(import.meta.dirname, "../..");
const tsc = join(root, "node_modules/.bin/tsc");

interface Complaint {
  readonly line: number;
  /** All that the compiler says of the line, its explanations included. */
  readonly text: string;
}

/** What the compiler says of the programs beside this file, by file. */
async function compile(): Promise<ReadonlyMap<string, readonly Complaint[]>> {
  const output = await new Promise<string>((resolve) => {
    const args = ["-p", join(import.meta.dirname, "tsconfig.json"), "--pretty", "false"];
    execFile(tsc, args, { cwd: import.meta.dirname }, (_error, stdout, stderr) =>
      resolve(stdout + stderr),
    );
  });
  const complaints = Map.groupBy(
    output.matchAll(/^programs\/([\w.-]+)\((\d+),\d+\): error TS\d+: (.*(?:\n {2,}.*)*)/gm),
    ([, file = ""]) => file,
  );
  const first = output.split("\n").filter((line) => /\berror TS\d+:/.test(line));
  const found = [...complaints.values()].flat().length;
  assert.equal(found, first.length, output);
  return new Map(
    Array.from(complaints, ([file, matches]) => [
      file,
      matches.map(([, , line, text = ""]) => ({ line: Number(line), text })),
    ]),
  );
}

describe("the types of the package", async () => {
  const complaints = await compile();
  const names = await readdir(join(import.meta.dirname, "programs"));
  for (const name of names) {
    it(`refuse what is wrong in ${name}, and nothing else`, async () => {
      const lines = (await readFile(join(import.meta.dirname, "programs", name), "utf8")).split(
        "\n",
      );
      const marked = lines.flatMap((line, index) => {
        const [, expected] = / \/\/ error: (.+)$/.exec(line) ?? [];
        return expected === undefined ? [] : [{ line: index + 1, expected }];
      });
      assert.ok(marked.length > 4);
      const found = complaints.get(name) ?? [];
      assert.deepEqual(
        [...new Set(found.map(({ line }) => line))],
        marked.map(({ line }) => line),
        JSON.stringify(found, undefined, 1),
      );
      for (const { line, expected } of marked) {
        const texts = found.filter((one) => one.line === line).map(({ text }) => text);
        assert.ok(
          texts.some((text) => text.includes(expected)),
          `${name}:${line} expects ${expected}, got ${texts.join("\n")}`,
        );
      }
    });
  }
});
