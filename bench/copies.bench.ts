import { Compression } from "../src/gen/collector/collection_repo_pb.ts";
import { type BenchServer, benchServer } from "./bench-server.ts";
import { writeDocsTable } from "./copies/docs-table.ts";
import { durations } from "./copies/durations.ts";
import {
  backUp,
  backUpUntil,
  collectionName,
  type MixedResult,
  mixed,
  type Rates,
} from "./copies/mixed-load.ts";
import { storeSnapshots } from "./copies/store-snapshots.ts";
import { type Benchmark, main, median, type Report } from "./harness.ts";
import type { FlowResult } from "./load/load-job.ts";

/** How a collection is measured. A round is alone and then during backups, for so long each. */
interface Size {
  readonly records: number;
  readonly rounds: number;
  readonly runMs: number;
}

const sizes: readonly Size[] = [
  { records: 10_000, rounds: 7, runMs: 4_000 },
  { records: 100_000, rounds: 5, runMs: 6_000 },
  // As long as a backup takes, so that most of what it does is measured.
  { records: 1_000_000, rounds: 3, runMs: 40_000 },
];

const quickSize: Size = { records: 2_000, rounds: 1, runMs: 300 };

/** What is quoted in this field for such a system: the better end of each. */
const quoted = { reads: 641, writes: 40, lockMs: 6, smallMs: 3, largeMs: 50 };

export const copiesBenchmark: Benchmark = {
  name: "copies",
  about:
    "Reads and writes at half of what the server can do, alone and while backups run back to back; how long copies take.",
  async run(report, quick) {
    const others: number[] = [];
    for (const size of quick ? [quickSize] : sizes) {
      await using server = await benchServer();
      await server.fill(collectionName, size.records);
      await server.settle();
      others.push(...(await reportAvailability(report, server, size, quick)));
      await reportDuration(report, server, size.records, quick);
    }
    await reportSmall(report, quick);
    report.add("cores that other programs took meanwhile, middle", median(others), "");
  },
};

async function reportAvailability(
  report: Report,
  server: BenchServer,
  { records, rounds, runMs }: Size,
  quick: boolean,
): Promise<readonly number[]> {
  const rates = await halfOfCapacity(server, records, quick);
  const alone: MixedResult[] = [];
  const during: MixedResult[] = [];
  const backupMs: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    alone.push(await mixed(server, records, rates, runMs));
    const stop = new AbortController();
    const running = backUpUntil(server, stop.signal);
    try {
      during.push(await mixed(server, records, rates, runMs));
    } finally {
      stop.abort();
      backupMs.push(...(await running));
    }
  }
  const label = `${records} records`;
  const add = report.add.bind(report);
  const middle = (results: readonly MixedResult[], of: (result: MixedResult) => number): number =>
    median(results.map(of));
  const ratio = (of: (result: MixedResult) => number): number =>
    median(during.map((result, at) => of(result) / of(alone[at] ?? result)));
  const readP99 = ({ get }: MixedResult): number => get.latencyMs.p99;
  const writeP99 = ({ update }: MixedResult): number => update.latencyMs.p99;
  const worstWrite = (results: readonly MixedResult[]): number =>
    Math.max(...results.map(({ update }) => update.latencyMs.max));
  add(`${label}: reads and writes at half load`, rates.get + rates.update, "/s");
  add(`${label}: backups meanwhile`, backupMs.length, "", { atLeast: 1 });
  // None at all: a call that fails ends the run.
  const errors = during.flatMap(({ get, update }) => [get, update].flatMap(failuresOf));
  add(`${label}: errors during backups`, errors.length, "", { atMost: 0 });
  add(`${label}: read p99, alone`, middle(alone, readP99), "ms");
  add(`${label}: read p99, during backups`, middle(during, readP99), "ms");
  add(`${label}: read p99, during / alone`, ratio(readP99), "×", { atMost: 2 });
  add(`${label}: write p99, alone`, middle(alone, writeP99), "ms");
  add(`${label}: write p99, during backups`, middle(during, writeP99), "ms");
  add(`${label}: write p99, during / alone`, ratio(writeP99), "×", { atMost: 3 });
  add(`${label}: worst write, alone`, worstWrite(alone), "ms");
  const isLargest = records === sizes.at(-1)?.records;
  const target = isLargest ? { atMost: 50 } : {};
  add(`${label}: worst write, during backups`, worstWrite(during), "ms", target);
  const worstSync = (results: readonly MixedResult[]): number =>
    Math.max(...results.map(({ worstSyncMs }) => worstSyncMs));
  add(`${label}: worst sync of a page beside, alone`, worstSync(alone), "ms");
  add(`${label}: worst sync of a page beside, during backups`, worstSync(during), "ms");
  const perSecond = ({ get, update }: MixedResult): number => get.perSecond + update.perSecond;
  add(`${label}: throughput, during / alone`, ratio(perSecond), "×", { atLeast: 0.8 });
  const oneS = median(backupMs) / 1000;
  add(`${label}: one backup under load`, oneS * 1000, "ms");
  const reads = middle(during, ({ get }) => get.perSecond) * oneS;
  const writes = middle(during, ({ update }) => update.perSecond) * oneS;
  const isField = records === sizes[0]?.records;
  add(`${label}: reads during one backup`, reads, "", isField ? { atLeast: quoted.reads } : {});
  add(`${label}: writes during one backup`, writes, "", isField ? { atLeast: quoted.writes } : {});
  return [...alone, ...during].map(({ otherCores }) => otherCores);
}

