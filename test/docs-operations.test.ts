import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { parse } from "yaml";
import { defaultConfig, loadConfig } from "../src/config.ts";
import { defaultLimits } from "../src/lib/limits.ts";
import { Metrics } from "../src/rpc/metrics.ts";
import { dataFormat } from "../src/storage/sqlite/data-folder.ts";
import { runCli } from "./support/run-cli.ts";

interface Setting {
  readonly flag: string | undefined;
  readonly variable: string | undefined;
  readonly value: string | undefined;
}

/** The cells of the table rows that start with a name, without the marks of code. */
function rowsOf(section: string): readonly (readonly string[])[] {
  return [...section.matchAll(/^\| `[a-zA-Z]+` \|.*\|$/gm)].map(([row]) =>
    row
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim().replaceAll("`", "")),
  );
}

function readSettings(section: string): ReadonlyMap<string, Setting> {
  const orNone = (cell = ""): string | undefined => (cell === "" ? undefined : cell);
  return new Map(
    rowsOf(section).map(([key = "", flag, variable, value]) => [
      key,
      { flag: orNone(flag), variable: orNone(variable), value: orNone(value) },
    ]),
  );
}

describe("docs/operations.md", async () => {
  const page = await readFile(new URL("../docs/operations.md", import.meta.url), "utf8");
  const source = await readFile(new URL("../src/config.ts", import.meta.url), "utf8");
  const section = (title: string): string =>
    page.slice(page.indexOf(`\n## ${title}\n`)).split(/\n## /)[1] ?? "";
  const settings = readSettings(section("Settings"));

  it("has every limit with its default, and nothing else", () => {
    const documented = rowsOf(section("Limits")).map(([key = "", value]) => [key, Number(value)]);
    assert.deepEqual(Object.fromEntries(documented), { ...defaultLimits });
  });

  it("has every key of the configuration with its variable and default, and nothing else", () => {
    const schema = /configSchema = z\.strictObject\(\{([\s\S]*?)^\}\);/m.exec(source)?.[1] ?? "";
    const keys = [...schema.matchAll(/^ {2}(\w+):/gm)].map((match) => match[1]);
    assert.ok(keys.length > 10);
    assert.deepEqual(new Set(settings.keys()), new Set(keys));
    const table = /const variables[^=]*= \{([\s\S]*?)^\};/m.exec(source)?.[1] ?? "";
    const variables = [...table.matchAll(/^ {2}(\w+): "(\w+)"/gm)].map(([, key, name]) => [
      key,
      name,
    ]);
    const documented = [...settings].flatMap(([key, { variable }]) =>
      variable ? [[key, variable]] : [],
    );
    assert.deepEqual(Object.fromEntries(documented), Object.fromEntries(variables));
    for (const [key, { value }] of settings) {
      const given = Object.entries(defaultConfig).find(([name]) => name === key)?.[1];
      const isPlain = ["string", "number", "boolean"].includes(typeof given);
      assert.equal(value, isPlain ? String(given) : undefined, key);
    }
  });

  it("names flags that `collector start` has", async () => {
    const { stdout } = await runCli(["start", "--help"]);
    for (const { flag } of settings.values())
      if (flag) assert.ok(stdout.includes(`${flag} `), flag);
  });

  it("shows a file that the server takes", () => {
    const text = /^```yaml\n([\s\S]*?)^```$/m.exec(page)?.[1] ?? "";
    const flags: Record<string, unknown> = parse(text);
    assert.ok(Object.keys(flags).length > 1);
    loadConfig({ flags, env: {}, file: undefined });
  });

  it("names the server's own metrics, all of them, and the format of the data folder", async () => {
    const rendered = await new Metrics({ version: "0" }).render();
    const names = [...rendered.matchAll(/^# TYPE (collector_\w+) /gm)].map((match) => match[1]);
    const documented = [...page.matchAll(/^\| `(collector_\w+)` \|/gm)].map((match) => match[1]);
    assert.deepEqual(new Set(documented), new Set(names));
    assert.match(page, new RegExp(`number of the format, ${dataFormat} in this version`));
  });
});
