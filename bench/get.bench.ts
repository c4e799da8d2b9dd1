import { create, toBinary } from "@bufbuild/protobuf";
import { GetRequestSchema } from "../src/gen/collector/collection_server_pb.ts";
import { callRaw, connectRaw, frame } from "../test/support/raw-call.ts";
import { benchServer } from "./bench-server.ts";
import { type Benchmark, main, median, startBaseline } from "./harness.ts";
import { type LoadResult, load } from "./load/load.ts";
import type { LoadJob } from "./load/load-job.ts";
import { recordId, type Source } from "./load/sources.ts";

const records = 10_000;

export const getBenchmark: Benchmark = {
  name: "get",
  about:
    "Server CPU per gRPC Get of a 300-byte record, random ids, against servers that do nothing.",
  async run(report, quick) {
    await using server = await benchServer();
    await server.fill("notes", quick ? 1_000 : records);
    const answerBytes = await bytesOfAnswer(server.url);
    report.add("answer", answerBytes, "bytes");
    await using bare = await startBaseline("echo-http2.ts", [String(answerBytes)]);
    await using trailers = await startBaseline("echo-http2.ts", [String(answerBytes), "trailers"]);
    await using grpcJs = await startBaseline("echo-grpc-js.ts", [String(answerBytes)]);

    const source: Source = {
      kind: "get",
      collectionName: "notes",
      records: quick ? 1_000 : records,
    };
    const job: Omit<LoadJob, "url"> = {
      connections: 4,
      warmUpMs: quick ? 50 : 1_000,
      runMs: quick ? 100 : 4_000,
      flows: [{ source, inFlight: 64 }],
    };
    const contestants = { server, bare, trailers, grpcJs };
    const results: Record<keyof typeof contestants, LoadResult[]> = {
      server: [],
      bare: [],
      trailers: [],
      grpcJs: [],
    };
    // In turns, so that what else the machine does falls on all of them.
    for (let round = 0; round < (quick ? 1 : 7); round += 1) {
      for (const [name, { url, pid }] of Object.entries(contestants)) {
        results[name as keyof typeof contestants].push(await load({ url, ...job }, pid));
      }
    }
    const cpu = (name: keyof typeof contestants) =>
      median(results[name].map(({ serverCpuUsPerCall }) => serverCpuUsPerCall));
    report.add("Get", cpu("server"), "µs CPU");
    report.add("bare node:http2", cpu("bare"), "µs CPU");
    report.add("bare node:http2 with trailers", cpu("trailers"), "µs CPU");
    report.add("empty grpc-js", cpu("grpcJs"), "µs CPU");
    report.add("Get / bare node:http2", cpu("server") / cpu("bare"), "×", { atMost: 2.2 });
    report.add("Get / empty grpc-js", cpu("server") / cpu("grpcJs"), "×", { atMost: 1 });
    const perSecond = results.server.map(({ flows }) => flows[0]?.perSecond ?? 0);
    report.add("Get, 64 in flight", median(perSecond), "calls/s");
    const client = median(results.server.map(({ clientCpuUsPerCall }) => clientCpuUsPerCall));
    report.add("load generator / Get", client / cpu("server"), "× CPU");
  },
};

/** How many bytes the server answers to a Get, the frame's head included. */
async function bytesOfAnswer(url: string): Promise<number> {
  using connection = connectRaw(url);
  const request = create(GetRequestSchema, { collectionName: "notes", id: recordId(1) });
  const body = frame(toBinary(GetRequestSchema, request));
  const answer = await callRaw(connection.session, "/collector.CollectionService/Get", body);
  if (answer.status !== 0) throw new Error(`Get answers ${answer.status}: ${answer.message}`);
  return answer.body.length;
}

if (import.meta.main) await main(getBenchmark);
