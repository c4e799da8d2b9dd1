import { create } from "@bufbuild/protobuf";
import { RequestOpSchema } from "../src/gen/collector/collection_server_pb.ts";
import { noteItem } from "../test/support/notes.ts";
import { ServerProcess } from "../test/support/server-process.ts";
import type { TestClient } from "../test/support/test-client.ts";
import { benchServer } from "./bench-server.ts";
import { memoryOf } from "./cpu.ts";
import { type Benchmark, main, median } from "./harness.ts";

const collections = 1_000;
const recordsEach = 100;

export const startBenchmark: Benchmark = {
  name: "start",
  about: "From the start of the process to ready, with 1,000 collections of 100 records.",
  async run(report, quick) {
    await using server = await benchServer();
    const count = quick ? 10 : collections;
    const begin = performance.now();
    for (let number = 0; number < count; number += 1) {
      await prepare(server.client, `notes-${number}`);
    }
    report.add("to prepare a collection", (performance.now() - begin) / count, "ms");
    await server.stop();

    const startMs: number[] = [];
    const memory: number[] = [];
    for (let round = 0; round < (quick ? 1 : 5); round += 1) {
      const started = performance.now();
      await using again = await ServerProcess.start({ dataFolder: server.dataFolder });
      startMs.push(performance.now() - started);
      memory.push(await memoryOf(again.pid));
      await again.stop();
    }
    report.add("start to ready", median(startMs), "ms", { atMost: 2_000 });
    report.add("start to ready, slowest", Math.max(...startMs), "ms");
    report.add("resident memory when ready", median(memory) / 2 ** 20, "MiB");
  },
};

async function prepare(client: TestClient, collectionName: string): Promise<void> {
  await client.createNotes(collectionName, { indexedFields: ["price_cents"] });
  const operations = Array.from({ length: recordsEach }, (_, number) =>
    create(RequestOpSchema, { operation: { case: "create", value: { item: noteItem(number) } } }),
  );
  await client.records.batch({ collectionName, operations });
}

if (import.meta.main) await main(startBenchmark);
