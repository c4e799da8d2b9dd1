import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Pricing, QuoteRequestSchema } from "../examples/gen/pricing_pb.ts";
import { ServeRequestSchema } from "../src/gen/collector/dispatcher_pb.ts";
import { callRaw, connectRaw, frame } from "../test/support/raw-call.ts";
import { tempFolder } from "../test/support/temp-folder.ts";
import { type Benchmark, main, median, startBaseline } from "./harness.ts";
import { type LoadResult, load } from "./load/load.ts";
import type { LoadJob } from "./load/load-job.ts";
import type { Source } from "./load/sources.ts";

/** About what a small record has. */
const titleChars = 260;
const path = "/collector.CollectiveDispatcher/Serve";

export const serveBenchmark: Benchmark = {
  name: "serve",
  about:
    "Serve of a method that a handler in the server's process runs, against a grpc-js handler that reads nothing and answers as many bytes.",
  async run(report, quick) {
    await using folder = await tempFolder("bench-serve");
    await using server = await startBaseline("serving-collector.ts", [folder.path]);
    const input = create(QuoteRequestSchema, { title: "x".repeat(titleChars), quantity: 1 });
    const message = toBinary(
      ServeRequestSchema,
      create(ServeRequestSchema, {
        namespace: "default",
        service: { namespace: "default", serviceName: Pricing.typeName },
        methodName: "Quote",
        input: anyPack(QuoteRequestSchema, input),
      }),
    );
    const bytes = await bytesOfAnswer(server.url, message);
    report.add("answer", bytes, "bytes");
    await using bare = await startBaseline("echo-grpc-js.ts", [String(bytes)]);
    const served: Source = { kind: "fixed", path, message };
    const echoed: Source = { ...served, path: "/collector.CollectionService/Get" };
    const job: Omit<LoadJob, "url" | "flows"> = {
      connections: 4,
      warmUpMs: quick ? 50 : 1_000,
      runMs: quick ? 100 : 4_000,
    };
    const results: Record<"serve" | "bare", LoadResult[]> = { serve: [], bare: [] };
    // In turns, so that what else the machine does falls on both.
    for (let round = 0; round < (quick ? 1 : 5); round += 1) {
      const flows = (source: Source) => [{ source, inFlight: 64 }];
      const serve = { ...job, url: server.url, flows: flows(served) };
      results.serve.push(await load(serve, server.pid));
      results.bare.push(await load({ ...job, url: bare.url, flows: flows(echoed) }, bare.pid));
    }
    const cpu = (name: keyof typeof results) =>
      median(results[name].map(({ serverCpuUsPerCall }) => serverCpuUsPerCall));
    const rate = (name: keyof typeof results) =>
      median(results[name].map(({ flows }) => flows[0]?.perSecond ?? Number.NaN));
    report.add("Serve", cpu("serve"), "µs CPU");
    report.add("grpc-js echo", cpu("bare"), "µs CPU");
    report.add("Serve / grpc-js echo", cpu("serve") / cpu("bare"), "×", { atMost: 1.2 });
    report.add("Serve, 64 in flight", rate("serve"), "calls/s");
    report.add("grpc-js echo, 64 in flight", rate("bare"), "calls/s");
  },
};

/** How many bytes the server answers, the frame's head included. */
async function bytesOfAnswer(url: string, message: Uint8Array): Promise<number> {
  using connection = connectRaw(url);
  const answer = await callRaw(connection.session, path, frame(message));
  if (answer.status !== 0) throw new Error(`Serve answers ${answer.status}: ${answer.message}`);
  return answer.body.byteLength;
}

if (import.meta.main) await main(serveBenchmark);
