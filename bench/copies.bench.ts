import { execFileSync } from "node:child_process";
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { Compression } from "../src/gen/collector/collection_repo_pb.ts";
import { type BenchServer, benchServer } from "./bench-server.ts";
import { type Benchmark, main, median, type Report } from "./harness.ts";
import { load } from "./load/load.ts";
import type { FlowResult } from "./load/load-job.ts";

const sizes = [10_000, 100_000, 1_000_000];

export const copiesBenchmark: Benchmark = {
  name: "copies",
  about:
    "Reads and writes at half of what the server can do, alone and while backups run back to back; how long copies take.",
  async run(report, quick) {
    for (const records of quick ? [2_000] : sizes) {
      await using server = await benchServer();
      await server.fill("notes", records);
      await reportAvailability(report, server, records, quick);
      await reportDuration(report, server, records);
    }
  },
};

/** The load of one moment: reads and writes a second. */
interface Rates {
  readonly get: number;
  readonly update: number;
}

interface MixedResult {
  readonly get: FlowResult;
  readonly update: FlowResult;
}

async function reportAvailability(
  report: Report,
  server: BenchServer,
  records: number,
  quick: boolean,
): Promise<void> {
  const most = await mixed(server, records, undefined, quick ? 200 : 4_000);
  const rates = { get: most.get.perSecond / 2, update: most.update.perSecond / 2 };
  const alone: MixedResult[] = [];
  const during: MixedResult[] = [];
  let backups = 0;
  for (let round = 0; round < (quick ? 1 : 3); round += 1) {
    const runMs = quick ? 300 : 8_000;
    alone.push(await mixed(server, records, rates, runMs));
    const stop = new AbortController();
    const running = backUpUntil(server, stop.signal);
    during.push(await mixed(server, records, rates, runMs));
    stop.abort();
    backups += await running;
  }
  const label = `${records} records`;
  report.add(`${label}: backups while measured`, backups, "", { atLeast: 1 });
  report.add(
    `${label}: reads during backups`,
    middle(during, ({ get }) => get.perSecond),
    "/s",
  );
  report.add(
    `${label}: writes during backups`,
    middle(during, ({ update }) => update.perSecond),
    "/s",
  );
  const ratio = (of: (result: MixedResult) => number): number =>
    median(during.map((result, at) => of(result) / of(alone[at] ?? result)));
  report.add(
    `${label}: read p99, alone`,
    middle(alone, ({ get }) => get.latencyMs.p99),
    "ms",
  );
  report.add(
    `${label}: read p99, backups / alone`,
    ratio(({ get }) => get.latencyMs.p99),
    "×",
    {
      atMost: 2,
    },
  );
  report.add(
    `${label}: write p99, alone`,
    middle(alone, ({ update }) => update.latencyMs.p99),
    "ms",
  );
  report.add(
    `${label}: write p99, backups / alone`,
    ratio(({ update }) => update.latencyMs.p99),
    "×",
    {
      atMost: 3,
    },
  );
  const worst = Math.max(...during.map(({ update }) => update.latencyMs.max));
  report.add(
    `${label}: worst write, alone`,
    Math.max(...alone.map(({ update }) => update.latencyMs.max)),
    "ms",
  );
  report.add(`${label}: worst write during backups`, worst, "ms", { atMost: 50 });
  report.add(
    `${label}: throughput, backups / alone`,
    ratio(({ get, update }) => get.perSecond + update.perSecond),
    "×",
    { atLeast: 0.8 },
  );
}

/** Mixed reads and writes, as many as go if no rates are given. */
async function mixed(
  server: BenchServer,
  records: number,
  rates: Rates | undefined,
  runMs: number,
): Promise<MixedResult> {
  const flow = (kind: "get" | "update", inFlight: number) => ({
    source: { kind, collectionName: "notes", records },
    ...(rates === undefined ? { inFlight } : { perSecond: rates[kind] }),
  });
  const job = {
    url: server.url,
    connections: 4,
    warmUpMs: runMs / 8,
    runMs,
    flows: [flow("get", 32), flow("update", 16)],
  };
  const [get, update] = (await load(job, server.pid)).flows;
  if (get === undefined || update === undefined) throw new Error("the load has no flows");
  return { get, update };
}

/** Backs up and removes the backup, over and over. @returns how many were made */
async function backUpUntil(server: BenchServer, signal: AbortSignal): Promise<number> {
  let count = 0;
  while (!signal.aborted) {
    await backUp(server, Compression.UNSPECIFIED);
    count += 1;
  }
  return count;
}

async function backUp(server: BenchServer, compression: Compression): Promise<number> {
  const begin = performance.now();
  const { backup } = await server.client.repo.backupCollection({
    collection: { name: "notes" },
    includeFiles: true,
    compression,
  });
  const tookMs = performance.now() - begin;
  await server.client.repo.deleteBackup({ backupId: backup?.backupId ?? "" });
  return tookMs;
}

async function reportDuration(report: Report, server: BenchServer, records: number): Promise<void> {
  const database = await largestStore(server.dataFolder);
  const copy = join(server.dataFolder, "copy-to-compare");
  const script = 'cp --reflink=never "$0" "$1" && sync "$1" && sha256sum "$1" > /dev/null';
  const plain: number[] = [];
  const zstd: number[] = [];
  const copied: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    const begin = performance.now();
    execFileSync("sh", ["-c", script, database, copy]);
    copied.push(performance.now() - begin);
    await rm(copy);
    plain.push(await backUp(server, Compression.NONE));
    zstd.push(await backUp(server, Compression.ZSTD));
  }
  const label = `${records} records, ${Math.round((await stat(database)).size / 1e6)} MB`;
  report.add(`${label}: backup without compression`, median(plain), "ms");
  report.add(`${label}: backup with zstd`, median(zstd), "ms");
  report.add(
    `${label}: without compression / cp, sync and sha256sum`,
    median(plain.map((ms, at) => ms / (copied[at] ?? ms))),
    "×",
    { atMost: 3 },
  );
}

/** The database of the largest store. */
async function largestStore(dataFolder: string): Promise<string> {
  const folder = join(dataFolder, "stores");
  let largest = { path: "", size: -1 };
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.name !== "data.sqlite") continue;
    const path = join(entry.parentPath, entry.name);
    const { size } = await stat(path);
    if (size > largest.size) largest = { path, size };
  }
  return largest.path;
}

function middle(results: readonly MixedResult[], of: (result: MixedResult) => number): number {
  return median(results.map(of));
}

if (import.meta.main) await main(copiesBenchmark);
