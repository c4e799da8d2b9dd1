/**
 * Counts the tests as they are written, by where they are: files, tests, and lines beside the lines of what they test.
 * A test in a loop counts once, so that `npm test` tells of more.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

interface Count {
  files: number;
  tests: number;
  lines: number;
}

const root = join(import.meta.dirname, "..");

/** Where tests are, and what is said of them. */
const areas: readonly (readonly [RegExp, string])[] = [
  [/^src\/storage\//, "storage engines, with the suite that each has to pass"],
  [/^src\/registry\//, "registry"],
  [/^src\/collections\//, "collections, filters and search"],
  [/^src\/(?:copies|archive)\//, "backups and copies"],
  [/^src\/(?:mesh|tunnel)\//, "mesh"],
  [/^src\/rpc\//, "protocols and services"],
  [/^src\/client\//, "client"],
  [/^src\/cli\//, "command line"],
  [/^src\//, "the rest of `src`"],
  [/^test\/e2e\//, "whole servers"],
  [/^test\/faults\//, "crashes, full disks, abuse"],
  [/^test\/contract\/|^test\/schemas\//, "the contract and real schemas"],
  [/^test\/docs/, "documents"],
  [/^test\//, "types, benchmarks, rules of the house"],
];

const counts = new Map<string, Count>(areas.map(([, name]) => [name, emptyCount()]));
const sources = emptyCount();
for (const folder of ["src", "test"]) {
  const names = await readdir(join(root, folder), { recursive: true });
  for (const name of names.filter((one) => one.endsWith(".ts"))) {
    const path = `${folder}/${name}`;
    if (path.startsWith("src/gen/")) continue;
    const text = await readFile(join(root, path), "utf8");
    const isOfTests = folder === "test" || /[.]test[.]ts$|\/testing\//.test(path);
    const area = areas.find(([pattern]) => pattern.test(path))?.[1];
    const count = isOfTests ? counts.get(area ?? "") : sources;
    if (count === undefined) throw new Error(`${path} is in no area`);
    count.lines += text.split("\n").length - 1;
    if (!isOfTests) continue;
    const tests = text.match(/^ *(?:it|test)\(/gm)?.length ?? 0;
    count.tests += tests;
    count.files += tests > 0 ? 1 : 0;
  }
}
const all = emptyCount();
console.log("| what is tested | files | tests | lines |\n|---|--:|--:|--:|");
for (const [name, { files, tests, lines }] of counts) {
  all.files += files;
  all.tests += tests;
  all.lines += lines;
  console.log(`| ${name} | ${files} | ${tests} | ${lines} |`);
}
console.log(`| **all** | ${all.files} | ${all.tests} | ${all.lines} |`);
const share = (all.lines / sources.lines).toFixed(1);
console.log(
  `\n${share} lines of test for each of the ${sources.lines} lines of \`src\`, generated code left out.`,
);

function emptyCount(): Count {
  return { files: 0, tests: 0, lines: 0 };
}
