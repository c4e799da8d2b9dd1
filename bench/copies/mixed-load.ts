import { Compression } from "../../src/gen/collector/collection_repo_pb.ts";
import type { BenchServer } from "../bench-server.ts";
import { busyUsOfMachine, cpuOf } from "../cpu.ts";
import { load } from "../load/load.ts";
import type { FlowResult } from "../load/load-job.ts";
import { probeSyncs } from "./sync-probe.ts";

export const collectionName = "notes";

/** Reads and writes a second. */
export interface Rates {
  readonly get: number;
  readonly update: number;
}

export interface MixedResult {
  readonly get: FlowResult;
  readonly update: FlowResult;
  /** Cores that programs took which have no part in the measurement. */
  readonly otherCores: number;
  /** The longest sync of a page by a program beside, in ms. */
  readonly worstSyncMs: number;
}

/** What makes a fresh process of calls as fast as it gets, in ms: until then it takes a core, and sends in bursts. */
const warmUpMs = 3_000;

/** Mixed reads and writes, as many as go if no rates are given. */
export async function mixed(
  server: BenchServer,
  records: number,
  rates: Rates | undefined,
  runMs: number,
): Promise<MixedResult> {
  const flow = (kind: "get" | "update", inFlight: number) => ({
    source: { kind, collectionName, records },
    ...(rates === undefined ? { inFlight } : { perSecond: rates[kind] }),
  });
  const job = {
    url: server.url,
    connections: 4,
    warmUpMs: Math.min(warmUpMs, runMs),
    runMs,
    flows: [flow("get", 32), flow("update", 16)],
  };
  const cpu = () => Promise.all([busyUsOfMachine(), cpuOf(process.pid)]);
  let begin: ReturnType<typeof cpu> | undefined;
  let end: ReturnType<typeof cpu> | undefined;
  await using syncs = await probeSyncs(server.dataFolder);
  const { flows, tookMs } = await load(job, server.pid, {
    onBegin: () => {
      begin = cpu();
    },
    onEnd: () => {
      end = cpu();
    },
  });
  const [get, update] = flows;
  const [before, after] = await Promise.all([begin, end]);
  if (get === undefined || update === undefined || before === undefined || after === undefined) {
    throw new Error("the load has no such flows");
  }
  const others = after[0] - before[0] - (after[1] - before[1]);
  const worstSyncMs = syncs.worstMs();
  return { get, update, worstSyncMs, otherCores: Math.max(0, others / 1000 / tookMs) };
}

/** Backs up and removes the backup, over and over. @returns how long each backup took, in ms */
export async function backUpUntil(server: BenchServer, signal: AbortSignal): Promise<number[]> {
  const times: number[] = [];
  while (!signal.aborted) times.push(await backUp(server, Compression.UNSPECIFIED));
  return times;
}

/** Backs up and removes the backup. @returns how long the backup took, in ms */
export async function backUp(
  server: BenchServer,
  compression: Compression,
  name: string = collectionName,
): Promise<number> {
  const begin = performance.now();
  const { backup } = await server.client.repo.backupCollection({
    collection: { name },
    includeFiles: true,
    compression,
  });
  const tookMs = performance.now() - begin;
  await server.client.repo.deleteBackup({ backupId: backup?.backupId ?? "" });
  return tookMs;
}
