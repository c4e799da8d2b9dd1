import { benchServer } from "./bench-server.ts";
import { type Benchmark, main, median, runBaseline } from "./harness.ts";

const kinds = ["client", "bare", "grpc-js", "connect"] as const;

/** Calls of those whose difference has a target; the others are for comparison, and slow. */
const measured: ReadonlyMap<string, number> = new Map([
  ["client", 10_000],
  ["bare", 10_000],
]);

/** Gets that are under way at a time. */
const flows = [1, 64] as const;

export const clientBenchmark: Benchmark = {
  name: "client",
  about:
    "CPU of a program per Get of a 300-byte record by `collector/client`, typed, against bare gRPC clients that make the same request.",
  async run(report, quick) {
    const records = quick ? 100 : 1_000;
    await using server = await benchServer();
    await server.fill("notes", records);
    for (const inFlight of flows) {
      const costs = new Map(kinds.map((kind) => [kind, [] as number[]]));
      // In turns, so that what else the machine does falls on all of them.
      for (let round = 0; round < (quick ? 1 : 5); round += 1) {
        for (const kind of kinds) {
          const calls = quick ? 50 : (measured.get(kind) ?? 3_000);
          const args = [kind, server.url, String(records), String(calls), String(inFlight)];
          costs.get(kind)?.push(runBaseline("client-gets.ts", args));
        }
      }
      const cpu = (kind: (typeof kinds)[number]): number => median(costs.get(kind) ?? []);
      const how = `${inFlight} in flight`;
      report.add(`client, ${how}`, cpu("client"), "µs CPU");
      report.add(`bare node:http2, ${how}`, cpu("bare"), "µs CPU");
      report.add(`grpc-js, ${how}`, cpu("grpc-js"), "µs CPU");
      report.add(`connect-node, ${how}`, cpu("connect"), "µs CPU");
      report.add(`client - bare node:http2, ${how}`, cpu("client") - cpu("bare"), "µs CPU", {
        atMost: 20,
      });
    }
  },
};

if (import.meta.main) await main(clientBenchmark);
