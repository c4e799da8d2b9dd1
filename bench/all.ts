import { archiveBenchmark } from "./archive.bench.ts";
import { cliBenchmark } from "./cli.bench.ts";
import { clientBenchmark } from "./client.bench.ts";
import { copiesBenchmark } from "./copies.bench.ts";
import { createBenchmark } from "./create.bench.ts";
import { forwardBenchmark } from "./forward.bench.ts";
import { getBenchmark } from "./get.bench.ts";
import { type Benchmark, runBenchmark } from "./harness.ts";
import { latencyBenchmark } from "./latency.bench.ts";
import { loopBenchmark } from "./loop.bench.ts";
import { loopbackBenchmark } from "./loopback.bench.ts";
import { manyFilesBenchmark } from "./many-files.bench.ts";
import { meshBenchmark } from "./mesh.bench.ts";
import { outboundBenchmark } from "./outbound.bench.ts";
import { remoteCloneBenchmark } from "./remote-clone.bench.ts";
import { scaleBenchmark } from "./scale.bench.ts";
import { searchBenchmark } from "./search.bench.ts";
import { serveBenchmark } from "./serve.bench.ts";
import { startBenchmark } from "./start.bench.ts";
import { streamBenchmark } from "./stream.bench.ts";
import { transfersBenchmark } from "./transfers.bench.ts";
import { vectorsBenchmark } from "./vectors.bench.ts";
import { watchBenchmark } from "./watch.bench.ts";

export const benchmarks: readonly Benchmark[] = [
  getBenchmark,
  forwardBenchmark,
  streamBenchmark,
  serveBenchmark,
  latencyBenchmark,
  createBenchmark,
  loopBenchmark,
  startBenchmark,
  cliBenchmark,
  searchBenchmark,
  vectorsBenchmark,
  watchBenchmark,
  outboundBenchmark,
  clientBenchmark,
  remoteCloneBenchmark,
  scaleBenchmark,
  copiesBenchmark,
  loopbackBenchmark,
  meshBenchmark,
  transfersBenchmark,
  archiveBenchmark,
  manyFilesBenchmark,
];

if (import.meta.main) {
  const quick = process.argv.includes("--quick");
  const missed: string[] = [];
  for (const benchmark of benchmarks) {
    if (!(await runBenchmark(benchmark, quick))) missed.push(benchmark.name);
  }
  if (missed.length > 0) {
    console.log(`targets missed by: ${missed.join(", ")}`);
    process.exitCode = 1;
  }
}
