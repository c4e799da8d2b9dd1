import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { cruise, type ICruiseResult, type IForbiddenRuleType } from "dependency-cruiser";

/** The folders that hold what the server is about. Each may know the others, as long as no cycle arises. */
const domain = "(?:registry|collections|operations|files|archive|copies|mesh|workflows)";

/** What each part of `src/` may import, as patterns below `src/`. A part without a line may not be. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  gen: [],
  lib: ["errors.ts"],
  "errors.ts": [],
  // Both the server and the client speak it.
  tunnel: ["gen", "errors.ts"],
  storage: ["lib", "errors.ts"],
  [domain]: ["gen", "lib", "tunnel", "errors.ts", "storage/[^/]+[.]ts", domain],
  rpc: ["gen", "lib", "tunnel", "errors.ts", domain],
  client: ["gen", "tunnel", "errors.ts"],
  console: [],
  "config.ts": ["lib", "errors.ts"],
  "exposure.ts": ["config.ts", "errors.ts"],
  "mesh-wiring.ts": [
    "gen",
    "rpc",
    "storage",
    domain,
    "config.ts",
    "exposure.ts",
    "lib",
    "errors.ts",
  ],
  "server.ts": [
    "gen",
    "rpc",
    "storage",
    domain,
    "mesh-wiring.ts",
    "config.ts",
    "exposure.ts",
    "lib",
    "errors.ts",
  ],
  // What the package exports.
  "index.ts": ["server.ts", "rpc", "storage", "config.ts", "lib", "errors.ts"],
  cli: ["gen", "client", "server.ts", "config.ts", "lib", "errors.ts"],
};

/** Packages that only some parts may import. */
const mayBeImportedBy: Readonly<Record<string, string>> = {
  "(?:^|node_modules/)@connectrpc/": "(?:rpc|client)/|server[.]ts$",
  "^(?:node:)?sqlite$": "storage/sqlite/",
  "(?:^|node_modules/)(?:@grpc|protobufjs)/": "rpc/",
  "(?:^|node_modules/)commander(?:/|$)": "cli/",
};

const isTest = "[.](?:test|bench)[.]ts$|/testing/";

function importRules(): IForbiddenRuleType[] {
  const rules: IForbiddenRuleType[] = [
    { name: "no-cycle", from: { pathNot: isTest }, to: { circular: true } },
    { name: "no-unresolved", from: {}, to: { couldNotResolve: true, path: "^[.]" } },
    { name: "no-test", from: { path: "^src/", pathNot: isTest }, to: { path: isTest } },
    {
      name: "no-outside",
      from: { path: "^src/", pathNot: isTest },
      to: { path: "^(?!src/|node_modules/|[.]).+/.+[.]ts$" },
    },
  ];
  for (const [part, parts] of Object.entries(mayImport)) {
    const path = `^src/${partPattern(part)}`;
    const allowed = [part, ...parts].map((name) => `^src/${partPattern(name)}`).join("|");
    rules.push({
      name: `${part === domain ? "domain" : part}-imports`,
      from: { path, pathNot: isTest },
      to: { path: "^src/", pathNot: allowed },
    });
  }
  for (const [name, importers] of Object.entries(mayBeImportedBy)) {
    rules.push({
      name: `only ${importers}`,
      from: { path: "^src/", pathNot: `^src/(?:${importers})|${isTest}` },
      to: { path: name },
    });
  }
  return rules;
}

/** A file as it is named; a folder with whatever is in it. */
function partPattern(part: string): string {
  return part.endsWith("ts") ? `${part}$` : `${part}/`;
}

