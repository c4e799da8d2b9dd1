import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { tempFolder } from "../test/support/temp-folder.ts";
import { waitUntil } from "../test/support/wait.ts";
import { benchServer } from "./bench-server.ts";
import { type Benchmark, main } from "./harness.ts";
import { load } from "./load/load.ts";

const records = 100_000;
const probe = join(import.meta.dirname, "probe/loop-probe.ts");

interface LoopDelay {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export const loopBenchmark: Benchmark = {
  name: "loop",
  about: "Delay of the server's event loop under 2,000 gets/s and 400 creates/s.",
  async run(report, quick) {
    await using folder = await tempFolder("probe");
    const path = join(folder.path, "delay.json");
    await using server = await benchServer({
      nodeArgs: ["--import", probe],
      env: { COLLECTOR_LOOP_PROBE: path },
    });
    const collectionName = "notes";
    const count = quick ? 1_000 : records;
    await server.fill(collectionName, count);
    const job = {
      url: server.url,
      connections: 4,
      warmUpMs: quick ? 50 : 2_000,
      runMs: quick ? 300 : 60_000,
      flows: [
        { source: { kind: "get" as const, collectionName, records: count }, perSecond: 2_000 },
        { source: { kind: "create" as const, collectionName }, perSecond: 400 },
      ],
    };
    const toggle = () => process.kill(server.pid, "SIGUSR2");
    const result = await load(job, server.pid, { onBegin: toggle, onEnd: toggle });
    let delay: LoopDelay | undefined;
    await waitUntil("the probe reports", 5_000, async () => {
      delay = JSON.parse(await readFile(path, "utf8")) as LoopDelay;
      return true;
    });
    if (delay === undefined) throw new Error("the probe reports nothing");
    report.add("event-loop delay p50", delay.p50, "ms");
    report.add("event-loop delay p99", delay.p99, "ms", { atMost: 10 });
    report.add("event-loop delay p99.9", delay.p999, "ms");
    report.add("event-loop delay, worst", delay.max, "ms");
    for (const [index, name] of ["Get", "Create"].entries()) {
      const flow = result.flows[index];
      if (flow === undefined) throw new Error("the load has no such flow");
      report.add(`${name}, rate`, flow.perSecond, "calls/s");
      report.add(`${name}, p99`, flow.latencyMs.p99, "ms");
    }
  },
};

if (import.meta.main) await main(loopBenchmark);
