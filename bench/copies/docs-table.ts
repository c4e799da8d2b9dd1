import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Figure } from "../harness.ts";

const docs = join(import.meta.dirname, "../../docs/backup.md");
const results = join(import.meta.dirname, "../results/copies.json");
const begin = "<!-- availability: made by npm run bench:copies -->";
const end = "<!-- end of availability -->";

interface Results {
  readonly date: string;
  readonly commit: string;
  readonly machine: Readonly<Record<string, string | number>>;
  readonly figures: readonly Figure[];
}

/** Puts the committed results of the benchmark of copies into docs/backup.md, between its two marks. */
export async function writeDocsTable(): Promise<void> {
  const text = await readFile(docs, "utf8");
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  if (from < 0 || to < from) throw new Error("docs/backup.md has no place for the table");
  const table = tableOf(JSON.parse(await readFile(results, "utf8")) as Results);
  await writeFile(docs, `${text.slice(0, from + begin.length)}\n\n${table}\n\n${text.slice(to)}`);
}

function tableOf({ date, commit, machine, figures }: Results): string {
  const rows = figures.map(({ name, value, unit, atMost, atLeast }) => {
    const target =
      atMost !== undefined ? `≤ ${atMost}` : atLeast !== undefined ? `≥ ${atLeast}` : "";
    const met = value <= (atMost ?? Infinity) && value >= (atLeast ?? -Infinity);
    return `| ${name} | ${value} ${unit}`.trimEnd() + ` | ${target}${met ? "" : ", missed"} |`;
  });
  const on = `${machine["cores"]} cores, ${machine["memoryGiB"]} GiB, Node ${machine["node"]}`;
  return [
    `${date}, commit ${commit}, ${on}:`,
    "",
    "| figure | measured | target |",
    "|---|--:|---|",
    ...rows,
  ].join("\n");
}

if (import.meta.main) await writeDocsTable();