/** Reads the imports of `src/` under `root`, those of types included, and holds them to the rules. */
async function checkImports(
  root: string,
): Promise<{ readonly modules: readonly string[]; readonly violations: readonly string[] }> {
  const { output } = await cruise(["src"], {
    baseDir: root,
    validate: true,
    ruleSet: { forbidden: importRules() },
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
  });
  const { modules, summary }: ICruiseResult =
    typeof output === "string" ? JSON.parse(output) : output;
  return {
    modules: modules.map((module) => module.source).filter((path) => path.startsWith("src/")),
    violations: summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`),
  };
}

function isPlaced(entry: string): boolean {
  return Object.keys(mayImport).some((part) => new RegExp(`^${part}$`).test(entry));
}

/** Makes a tree of files for as long as `use` runs. */
async function withTree(
  files: Readonly<Record<string, string>>,
  use: (root: string) => Promise<void>,
): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), "collector-tree-"));
  try {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await writeFile(join(root, path), text);
    }
    await use(root);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

describe("the parts of src", () => {
  const root = fileURLToPath(new URL("..", import.meta.url));

  it("import only what stands below them, types included, and no part imports itself in a circle", async () => {
    const { modules, violations } = await checkImports(root);
    assert.ok(modules.length > 30, `only ${modules.length} modules were read`);
    assert.ok(modules.includes("src/rpc/status.ts"));
    assert.deepEqual(violations, []);
  });

  it("each have a line in the table", async () => {
    const entries = await readdir(join(root, "src"), { withFileTypes: true });
    const unplaced = entries
      .map((entry) => entry.name)
      .filter((name) => !/[.]test[.]ts$/.test(name) && !isPlaced(name));
    assert.deepEqual(unplaced, []);
  });
});

describe("the import rules", () => {
  const base = {
    "package.json": '{ "type": "module" }',
    "src/errors.ts": "export class CollectorError extends Error {}\n",
    "src/lib/clock.ts": "export interface Clock { now(): bigint }\n",
    "src/storage/record-store.ts": "export interface RecordStore { readonly name: string }\n",
    "src/storage/sqlite/engine.ts":
      'import { DatabaseSync } from "node:sqlite";\nimport type { RecordStore } from "../record-store.ts";\nexport const open = (store: RecordStore): unknown => new DatabaseSync(store.name);\n',
    "src/collections/catalog.ts":
      'import type { RecordStore } from "../storage/record-store.ts";\nexport type Catalog = RecordStore[];\n',
    "src/rpc/service.ts":
      'import { Code } from "@connectrpc/connect";\nimport type { Catalog } from "../collections/catalog.ts";\nexport const serve = (catalog: Catalog): unknown => [catalog, Code];\n',
    "src/server.ts":
      'import { open } from "./storage/sqlite/engine.ts";\nimport { serve } from "./rpc/service.ts";\nexport { open, serve };\n',
  };

  it("find nothing in a tree that keeps them", async () => {
    await withTree(base, async (root) => {
      const { modules, violations } = await checkImports(root);
      assert.equal(modules.length, 7);
      assert.deepEqual(violations, []);
    });
  });

  const breaks: readonly [string, string, string, RegExp][] = [
    [
      "a domain folder that imports the transport, if only its types",
      "src/collections/bad.ts",
      'import type { serve } from "../rpc/service.ts";\nexport type Serve = typeof serve;\n',
      /src\/collections\/bad\.ts -> src\/rpc\/service\.ts/,
    ],
    [
      "a domain folder that imports an engine",
      "src/registry/bad.ts",
      'export { open } from "../storage/sqlite/engine.ts";\n',
      /src\/registry\/bad\.ts -> src\/storage\/sqlite\/engine\.ts/,
    ],
    [
      "a dynamic import",
      "src/storage/bad.ts",
      'export const load = (): Promise<unknown> => import("../collections/catalog.ts");\n',
      /src\/storage\/bad\.ts -> src\/collections\/catalog\.ts/,
    ],
    [
      "the driver outside its engine",
      "src/collections/bad.ts",
      'import { DatabaseSync } from "node:sqlite";\nexport const db: unknown = DatabaseSync;\n',
      /src\/collections\/bad\.ts -> (?:node:)?sqlite/,
    ],
    [
      "connect in a domain folder, if only its types",
      "src/operations/bad.ts",
      'import type { Code } from "@connectrpc/connect";\nexport type Bad = Code;\n',
      /src\/operations\/bad\.ts -> .*@connectrpc\/connect/,
    ],
    [
      "a client that knows the server",
      "src/client/bad.ts",
      'export { serve } from "../rpc/service.ts";\n',
      /src\/client\/bad\.ts -> src\/rpc\/service\.ts/,
    ],
    [
      "a command that goes round the server",
      "src/cli/bad.ts",
      'import { type Catalog } from "../collections/catalog.ts";\nexport const none: Catalog = [];\n',
      /src\/cli\/bad\.ts -> src\/collections\/catalog\.ts/,
    ],
    [
      "a cycle, if only of types",
      "src/storage/record-store.ts",
      'import type { open } from "./sqlite/engine.ts";\nexport interface RecordStore { readonly name: string; readonly open: typeof open }\n',
      /no-cycle/,
    ],
    [
      "code that leans on a test's",
      "src/rpc/bad.ts",
      'export { help } from "./help.test.ts";\n',
      /no-test: src\/rpc\/bad\.ts/,
    ],
  ];
  for (const [name, path, text, expected] of breaks) {
    it(`find ${name}`, async () => {
      const files = { ...base, "src/rpc/help.test.ts": "export const help = 1;\n", [path]: text };
      await withTree(files, async (root) => {
        const { violations } = await checkImports(root);
        assert.match(violations.join("\n"), expected);
      });
    });
  }

  it("have no place for a folder without a line", () => {
    assert.ok(isPlaced("registry"));
    assert.ok(isPlaced("server.ts"));
    assert.ok(!isPlaced("helpers"));
    assert.ok(!isPlaced("registry-utils"));
  });
});
