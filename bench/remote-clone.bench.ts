import { randomBytes } from "node:crypto";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { connect } from "../src/client/client.ts";
import { type BenchServer, benchServer } from "./bench-server.ts";
import { buildCommand, commandOfSources } from "./built.ts";
import { memoryOf, proportionalMemoryOf } from "./cpu.ts";
import { type Benchmark, main, median, type Report } from "./harness.ts";

const mib = 1024 * 1024;
const megabyte = 1_000_000;
const sampleMs = 50;

interface Size {
  readonly records: number;
  readonly files: number;
  readonly fileBytes: number;
  readonly rounds: number;
}

/** Most of it in files of random bytes: what compression cannot make less of travels as it is. */
const full: Size = { records: 50_000, files: 10, fileBytes: 100 * megabyte, rounds: 3 };
const quick: Size = { records: 500, files: 2, fileBytes: 3 * megabyte, rounds: 1 };

export const remoteCloneBenchmark: Benchmark = {
  name: "remote-clone",
  about:
    "A collection of 1 GB is cloned to another server on loopback, as built, and fetched from it.",
  async run(report, isQuick) {
    const size = isQuick ? quick : full;
    const command = isQuick ? commandOfSources : buildCommand();
    await using source = await benchServer({ command });
    await using target = await benchServer({ command });
    await source.fill("notes", size.records);
    await attach(source, size);
    for (const way of ["clone", "fetch"] as const) {
      // Once before, so that code is compiled, and threads are there that stay.
      const copies: Copied[] = [];
      await copy(way, source, target);
      for (let round = 0; round < size.rounds; round += 1) {
        copies.push(await copy(way, source, target));
      }
      reportCopies(report, way, copies);
    }
  },
};

interface Copied {
  readonly bytes: number;
  readonly transferMs: number;
  readonly totalMs: number;
  readonly sender: Growth;
  readonly receiver: Growth;
}

function reportCopies(report: Report, way: string, copies: readonly Copied[]): void {
  const middle = (of: (copied: Copied) => number): number => median(copies.map(of));
  report.add(
    `${way}: archive`,
    middle(({ bytes }) => bytes / megabyte),
    "MB",
  );
  const rate = middle(({ bytes, transferMs }) => bytes / 1000 / transferMs);
  report.add(`${way}: transfer`, rate, "MB/s", { atLeast: 200 });
  report.add(
    `${way}: all of it, made and verified`,
    middle(({ totalMs }) => totalMs / 1000),
    "s",
  );
  for (const side of ["sender", "receiver"] as const) {
    const worst = (of: keyof Growth): number =>
      Math.max(...copies.map((copied) => copied[side][of])) / mib;
    const name = `${way}: memory of the ${side}, more by`;
    report.add(name, worst("resident"), "MiB", { atMost: 64 });
    report.add(`${name}, shared pages counted once`, worst("proportional"), "MiB");
  }
}

async function copy(
  way: "clone" | "fetch",
  source: BenchServer,
  target: BenchServer,
): Promise<Copied> {
  const { admin } = target.client;
  await admin.deleteCollection({ collection: { name: "copy" }, allowMissing: true });
  const request = { sourceCollection: { name: "notes" }, destName: "copy", includeFiles: true };
  await using sender = await watchMemory(source.pid);
  await using receiver = await watchMemory(target.pid);
  const beganMs = performance.now();
  // It may take longer than the client of the benchmark waits for an answer.
  const options = { timeoutMs: 600_000 };
  const { bytesTransferred, transferTime } =
    way === "clone"
      ? await source.client.repo.clone({ ...request, destEndpoint: target.url }, options)
      : await target.client.repo.fetch({ ...request, sourceEndpoint: source.url }, options);
  return {
    bytes: Number(bytesTransferred),
    transferMs: transferTime === undefined ? Number.NaN : durationMs(transferTime),
    totalMs: performance.now() - beganMs,
    sender: sender.growth(),
    receiver: receiver.growth(),
  };
}

/** The most that a server's memory was, less what it was at first, in bytes. */
interface Growth {
  readonly resident: number;
  readonly proportional: number;
}

interface MemoryWatch extends AsyncDisposable {
  /** So far. */
  growth(): Growth;
}

async function watchMemory(pid: number): Promise<MemoryWatch> {
  const sample = () => Promise.all([memoryOf(pid), proportionalMemoryOf(pid)]);
  const before = await sample();
  let most = before;
  let sampling: Promise<void> | undefined;
  const timer = setInterval(() => {
    sampling ??= sample().then(([resident, proportional]) => {
      most = [Math.max(most[0], resident), Math.max(most[1], proportional)];
      sampling = undefined;
    });
  }, sampleMs);
  return {
    growth: () => ({ resident: most[0] - before[0], proportional: most[1] - before[1] }),
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await sampling;
    },
  };
}

async function attach(server: BenchServer, { files, fileBytes }: Size): Promise<void> {
  await using client = await connect({ url: server.url });
  for (let number = 0; number < files; number += 1) {
    await client.files("notes").put(`file-${number}`, randomBytes(fileBytes));
  }
}

if (import.meta.main) await main(remoteCloneBenchmark);
