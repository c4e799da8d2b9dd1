import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { WatchRequestSchema } from "../src/gen/collector/record_streams_pb.ts";
import { beginWatch, connectRaw, frame, type RawConnection } from "../test/support/raw-call.ts";
import { type TempFolder, tempFolder } from "../test/support/temp-folder.ts";
import { type BenchServer, benchServer } from "./bench-server.ts";
import { memoryOf } from "./cpu.ts";
import { type Benchmark, main, median } from "./harness.ts";
import { load } from "./load/load.ts";

const inFlight = 64;
const idle = 1_000;
const manyIdle = 10_000;
const matching = 10;
const streamsPerConnection = 500;

export const watchBenchmark: Benchmark = {
  name: "watch",
  about:
    "Durable creates per second, 64 in flight, while a collection is watched: by nobody, by 1,000 whose filter never holds, by 10 more who are told of all.",
  async run(report, quick) {
    await using folder = await tempFolder("bench-watch");
    const args = ["--config", await configFile(folder)];
    const creates: { alone: number[]; idle: number[]; busy: number[] } = {
      alone: [],
      idle: [],
      busy: [],
    };
    for (let round = 0; round < (quick ? 1 : 5); round += 1) {
      await using server = await benchServer({ args });
      // Once for the code to be compiled. Each on a collection of its own: they slow down as they grow.
      await createsPerSecond(server, await newCollection(server, "first"), quick);
      const alone = await newCollection(server, "alone");
      creates.alone.push(await createsPerSecond(server, alone, quick));
      const idled = await newCollection(server, "idle");
      const busy = await newCollection(server, "busy");
      {
        using _idle = await watchAll(server, idled, quick ? 10 : idle, neverHolds);
        creates.idle.push(await createsPerSecond(server, idled, quick));
      }
      using _idle = await watchAll(server, busy, quick ? 10 : idle, neverHolds);
      using told = await watchAll(server, busy, matching, () => "price_cents >= 0");
      creates.busy.push(await createsPerSecond(server, busy, quick));
      if (told.bytes() === 0) throw new Error("nobody was told of anything");
    }
    const alone = median(creates.alone);
    report.add("Create, nobody watches", alone, "calls/s");
    report.add(`Create, ${idle} idle watches`, median(creates.idle), "calls/s");
    report.add(`Create, ${idle} idle and ${matching} told of all`, median(creates.busy), "calls/s");
    report.add("idle watches / nobody", median(ratios(creates.idle, creates.alone)), "×", {
      atLeast: 0.8,
    });
    report.add("idle and told / nobody", median(ratios(creates.busy, creates.alone)), "×", {
      atLeast: 0.8,
    });
    await reportMemory(report, args, quick);
  },
};

async function reportMemory(
  report: Parameters<Benchmark["run"]>[0],
  args: readonly string[],
  quick: boolean,
): Promise<void> {
  await using server = await benchServer({ args });
  const collectionName = await newCollection(server, "many");
  // What the first ones cost once is not of each.
  using _first = await watchAll(server, collectionName, quick ? 5 : idle, () => 'title = "none"');
  const before = await memoryOf(server.pid);
  const count = quick ? 10 : manyIdle - idle;
  using _more = await watchAll(server, collectionName, count, neverHolds);
  const each = ((await memoryOf(server.pid)) - before) / count;
  report.add("memory of an idle watch, the mean of 9,000", each / 1024, "KiB");
  const perSecond = await createsPerSecond(server, collectionName, quick);
  report.add(`Create, ${manyIdle} idle watches`, perSecond, "calls/s");
}

async function newCollection(server: BenchServer, name: string): Promise<string> {
  return (await server.client.createNotes(name)).name;
}

/** A filter for each number, for which no note has a price. */
function neverHolds(number: number): string {
  return `price_cents = ${-1 - number}`;
}

interface OpenWatches extends Disposable {
  /** What all of them have received. */
  bytes(): number;
}

/** Opens watches, and waits until all are in force. What they receive is counted and thrown away. */
async function watchAll(
  server: BenchServer,
  collectionName: string,
  count: number,
  where: (number: number) => string,
): Promise<OpenWatches> {
  const connections: RawConnection[] = [];
  const begun: Promise<void>[] = [];
  let received = 0;
  for (let number = 0; number < count; number += 1) {
    if (number % streamsPerConnection === 0) {
      await Promise.all(begun.splice(0));
      connections.push(connectRaw(server.url));
    }
    const connection = connections.at(-1);
    if (connection === undefined) throw new Error("there is no connection");
    const request = create(WatchRequestSchema, { collectionName, where: where(number) });
    const body = frame(toBinary(WatchRequestSchema, request));
    const path = "/collector.RecordStreams/Watch";
    begun.push(beginWatch(connection.session, path, body, (bytes) => (received += bytes)));
  }
  await Promise.all(begun);
  const first = received;
  return {
    bytes: () => received - first,
    [Symbol.dispose]: () => {
      for (const connection of connections) connection[Symbol.dispose]();
    },
  };
}

async function createsPerSecond(
  server: BenchServer,
  collectionName: string,
  quick: boolean,
): Promise<number> {
  const seconds = quick ? 0.2 : 3;
  const job = {
    url: server.url,
    connections: 4,
    warmUpMs: seconds * 200,
    runMs: seconds * 1000,
    flows: [{ source: { kind: "create" as const, collectionName }, inFlight }],
  };
  const { flows } = await load(job, server.pid);
  return flows[0]?.perSecond ?? 0;
}

function ratios(some: readonly number[], all: readonly number[]): number[] {
  return some.map((value, index) => value / (all[index] ?? Number.NaN));
}

async function configFile(folder: TempFolder): Promise<string> {
  const path = join(folder.path, "collector.yaml");
  await writeFile(path, `limits: { streamsPerConnectionMax: ${streamsPerConnection} }\n`);
  return path;
}

if (import.meta.main) await main(watchBenchmark);
