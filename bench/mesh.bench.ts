import { setTimeout as sleep } from "node:timers/promises";
import { LinkState } from "../src/gen/collector/mesh_pb.ts";
import { openLinkFixture } from "../test/support/link-fixture.ts";
import { waitUntil } from "../test/support/wait.ts";
import { type BenchServer, benchServer } from "./bench-server.ts";
import { cpuOf, memoryOf } from "./cpu.ts";
import { type Benchmark, main } from "./harness.ts";

/** As many as one collector may have. */
const peers = 64;
const idleMs = 30_000;

export const meshBenchmark: Benchmark = {
  name: "mesh",
  about: "What a link costs that nothing is sent over: a collector that 64 others are linked to.",
  async run(report, quick) {
    await using hub = await benchServer();
    const [count, ms] = quick ? [4, 200] : [peers, idleMs];
    await sleep(ms / 10);
    const alone = { cpu: await idleCpu(hub, ms), memory: await memoryOf(hub.pid) };
    await using others = new AsyncDisposableStack();
    const beginMs = performance.now();
    for (let i = 0; i < count; i += 1) {
      // With the health checks of a server, not those of a test.
      const limits = { linkPingMs: 5000, linkTimeoutMs: 10_000, linkRetryMaxMs: 10_000 };
      const other = others.use(await openLinkFixture(`peer-${i}`, { limits }));
      const address = new URL(hub.url).host;
      await other.links.connect({ address, namespaces: [], labels: {} });
    }
    report.add("a Connect, one after the other", (performance.now() - beginMs) / count, "ms");
    await waitUntil("all are up and dialled back", 30_000, async () => {
      const { connections } = await hub.client.mesh.listConnections({ pageSize: 1000 });
      return (
        connections.length === count &&
        connections.every(({ state, dials }) => state === LinkState.UP && dials)
      );
    });
    await sleep(ms / 10);
    const cpu = await idleCpu(hub, ms);
    const memory = await memoryOf(hub.pid);
    report.add(`CPU without links`, alone.cpu, "µs/s");
    report.add(`CPU with ${count} links`, cpu, "µs/s");
    report.add("CPU of an idle link", (cpu - alone.cpu) / count, "µs/s");
    report.add("memory of an idle link", (memory - alone.memory) / count / 1024, "KiB");
  },
};

/** CPU time that a server uses in a second while nobody calls it, in µs. */
async function idleCpu(server: BenchServer, ms: number): Promise<number> {
  const before = await cpuOf(server.pid);
  const beginMs = performance.now();
  await sleep(ms);
  return ((await cpuOf(server.pid)) - before) / ((performance.now() - beginMs) / 1000);
}

if (import.meta.main) await main(meshBenchmark);
