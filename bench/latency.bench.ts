import { benchServer } from "./bench-server.ts";
import { type Benchmark, main } from "./harness.ts";
import { load } from "./load/load.ts";
import type { Source } from "./load/sources.ts";

const records = 10_000;

export const latencyBenchmark: Benchmark = {
  name: "latency",
  about: "How long one call takes when it is the only one.",
  async run(report, quick) {
    await using server = await benchServer();
    const collectionName = "notes";
    await server.fill(collectionName, records);
    const sources: Readonly<Record<string, Source>> = {
      Get: { kind: "get", collectionName, records },
      Create: { kind: "create", collectionName },
      Update: { kind: "update", collectionName, records: records / 2 },
      "List, 10 records": { kind: "list", collectionName, pageSize: 10 },
      "List, 100 records": { kind: "list", collectionName, pageSize: 100 },
      Delete: { kind: "delete", collectionName, first: records / 2 },
    };
    for (const [name, source] of Object.entries(sources)) {
      const deletes = source.kind === "delete";
      const job = {
        url: server.url,
        connections: 1,
        // What is deleted is gone: there must be enough to the end.
        warmUpMs: quick || deletes ? 20 : 500,
        runMs: quick ? 100 : deletes ? 1_000 : 3_000,
        flows: [{ source, inFlight: 1 }],
      };
      const { flows } = await load(job, server.pid);
      const [flow] = flows;
      if (flow === undefined) throw new Error("the load has no flow");
      report.add(`${name}, median`, flow.latencyMs.p50, "ms");
      report.add(`${name}, p99`, flow.latencyMs.p99, "ms");
    }
  },
};

if (import.meta.main) await main(latencyBenchmark);
