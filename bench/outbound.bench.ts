import { type Benchmark, main, median, runBaseline, startBaseline } from "./harness.ts";

const kinds = ["channel", "bare", "grpc-js", "connect"] as const;

export const outboundBenchmark: Benchmark = {
  name: "outbound",
  about:
    "Client CPU per unary gRPC call of 300 bytes each way, 64 in flight, against other clients of the same server.",
  async run(report, quick) {
    await using server = await startBaseline("echo-http2.ts", ["305", "trailers"]);
    const calls = quick ? 100 : 10_000;
    const results: Record<(typeof kinds)[number], number[]> = {
      channel: [],
      bare: [],
      "grpc-js": [],
      connect: [],
    };
    // In turns, so that what else the machine does falls on all of them.
    for (let round = 0; round < (quick ? 1 : 5); round += 1) {
      for (const kind of kinds) {
        const args = [kind, server.url, String(calls)];
        results[kind].push(runBaseline("outbound-client.ts", args));
      }
    }
    const cpu = (kind: (typeof kinds)[number]): number => median(results[kind]);
    report.add("channel", cpu("channel"), "µs CPU");
    report.add("bare node:http2", cpu("bare"), "µs CPU");
    report.add("grpc-js", cpu("grpc-js"), "µs CPU");
    report.add("connect-node's gRPC transport", cpu("connect"), "µs CPU");
    report.add("channel / bare node:http2", cpu("channel") / cpu("bare"), "×", { atMost: 1.5 });
    report.add("channel / grpc-js", cpu("channel") / cpu("grpc-js"), "×", { atMost: 0.7 });
    report.add("channel / connect-node", cpu("channel") / cpu("connect"), "×", { atMost: 0.4 });
  },
};

if (import.meta.main) await main(outboundBenchmark);
