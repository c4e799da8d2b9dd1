import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  RequestOpSchema,
  SearchRequestSchema,
  SearchResponseSchema,
} from "../src/gen/collector/collection_server_pb.ts";
import { noteItem, noteTypeName } from "../test/support/notes.ts";
import { callRaw, connectRaw, frame } from "../test/support/raw-call.ts";
import { tempFolder } from "../test/support/temp-folder.ts";
import type { NearestAnswer, NearestQuery } from "./baseline/direct-vectors.ts";
import { type BenchServer, benchServer } from "./bench-server.ts";
import { type Benchmark, main, median } from "./harness.ts";
import { recordId } from "./load/sources.ts";
import { vectorOf } from "./load/vectors.ts";

const records = 100_000;
const dimensions = 384;
const name = "notes";
const search = "/collector.CollectionService/Search";
const fillBatch = 250;
const fillInFlight = 4;

/** Prices are even between 0 and 1,000,000. */
const cases = [
  { title: "all", priceBelow: undefined },
  { title: "1 % allowed", priceBelow: 10_000 },
  { title: "50 % allowed", priceBelow: 500_000 },
] as const;

export const vectorsBenchmark: Benchmark = {
  name: "vectors",
  about: `Median of finding the 10 nearest of ${records / 1000} k vectors of ${dimensions} dimensions through gRPC, against sqlite-vec alone in one process.`,
  async run(report, quick) {
    const count = quick ? 1_000 : records;
    await using server = await benchServer();
    await fill(server, count);
    await using direct = await DirectProcess.start(count);
    using connection = connectRaw(server.url);
    const point = [...vectorOf(-1, dimensions)];
    for (const { title, priceBelow } of cases) {
      const request = create(SearchRequestSchema, {
        collectionName: name,
        vector: point,
        limit: 10,
        where: priceBelow === undefined ? "" : `price_cents < ${priceBelow}`,
      });
      const body = frame(toBinary(SearchRequestSchema, request));
      const ours: number[] = [];
      const theirs: number[] = [];
      // In turns, so that what else the machine does falls on both.
      for (let round = 0; round < (quick ? 1 : 5); round += 1) {
        const answer = await direct.run({ point, priceBelow, runs: quick ? 2 : 8 });
        theirs.push(...answer.timesMs);
        const expected = answer.numbers.map(recordId).join();
        for (let run = 0; run < (quick ? 2 : 8); run += 1) {
          const begin = performance.now();
          const answered = await callRaw(connection.session, search, body);
          ours.push(performance.now() - begin);
          if (answered.status !== 0) throw new Error(`${title}: ${answered.message}`);
          const { results } = fromBinary(SearchResponseSchema, answered.body.subarray(5));
          const found = results.map(({ meta }) => meta?.id ?? "").join();
          if (found !== expected) throw new Error(`${title}: ${found} instead of ${expected}`);
        }
      }
      report.add(`${title}, sqlite-vec alone`, median(theirs), "ms");
      report.add(title, median(ours), "ms");
      report.add(`${title} / sqlite-vec alone`, median(ours) / median(theirs), "×", {
        atMost: 1.3,
      });
    }
  },
};

async function fill(server: BenchServer, count: number): Promise<void> {
  const { repo, records: calls } = server.client;
  await repo.createCollection({
    collection: {
      name,
      messageType: { messageName: noteTypeName },
      indexedFields: ["price_cents"],
      vectorFields: [{ name: "embedding", dimensions }],
    },
  });
  let next = 0;
  const run = async () => {
    while (next < count) {
      const first = next;
      next += fillBatch;
      const operations = Array.from({ length: Math.min(fillBatch, count - first) }, (_, index) => {
        const number = first + index;
        const vectors = { embedding: { values: [...vectorOf(number, dimensions)] } };
        const value = { id: recordId(number), item: noteItem(number), vectors };
        return create(RequestOpSchema, { operation: { case: "create", value } });
      });
      await calls.batch({ collectionName: name, operations });
    }
  };
  await Promise.all(Array.from({ length: fillInFlight }, run));
}

/** A process with the same vectors in sqlite-vec, and nothing else. */
class DirectProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #folder: AsyncDisposable;

  private constructor(child: ChildProcess, folder: AsyncDisposable) {
    this.#child = child;
    this.#folder = folder;
  }

  static async start(count: number): Promise<DirectProcess> {
    const folder = await tempFolder("bench-vectors");
    const file = join(import.meta.dirname, "baseline", "direct-vectors.ts");
    const child = fork(file, [folder.path, `${count}`, `${dimensions}`], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    await once(child, "message");
    return new DirectProcess(child, folder);
  }

  async run(query: NearestQuery): Promise<NearestAnswer> {
    this.#child.send(query);
    const [answer] = (await once(this.#child, "message")) as [NearestAnswer];
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, "close");
    this.#child.kill("SIGKILL");
    await ended;
    await this.#folder[Symbol.asyncDispose]();
  }
}

if (import.meta.main) await main(vectorsBenchmark);