function failuresOf({ failures }: FlowResult): readonly string[] {
  return Object.keys(failures);
}

/** Measured when the server has run for a while: the code of a fresh one is not compiled yet. */
async function halfOfCapacity(
  server: BenchServer,
  records: number,
  quick: boolean,
): Promise<Rates> {
  const runMs = quick ? 200 : 3_000;
  await mixed(server, records, undefined, runMs);
  const most = [
    await mixed(server, records, undefined, runMs),
    await mixed(server, records, undefined, runMs),
  ];
  const half = (of: (result: MixedResult) => number): number =>
    Math.round(median(most.map(of)) / 2);
  return { get: half(({ get }) => get.perSecond), update: half(({ update }) => update.perSecond) };
}

async function reportDuration(
  report: Report,
  server: BenchServer,
  records: number,
  quick: boolean,
): Promise<void> {
  const { plainMs, zstdMs, copiedMs, databaseBytes } = await durations(server, quick ? 1 : 3);
  const label = `${records} records, ${Math.round(databaseBytes / 1e6)} MB`;
  report.add(`${label}: cp, sync and sha256sum`, median(copiedMs), "ms");
  report.add(`${label}: backup without compression`, median(plainMs), "ms");
  report.add(`${label}: backup with zstd`, median(zstdMs), "ms");
  const ratio = median(plainMs.map((ms, at) => ms / (copiedMs[at] ?? ms)));
  const name = `${label}: without compression / cp, sync and sha256sum`;
  report.add(name, ratio, "×", { atMost: 3 });
}

/** What others quote is of small collections. */
async function reportSmall(report: Report, quick: boolean): Promise<void> {
  for (const records of [100, 10_000]) {
    const times = await storeSnapshots(quick ? 100 : records, quick);
    const label = `snapshot of ${records} records`;
    const atMost = records === 100 ? quoted.smallMs : quoted.largeMs;
    report.add(`${label}, first, with the start of its process`, times.firstMs, "ms");
    report.add(label, times.ms, "ms", { atMost });
    report.add(`${label}: worst write of ${times.writes}`, times.worstWriteMs, "ms", {
      atMost: quoted.lockMs,
    });
    report.add(`${label}: worst write without`, times.worstWriteAloneMs, "ms");
    const one = `${label}: longest write during one, middle of ${times.snapshots}`;
    report.add(one, times.longestWriteMs, "ms", { atMost: quoted.lockMs });
  }
  await using server = await benchServer();
  for (const records of quick ? [100] : [100, 10_000]) {
    const name = `few-${records}`;
    await server.fill(name, records);
    const times: number[] = [];
    for (let round = 0; round < (quick ? 2 : 15); round += 1) {
      times.push(await backUp(server, Compression.UNSPECIFIED, name));
    }
    report.add(`whole backup of ${records} records, on the disk`, median(times.slice(1)), "ms");
  }
}

if (import.meta.main) {
  await main(copiesBenchmark);
  if (!process.argv.includes("--quick")) await writeDocsTable();
}
