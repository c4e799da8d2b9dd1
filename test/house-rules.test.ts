import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { extname, join, relative } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

/** Most lines of a file. At about 300 a file is asked whether it is two; over this it is. */
const linesMax = 500;

/** The one file that has to name what is forbidden. */
const ownPath = "test/house-rules.test.ts";

const skippedFolders = new Set([".git", "node_modules", "dist", "coverage", "collector-data"]);
const textSuffixes = new Set([".ts", ".md", ".proto", ".json", ".yaml", ".yml", ".py", ".sh", ""]);

interface SourceFile {
  /** Relative to the root, with `/`. */
  readonly path: string;
  readonly text: string;
}

interface Rule {
  readonly name: string;
  readonly appliesTo: RegExp;
  readonly except?: RegExp;
  /** What is wrong with the file, or undefined. */
  readonly check: (file: SourceFile) => string | undefined;
}

/** A rule that a text breaks by matching. */
function forbids(pattern: RegExp, read: (text: string) => string = (text) => text): Rule["check"] {
  return ({ text }) => pattern.exec(read(text))?.[0];
}

const rules: readonly Rule[] = [
  {
    name: "nothing is left to do",
    appliesTo: /./,
    check: forbids(/\b(?:TODO|FIXME|XXX|HACK)\b/),
  },
  {
    name: "no paths of one machine",
    appliesTo: /./,
    check: forbids(/(?<![\w./-])\/(?:work|root|home|Users)\/[\w.-]+/),
  },
  {
    name: "no package registry is named",
    appliesTo: /./,
    check: forbids(/registry[.]npmjs|registry[.]yarnpkg|pypi[.]org|proxy[.]golang/),
  },
  {
    name: "at most 500 lines a file",
    appliesTo: /[.](?:ts|py)$/,
    check: ({ text }) => {
      const lines = text.split("\n").length - 1;
      return lines > linesMax ? `${lines} lines` : undefined;
    },
  },
  {
    name: "kebab-case file names",
    appliesTo: /[.]ts$/,
    check: ({ path }) =>
      /(?:^|\/)[a-z0-9]+(?:-[a-z0-9]+)*(?:[.](?:test|bench|d))?[.]ts$/.test(path)
        ? undefined
        : path,
  },
  {
    name: "no console: a logger comes in through options",
    appliesTo: /^src\/.*[.]ts$/,
    check: forbids(/\bconsole[.]\w+\(/, codeOf),
  },
  {
    name: "nothing but a command ends the process",
    appliesTo: /^src\/.*[.]ts$/,
    except: /^src\/cli\//,
    check: forbids(/\bprocess[.](?:exit|abort)\(/, codeOf),
  },
  {
    name: "no any",
    appliesTo: /[.]ts$/,
    check: forbids(/\bas any\b|:\s*any\b(?![.(])|<any\b|\bany\[\]|,\s*any>/, codeOf),
  },
  {
    name: "no silenced checks",
    appliesTo: /[.]ts$/,
    check: forbids(/@ts-(?:ignore|nocheck|expect-error)\b/),
  },
  {
    name: "named exports, and none passed on from another file",
    appliesTo: /^src\/.*[.]ts$/,
    // Where types are passed on, or imported in the middle of a type, the import rules are blind.
    check: forbids(
      /^export (?:default\b|(?:type )?[*{][^;]*?\bfrom "")|(?<!await )\bimport\(""\)[.]/m,
      codeOf,
    ),
  },
  {
    name: "every test runs",
    appliesTo: /[.]test[.]ts$/,
    check: forbids(/\b(?:it|test|describe)[.](?:only|todo|skip)\(/, codeOf),
  },
];

/**
 * A text without its comments and without what is in its strings. Good enough for code that a tool
 * has formatted.
 */
function codeOf(text: string): string {
  return text
    .replaceAll(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, "")
    .replaceAll(/(["'])(?:(?!\1)[^\\\n]|\\.)*\1/g, '""');
}

function breaches(file: SourceFile): string[] {
  return rules
    .filter((rule) => rule.appliesTo.test(file.path) && rule.except?.test(file.path) !== true)
    .flatMap((rule) => {
      const found = rule.check(file);
      return found === undefined ? [] : [`${file.path}: ${rule.name}: ${found.trim()}`];
    });
}

/** Every text that people write here: neither what is generated nor what is installed. */
async function readSources(root: string): Promise<SourceFile[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files: SourceFile[] = [];
  for (const entry of entries) {
    if (!entry.isFile() || !textSuffixes.has(extname(entry.name))) continue;
    const absolute = join(entry.parentPath, entry.name);
    const path = relative(root, absolute).replaceAll("\\", "/");
    const isOurs = !path.split("/").some((part) => skippedFolders.has(part));
    if (
      !isOurs ||
      path.startsWith("src/gen/") ||
      path.startsWith("examples/gen/") ||
      path.startsWith("bench/results/") ||
      path === ownPath
    )
      continue;
    files.push({ path, text: await readFile(absolute, "utf8") });
  }
  return files;
}

describe("the house rules", () => {
  it("hold in every file", async () => {
    const files = await readSources(fileURLToPath(new URL("..", import.meta.url)));
    assert.ok(files.length > 50, `only ${files.length} files were read`);
    assert.deepEqual(files.flatMap(breaches), []);
  });

  const examples: readonly [string, string, string][] = [
    ["src/a.ts", "// TODO later", "nothing is left to do"],
    ["docs/a.md", "see /work/notes", "no paths of one machine"],
    ["README.md", "from registry.npmjs.org", "no package registry is named"],
    ["src/a.ts", "x\n".repeat(linesMax + 1), "at most 500 lines a file"],
    ["src/recordStore.ts", "", "kebab-case file names"],
    ["src/lib/a.ts", 'console.log("x");', "no console"],
    ["src/rpc/a.ts", "process.exit(1);", "nothing but a command ends the process"],
    ["src/a.ts", "const x = y as any;", "no any"],
    ["src/a.ts", "const x = new Map<string, any>();", "no any"],
    ["src/a.ts", "// @ts-ignore", "no silenced checks"],
    ["src/a.ts", 'export type { X } from "./b.ts";', "named exports"],
    ["src/a.ts", 'export * from "./b.ts";', "named exports"],
    ["src/a.ts", "export default 1;", "named exports"],
    ["src/a.ts", 'type X = import("./b.ts").X;', "named exports"],
    ["src/a.test.ts", 'it.only("x", run);', "every test runs"],
  ];
  for (const [path, text, rule] of examples) {
    it(`find a breach of "${rule}" in ${path}: ${text.slice(0, 32).split("\n")[0]}`, () => {
      const found = breaches({ path, text });
      assert.equal(found.length, 1, found.join("\n"));
      assert.ok(found[0]?.includes(rule), found[0]);
    });
  }

  it("let be what only looks like a breach", () => {
    const texts = [
      "/** Takes any gRPC client: any of them. */",
      "// It is as any other.",
      "const url = isFields ? any.typeUrl : any.value;",
      'export const from = "x";',
      "throw new Error('expected a string: any of them');",
      'const { open } = await import("./b.ts");',
      "export function list(): string { return kinds.map((k) => k.name).from; }",
    ];
    for (const text of texts) assert.deepEqual(breaches({ path: "src/a.ts", text }), []);
  });
});
