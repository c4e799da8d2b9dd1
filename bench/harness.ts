import { execFileSync, spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";

/** One figure, with what it has to be if that was decided. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly atMost?: number | undefined;
  readonly atLeast?: number | undefined;
}

/** What a benchmark reports to. */
export class Report {
  readonly figures: Figure[] = [];
  readonly #print: (line: string) => void;

  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  add(
    name: string,
    value: number,
    unit: string,
    target: { readonly atMost?: number; readonly atLeast?: number } = {},
  ): void {
    const figure: Figure = { name, value: round(value), unit, ...target };
    this.figures.push(figure);
    this.#print(`  ${lineOf(figure)}`);
  }
}

export interface Benchmark {
  /** Also the name of its results. */
  readonly name: string;
  /** What it shows, in a sentence. */
  readonly about: string;
  /** @param quick for a moment only, to show that it works: its figures mean nothing. */
  run(report: Report, quick: boolean): Promise<void>;
}

/** Runs a benchmark, and unless it was quick writes its results with the machine and the commit. */
export async function runBenchmark(benchmark: Benchmark, quick: boolean): Promise<boolean> {
  console.log(`${benchmark.name}: ${benchmark.about}`);
  const report = new Report(console.log);
  await benchmark.run(report, quick);
  if (quick) return true;
  const folder = join(import.meta.dirname, "results");
  const result = {
    name: benchmark.name,
    about: benchmark.about,
    date: new Date().toISOString().slice(0, 10),
    commit: commit(),
    machine: machine(),
    figures: report.figures,
  };
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${benchmark.name}.json`), `${JSON.stringify(result, null, 2)}\n`);
  await writeFile(join(folder, `${benchmark.name}.md`), markdownOf(result));
  return report.figures.every(isMet);
}

/** Runs the benchmark of the file that is the program's own; `--quick` for a moment. */
export async function main(benchmark: Benchmark): Promise<void> {
  const met = await runBenchmark(benchmark, process.argv.includes("--quick"));
  if (!met) process.exitCode = 1;
}

/** A server in a process of its own, to compare with. */
export interface BaselineProcess extends AsyncDisposable {
  readonly pid: number;
  readonly url: string;
}

/** Starts a file of `baseline/` that prints its URL and a space once it listens. */
export async function startBaseline(
  file: string,
  args: readonly string[],
): Promise<BaselineProcess> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "baseline", file), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const url = await new Promise<string>((resolve, reject) => {
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      if (text.includes(" ")) resolve(text.trim());
    });
    child.once("close", (code) => reject(new Error(`${file} ended with code ${code}`)));
  });
  return {
    pid: child.pid ?? 0,
    url,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Runs a file of `baseline/` to its end; it prints one number. */
export function runBaseline(file: string, args: readonly string[]): number {
  const path = join(import.meta.dirname, "baseline", file);
  return Number(execFileSync(process.execPath, [path, ...args], { encoding: "utf8" }));
}

/** The middle of several measurements. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}

function isMet({ value, atMost, atLeast }: Figure): boolean {
  return (atMost === undefined || value <= atMost) && (atLeast === undefined || value >= atLeast);
}

function lineOf(figure: Figure): string {
  const { name, value, unit } = figure;
  const target = targetOf(figure);
  const verdict = target === "" ? "" : ` (${target}: ${isMet(figure) ? "met" : "MISSED"})`;
  return `${name}: ${value} ${unit}${verdict}`;
}

function targetOf({ atMost, atLeast }: Figure): string {
  if (atMost !== undefined) return `at most ${atMost}`;
  return atLeast === undefined ? "" : `at least ${atLeast}`;
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}

function machine(): Readonly<Record<string, string | number>> {
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${process.arch}`,
    node: process.version,
  };
}

function commit(): string {
  const git = (...args: string[]) => execFileSync("git", args, { encoding: "utf8" }).trim();
  const changed = git("status", "--porcelain", "--", "src", "bench", "package-lock.json") !== "";
  return `${git("rev-parse", "--short", "HEAD")}${changed ? " with changes" : ""}`;
}

function markdownOf(result: {
  readonly name: string;
  readonly about: string;
  readonly date: string;
  readonly commit: string;
  readonly machine: Readonly<Record<string, string | number>>;
  readonly figures: readonly Figure[];
}): string {
  const machineLine = Object.entries(result.machine)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
  const rows = result.figures.map((figure) => {
    const target = targetOf(figure);
    const verdict = target === "" ? "" : isMet(figure) ? "met" : "**missed**";
    return `| ${figure.name} | ${figure.value} ${figure.unit} | ${target} | ${verdict} |`;
  });
  return `${[
    `# ${result.name}`,
    "",
    result.about,
    "",
    `${result.date}, commit ${result.commit}; ${machineLine}.`,
    "",
    "| figure | measured | target | |",
    "|---|--:|---|---|",
    ...rows,
  ].join("\n")}\n`;
}
