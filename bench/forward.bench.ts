import { create, toBinary } from "@bufbuild/protobuf";
import { Pricing, QuoteRequestSchema } from "../examples/gen/pricing_pb.ts";
import { benchServer } from "./bench-server.ts";
import { type Benchmark, main, median, startBaseline } from "./harness.ts";
import { type LoadResult, load } from "./load/load.ts";
import type { LoadJob } from "./load/load-job.ts";
import type { Source } from "./load/sources.ts";

/** About what a small record has. */
const titleChars = 260;

export const forwardBenchmark: Benchmark = {
  name: "forward",
  about:
    "A unary call of a registered service that is passed on to its endpoint, a bare node:http2 echo, against the same call made to that directly.",
  async run(report, quick) {
    await using endpoint = await startBaseline("echo-bytes.ts", []);
    await using server = await benchServer();
    await server.client.registry.registerService({
      fileDescriptor: Pricing.file.proto,
      serviceName: Pricing.typeName,
      endpoints: [{ address: endpoint.url }],
    });
    const request = create(QuoteRequestSchema, { title: "x".repeat(titleChars), quantity: 1 });
    const source: Source = {
      kind: "fixed",
      path: `/${Pricing.typeName}/Quote`,
      message: toBinary(QuoteRequestSchema, request),
    };
    const job: Omit<LoadJob, "url" | "flows"> = {
      connections: 4,
      warmUpMs: quick ? 50 : 1_000,
      runMs: quick ? 100 : 4_000,
    };
    const results: Record<"busy" | "bare" | "alone" | "direct", LoadResult[]> = {
      busy: [],
      bare: [],
      alone: [],
      direct: [],
    };
    const busy = [{ source, inFlight: 64 }];
    const alone = [{ source, inFlight: 1 }];
    const { url, pid } = server;
    // In turns, so that what else the machine does falls on all of them.
    for (let round = 0; round < (quick ? 1 : 3); round += 1) {
      results.busy.push(await load({ ...job, url, flows: busy }, pid));
      results.bare.push(await load({ ...job, url: endpoint.url, flows: busy }, endpoint.pid));
      results.alone.push(await load({ ...job, url, flows: alone }, pid));
      results.direct.push(await load({ ...job, url: endpoint.url, flows: alone }, endpoint.pid));
    }
    const cpu = (name: keyof typeof results) =>
      median(results[name].map(({ serverCpuUsPerCall }) => serverCpuUsPerCall));
    const p50 = (name: keyof typeof results) =>
      median(results[name].map(({ flows }) => flows[0]?.latencyMs.p50 ?? Number.NaN));
    report.add("forwarded", cpu("busy"), "µs CPU");
    report.add("bare node:http2 echo", cpu("bare"), "µs CPU");
    report.add("forwarded / bare node:http2 echo", cpu("busy") / cpu("bare"), "×", { atMost: 3 });
    report.add("forwarded, one at a time", p50("alone"), "ms p50");
    report.add("direct, one at a time", p50("direct"), "ms p50");
    report.add("p50 that forwarding adds", p50("alone") - p50("direct"), "ms", { atMost: 0.5 });
  },
};

if (import.meta.main) await main(forwardBenchmark);
