import { setTimeout as sleep } from "node:timers/promises";
import { IndexInfo_State } from "../src/gen/collector/collection_server_pb.ts";
import { benchServer } from "./bench-server.ts";
import { type Benchmark, main, median, type Report } from "./harness.ts";
import { load } from "./load/load.ts";
import type { LoadFlow } from "./load/load-job.ts";
import { storeGets } from "./store-gets.ts";

const few = 10_000;
const many = 1_000_000;

export const scaleBenchmark: Benchmark = {
  name: "scale",
  about: "A collection of 1 M records against one of 10 k: gets, and an index that is added later.",
  async run(report, quick) {
    const records = quick ? { few: 500, many: 5_000 } : { few, many };
    await using server = await benchServer();
    await server.fill("few", records.few);
    const begin = performance.now();
    await server.fill("many", records.many);
    const fillS = (performance.now() - begin) / 1000;
    report.add(`${records.many} records by batches`, records.many / fillS, "records/s");

    const run = async (collectionName: "few" | "many", runMs: number) => {
      const source = { kind: "get" as const, collectionName, records: records[collectionName] };
      const flows = [{ source, inFlight: 64 }];
      const job = { url: server.url, connections: 4, warmUpMs: runMs / 4, runMs, flows };
      return await load(job, server.pid);
    };
    const ratios: number[] = [];
    const cpu = { few: [] as number[], many: [] as number[] };
    for (let round = 0; round < (quick ? 1 : 5); round += 1) {
      const small = await run("few", quick ? 100 : 3_000);
      const large = await run("many", quick ? 100 : 3_000);
      cpu.few.push(small.serverCpuUsPerCall);
      cpu.many.push(large.serverCpuUsPerCall);
      ratios.push((small.flows[0]?.perSecond ?? 0) / (large.flows[0]?.perSecond ?? 1));
    }
    report.add("Get of 10 k", median(cpu.few), "µs CPU");
    report.add("Get of 1 M", median(cpu.many), "µs CPU");
    report.add("Get, 1 M / 10 k, CPU", median(cpu.many) / median(cpu.few), "×", { atMost: 1.5 });
    report.add("Get, 1 M / 10 k, time", median(ratios), "×", { atMost: 1.5 });

    await addIndexUnderLoad(report, server, records.many, quick);

    await server.stop();
    const store = await storeGets(server.dataFolder, [records.few, records.many], quick);
    const [small = Number.NaN, large = Number.NaN] = store;
    report.add("storage get of 10 k", small, "µs");
    report.add("storage get of 1 M", large, "µs");
    report.add("storage get, 1 M / 10 k", large / small, "×", { atMost: 1.5 });
  },
};

/** Writes and reads at a moderate rate, first alone and then while an index is built. */
async function addIndexUnderLoad(
  report: Report,
  server: Awaited<ReturnType<typeof benchServer>>,
  records: number,
  quick: boolean,
): Promise<void> {
  const collectionName = "many";
  const flows: readonly LoadFlow[] = [
    { source: { kind: "get", collectionName, records }, perSecond: 500 },
    { source: { kind: "create", collectionName }, perSecond: 200 },
  ];
  const job = { url: server.url, connections: 2, warmUpMs: quick ? 50 : 1_000, flows };
  const calm = await load({ ...job, runMs: quick ? 100 : 10_000 }, server.pid);
  report.add("worst Create without Modify", calm.flows[1]?.latencyMs.max ?? Number.NaN, "ms");

  let buildMs = 0;
  let built: Promise<void> | undefined;
  const modify = async () => {
    const begin = performance.now();
    const indexedFields = ["price_cents", "author.name"];
    await server.client.records.modify({ collectionName, indexedFields });
    await indexIsReady(server, collectionName);
    buildMs = performance.now() - begin;
  };
  const busy = await load({ ...job, runMs: quick ? 300 : 40_000 }, server.pid, {
    onBegin: () => {
      built = modify();
    },
  });
  await built;
  report.add("time to build the index", buildMs / 1000, "s");
  const [get, write] = busy.flows;
  const worstWrite = write?.latencyMs.max ?? Number.NaN;
  report.add("worst Create during Modify", worstWrite, "ms", { atMost: 50 });
  report.add("Create during Modify, p99.9", write?.latencyMs.p999 ?? Number.NaN, "ms");
  report.add("worst Get during Modify", get?.latencyMs.max ?? Number.NaN, "ms");
  report.add("Get during Modify, p99.9", get?.latencyMs.p999 ?? Number.NaN, "ms");
}

async function indexIsReady(
  server: Awaited<ReturnType<typeof benchServer>>,
  collectionName: string,
): Promise<void> {
  for (;;) {
    const { indexes } = await server.client.records.describe({ collectionName });
    const index = indexes.find(({ field }) => field === "author.name");
    if (index?.state === IndexInfo_State.READY) return;
    await sleep(50);
  }
}

if (import.meta.main) await main(scaleBenchmark);
