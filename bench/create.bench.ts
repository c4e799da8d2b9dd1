import { benchServer } from "./bench-server.ts";
import { type Benchmark, main, median, runBaseline } from "./harness.ts";
import { type LoadResult, load } from "./load/load.ts";

const inFlight = 64;

export const createBenchmark: Benchmark = {
  name: "create",
  about:
    "Durable creates per second, 64 in flight, full text and one indexed field, against SQLite alone.",
  async run(report, quick) {
    await using server = await benchServer();
    const seconds = quick ? 0.2 : 4;
    const results: LoadResult[] = [];
    const grouped: number[] = [];
    const alone: number[] = [];
    for (let round = 0; round < (quick ? 1 : 5); round += 1) {
      const collectionName = `notes-${round}`;
      await server.client.createNotes(collectionName, { indexedFields: ["price_cents"] });
      const job = {
        url: server.url,
        connections: 4,
        warmUpMs: seconds * 200,
        runMs: seconds * 1000,
        flows: [{ source: { kind: "create" as const, collectionName }, inFlight }],
      };
      results.push(await load(job, server.pid));
      const bare = (groupSize: number) =>
        runBaseline("bare-sqlite.ts", [server.dataFolder, String(groupSize), String(seconds)]);
      grouped.push(bare(inFlight));
      alone.push(bare(1));
    }
    const perSecond = median(results.map(({ flows }) => flows[0]?.perSecond ?? 0));
    report.add("Create", perSecond, "calls/s");
    report.add("SQLite alone, 64 rows to a commit", median(grouped), "rows/s");
    report.add("SQLite alone, one row to a commit", median(alone), "rows/s");
    report.add("Create / 64 to a commit", perSecond / median(grouped), "×", { atLeast: 0.6 });
    report.add("Create / one to a commit", perSecond / median(alone), "×", { atLeast: 4 });
    const p99 = median(results.map(({ flows }) => flows[0]?.latencyMs.p99 ?? Number.NaN));
    report.add("Create, 64 in flight, p99", p99, "ms");
    report.add("Create", median(results.map((result) => result.serverCpuUsPerCall)), "µs CPU");
    const client = median(results.map((result) => result.clientCpuUsPerCall));
    report.add("load generator", client, "µs CPU");
  },
};

if (import.meta.main) await main(createBenchmark);
