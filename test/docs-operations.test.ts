import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { parse } from "yaml";
import { defaultConfig, loadConfig } from "../src/config.ts";
import { defaultLimits } from "../src/lib/limits.ts";
import { Metrics } from "../src/rpc/metrics.ts";
import { createCollector } from "../src/server.ts";
import { dataFormat } from "../src/storage/sqlite/data-folder.ts";
import { runCli } from "./support/run-cli.ts";
import { tempFolder } from "./support/temp-folder.ts";

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

  it("comes with a dashboard and alerts of metrics that the server has", async () => {
    await using folder = await tempFolder("dashboard");
    await using server = await createCollector({ port: 0, logLevel: "silent", data: folder.path });
    const text = await (await fetch(new URL("/metrics", server.url))).text();
    const names = new Set([...text.matchAll(/^# TYPE (\w+) /gm)].map(([, name]) => name));
    const path = new URL("../deploy/grafana-dashboard.json", import.meta.url);
    const dashboard = JSON.parse(await readFile(path, "utf8")) as {
      readonly panels: readonly { readonly targets: readonly { readonly expr: string }[] }[];
    };
    const expressions = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
    const alerts = [...page.matchAll(/`([^`]*collector_[^`]* [<>=]+ [^`]*)`/g)].map(
      ([, alert = ""]) => alert,
    );
    assert.ok(expressions.length > 20 && alerts.length > 3);
    const used = [...expressions, ...alerts].flatMap((text) =>
      Array.from(text.matchAll(/\b(?:collector|process|nodejs)_\w+/g), ([name]) => name),
    );
    for (const name of used) {
      const base = name.replace(/_(?:bucket|sum|count)$/, "");
      assert.ok(names.has(name) || names.has(base), name);
    }
    const own = [...names].filter((name) => name?.startsWith("collector_"));
    const shown = new Set(expressions.join(" ").match(/\bcollector_\w+/g));
    const missing = own.filter((name) => !shown.has(`${name}`) && !shown.has(`${name}_bucket`));
    assert.deepEqual(missing, [], "every metric of the server's own is on the dashboard");
  });

  it("names the server's own metrics, all of them, and the format of the data folder", async () => {
    const rendered = await new Metrics({ version: "0" }).render();
    const names = [...rendered.matchAll(/^# TYPE (collector_\w+) /gm)].map((match) => match[1]);
    const documented = [...page.matchAll(/^\| `(collector_\w+)` \|/gm)].map((match) => match[1]);
    assert.deepEqual(new Set(documented), new Set(names));
    assert.match(page, new RegExp(`number of the format, ${dataFormat} in this version`));
  });
});
