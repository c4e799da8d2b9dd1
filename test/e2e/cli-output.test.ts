import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { it, snapshot, type TestContext } from "node:test";
import { runCliHere } from "../support/cli-in-process.ts";
import { openCollector } from "../support/pricing.ts";
import { tempFolder } from "../support/temp-folder.ts";

snapshot.setDefaultSnapshotSerializers([(value) => String(value)]);

const examples = join(import.meta.dirname, "../../examples");
const formats = ["table", "json", "jsonl", "yaml", "name"] as const;

/** What is another at each run, and what it stands as. */
const volatile: readonly (readonly [RegExp, string])[] = [
  [/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "ID"],
  [/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?/g, "TIME"],
  [/127\.0\.0\.1:\d+/g, "ADDRESS"],
  [/\b[0-9a-f]{64}\b/g, "SHA256"],
  [/[\d.]+ (ms|kB|MB)/g, "N $1"],
  // Another feature is no other output.
  [/(?<=^Features +).*/g, "and so on"],
  [
    /("?(?:storageSizeBytes|sizeBytes|contentBytes|roundTripMs|bytesFreed|timestamp|etag|incarnation|runTime)"?: ?)"?[\w.=+/-]+"?/g,
    "$1N",
  ],
  [/(?<=version |Version +|version"?: ?"?)\d+\.\d+\.\d+/g, "RELEASE"],
];

/** Widths of columns follow what is in them, so gaps beside what is volatile are too. */
function steady(text: string): string {
  let steadied = text;
  for (const [pattern, name] of volatile) steadied = steadied.replace(pattern, name);
  // Headers stand over what is below them.
  const isHeader = /^[A-Z][A-Z ]*$/.test(text);
  return steadied === text && !isHeader ? text : steadied.replace(/(?<=\S) {2,}/g, "  ");
}

/** Change on purpose: `node --test --test-update-snapshots test/e2e/cli-output.test.ts`. */
it("commands print what they printed, in every format", async (t: TestContext) => {
  await using folder = await tempFolder("cli-output");
  await using server = await openCollector();
  const env = { COLLECTOR_URL: server.url, XDG_CONFIG_HOME: folder.path };
  const written: string[] = [];
  /** Runs a command in these formats and keeps what it printed. */
  const showAs = async (
    wanted: readonly (typeof formats)[number][],
    line: string,
    more: readonly string[],
  ): Promise<void> => {
    for (const format of wanted) {
      const result = await runCliHere([...line.split(" "), ...more, "-o", format], env);
      const { exitCode, stdout, stderr } = result;
      const ends = exitCode === 0 ? "" : `[ends with ${exitCode}]\n`;
      const shown = line.replaceAll(folder.path, "FOLDER").replaceAll(examples, "EXAMPLES");
      const text = `${stdout}${stderr === "" ? "" : `[stderr] ${stderr}`}${ends}`;
      written.push(`$ collector ${steady(shown)} -o ${format}\n${steadyLines(text)}`);
    }
  };
  const show = (line: string, ...more: readonly string[]): Promise<void> =>
    showAs(["table", "json", "name"], line, more);
  const showAll = (line: string, ...more: readonly string[]): Promise<void> =>
    showAs(formats, line, more);
  const quietly = async (line: string, ...more: readonly string[]): Promise<string> => {
    const result = await runCliHere([...line.split(" "), ...more], env);
    assert.equal(result.exitCode, 0, result.stderr);
    return result.stdout;
  };

  await quietly(`schema add ${examples}/shop.proto ${examples}/pricing.proto`);
  await quietly(
    "collection create products --type shop.v1.Product --index price_cents --text title,tags",
  );
  const pot = '{"title": "Tea pot", "priceCents": "1900", "tags": ["tea", "used"]}';
  await quietly("record put products --id pot --label shelf=3 -d", pot);
  await quietly("record put products --id cup -d", '{"title": "Tea cup", "priceCents": "500"}');
  await writeFile(join(folder.path, "note.txt"), "dishwasher safe\n");
  await quietly(`file put products ${join(folder.path, "note.txt")} --record pot`);
  const { backupId } = JSON.parse(await quietly("backup create products -o json"));
  await quietly("backup policy put nightly --cron", "0 3 * * *", "--keep-daily", "7");
  await writeFile(
    join(folder.path, "shop.proto"),
    'syntax = "proto3";\npackage shop.v1;\nmessage Product { string title = 1; int64 price_cents = 2; repeated string tags = 3; bool fresh = 4; }\n',
  );
  await writeFile(
    join(folder.path, "bad.proto"),
    'syntax = "proto3";\nmessage P {\n  strng a = 1;\n}\n',
  );

  await showAs(["table", "name"], "status", []);
  await show("open");
  await show("namespace list");
  await show("schema list shop");
  await show("schema show shop.v1.Product");
  await show("schema show pricing.v1.Pricing");
  await show(`schema check ${join(folder.path, "shop.proto")}`);
  await show(`schema diff ${join(folder.path, "shop.proto")}`);
  await show(`schema check ${join(folder.path, "bad.proto")}`);
  await showAll("collection list");
  await showAll("collection show products");
  await showAll("collection alter products --index title --dry-run");
  await show("collection rm products --dry-run");
  await show("collection rm products");
  await show("collection reindex products");
  await show("record get products pot");
  await showAll("record get products pot cup --meta");
  await showAll("record list products --order-by price_cents");
  await show("record search products tea --highlight --where", "price_cents < 1000");
  await show("record put products --id pot -d", pot);
  await show("record rm products cup --dry-run");
  await showAll("record get products nobody");
  await show("file list products --record pot");
  await show("file stat products note.txt --record pot");
  await showAll("backup list");
  await show(`backup show ${backupId}`);
  await show(`backup verify ${backupId}`);
  await show(`backup restore ${backupId} --dry-run --overwrite`);
  await show("backup policy list");
  await show("service list pricing");
  await showAll("service show pricing.v1.Pricing");
  await show("service attach pricing.v1.Pricing example.com:80");
  await show("call collector.Namespaces/ListNamespaces -d", "{}");
  await show("call pricing.v1.Pricing/Quote");
  await show("describe pricing.v1.Pricing/Quote");
  await show("mesh list");
  await showAs(["table"], "ops list --kind reindex", []);
  await show("config contexts");
  await show("recrod list");
  t.assert.snapshot(written.join("\n"));
});

function steadyLines(text: string): string {
  return text
    .split("\n")
    .map((line) => steady(line).trimEnd())
    .join("\n");
}
