import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { Pricing } from "../examples/gen/pricing_pb.ts";
import { benchServer } from "./bench-server.ts";
import { memoryOf } from "./cpu.ts";
import { type Benchmark, main, median, startBaseline } from "./harness.ts";

const messageBytes = 64 * 1024;
const sampleMs = 20;
const mib = 2 ** 20;

const directions = [
  { name: "down", method: "List", about: "one message, and a stream of them as the answer" },
  { name: "up", method: "Sum", about: "a stream of messages, and one as the answer" },
] as const;

export const streamBenchmark: Benchmark = {
  name: "stream",
  about:
    "1 GiB in messages of 64 KiB in one call of a registered service that is passed on to its endpoint, against a bare `node:http2` pipe in the server's place: the same endpoint, the same client. Memory is the server's peak while it carries a stream, beyond what it had after a first one.",
  async run(report, quick) {
    const messages = (quick ? mib : 1024 * mib) / messageBytes;
    const shape = [String(messages), String(messageBytes)];
    await using endpoint = await startBaseline("stream-ends.ts", shape);
    await using pipe = await startBaseline("pipe-http2.ts", [endpoint.url]);
    await using server = await benchServer();
    await server.client.registry.registerService({
      fileDescriptor: Pricing.file.proto,
      serviceName: Pricing.typeName,
      endpoints: [{ address: endpoint.url }],
    });
    for (const { name, method } of directions) {
      const path = `/${Pricing.typeName}/${method}`;
      const rates: Record<"server" | "pipe", number[]> = { server: [], pipe: [] };
      const growths: number[] = [];
      await carry(server.url, [name, path, ...shape]);
      await carry(pipe.url, [name, path, ...shape]);
      // In turns, so that what else the machine does falls on both.
      for (let round = 0; round < (quick ? 1 : 3); round += 1) {
        await using memory = await watchMemory(server.pid);
        rates.server.push(await carry(server.url, [name, path, ...shape]));
        growths.push(memory.growthBytes / mib);
        rates.pipe.push(await carry(pipe.url, [name, path, ...shape]));
      }
      const [through, bare] = [median(rates.server), median(rates.pipe)];
      report.add(`${name}: through the server`, through, "MiB/s");
      report.add(`${name}: through a bare node:http2 pipe`, bare, "MiB/s");
      report.add(`${name}: server / pipe`, through / bare, "×", { atLeast: 0.8 });
      report.add(`${name}: memory that the server grows by`, Math.max(...growths), "MiB", {
        atMost: 32,
      });
    }
  },
};

/** @returns MiB/s */
async function carry(url: string, args: readonly string[]): Promise<number> {
  const client = join(import.meta.dirname, "baseline", "stream-client.ts");
  // Not the synchronous way: memory is sampled meanwhile.
  const { stdout } = await promisify(execFile)(process.execPath, [client, url, ...args]);
  return Number(stdout);
}

interface MemoryWatch extends AsyncDisposable {
  /** From the beginning to the highest seen. */
  readonly growthBytes: number;
}

async function watchMemory(pid: number): Promise<MemoryWatch> {
  const before = await memoryOf(pid);
  let highest = before;
  let sampling = Promise.resolve();
  const sample = async (): Promise<void> => {
    highest = Math.max(highest, await memoryOf(pid));
  };
  const timer = setInterval(() => {
    sampling = sampling.then(sample);
  }, sampleMs);
  return {
    get growthBytes() {
      return highest - before;
    },
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await sampling;
    },
  };
}

if (import.meta.main) await main(streamBenchmark);
