import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type ClientHttp2Session, connect } from "node:http2";
import { crc32 } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { connect as connectClient } from "../src/client/client.ts";
import {
  PullCollectionRequestSchema,
  PushCollectionRequestSchema,
} from "../src/gen/collector/collection_repo_pb.ts";
import { frame } from "../test/support/raw-call.ts";
import { type BenchServer, benchServer } from "./bench-server.ts";
import { cpuOf, memoryOf } from "./cpu.ts";
import { type Benchmark, main, median } from "./harness.ts";

const chunkBytes = 1024 * 1024;
const windowBytes = 8 * 1024 * 1024;

interface Sample {
  readonly megabytesPerSecond: number;
  readonly cpuSeconds: number;
  readonly grownMegabytes: number;
}

export const transfersBenchmark: Benchmark = {
  name: "transfers",
  about:
    "An archive that is pulled from a server and one that is pushed to it over loopback, by a bare node:http2 client: the transfer alone.",
  async run(report, quick) {
    const megabytes = quick ? 8 : 512;
    const rounds = quick ? 1 : 5;
    await using server = await benchServer({});
    const backupId = await backupOf(server, megabytes);
    for (const [name, transfer] of [
      ["pull", (session: ClientHttp2Session) => pull(session, backupId)],
      ["push", (session: ClientHttp2Session) => push(session, megabytes)],
    ] as const) {
      // Once for the code to be compiled, and for what the server starts when it is first needed.
      await measure(server, transfer);
      const samples: Sample[] = [];
      for (let round = 0; round < rounds; round += 1) samples.push(await measure(server, transfer));
      const of = (key: keyof Sample): number => median(samples.map((sample) => sample[key]));
      report.add(`${name}, of one archive`, of("megabytesPerSecond"), "MB/s", { atLeast: 200 });
      report.add(`${name}, CPU of the server for 1 GB`, of("cpuSeconds"), "s");
      report.add(`${name}, growth of the server's memory`, of("grownMegabytes"), "MB", {
        atMost: 64,
      });
    }
  },
};

async function measure(
  server: BenchServer,
  transfer: (session: ClientHttp2Session) => Promise<number>,
): Promise<Sample> {
  const session = connect(server.url, { settings: { initialWindowSize: windowBytes } });
  await once(session, "connect");
  session.setLocalWindowSize(windowBytes);
  const before = (await memoryOf(server.pid)) / 1e6;
  let most = before;
  const watch = setInterval(() => {
    void memoryOf(server.pid).then((bytes) => {
      most = Math.max(most, bytes / 1e6);
    });
  }, 50);
  const cpuBefore = await cpuOf(server.pid);
  const beganMs = performance.now();
  const bytes = await transfer(session);
  const seconds = (performance.now() - beganMs) / 1000;
  const cpuSeconds = ((await cpuOf(server.pid)) - cpuBefore) / 1e6 / (bytes / 1e9);
  clearInterval(watch);
  session.close();
  return { megabytesPerSecond: bytes / 1e6 / seconds, cpuSeconds, grownMegabytes: most - before };
}

async function pull(session: ClientHttp2Session, backupId: string): Promise<number> {
  const stream = begin(session, "PullCollection");
  const request = create(PullCollectionRequestSchema, { backupId });
  stream.end(frame(toBinary(PullCollectionRequestSchema, request)));
  let bytes = 0;
  stream.on("data", (chunk: Buffer) => {
    bytes += chunk.byteLength;
  });
  await once(stream, "close");
  return bytes;
}

/** What is pushed is no archive, so that it is refused once all of it came. */
async function push(session: ClientHttp2Session, megabytes: number): Promise<number> {
  const stream = begin(session, "PushCollection");
  const chunk = Buffer.alloc(chunkBytes, 7);
  const totalSize = BigInt(megabytes * chunkBytes);
  stream.write(pushFrame({ case: "metadata", value: { destName: "none", totalSize } }));
  const message = pushFrame({ case: "chunk", value: chunk }, crc32(chunk));
  for (let sent = 0; sent < megabytes; sent += 1) {
    if (!stream.write(message)) await once(stream, "drain");
  }
  stream.end();
  stream.resume();
  await once(stream, "close");
  return megabytes * chunkBytes;
}

function pushFrame(
  data:
    | {
        readonly case: "metadata";
        readonly value: { readonly destName: string; readonly totalSize: bigint };
      }
    | { readonly case: "chunk"; readonly value: Uint8Array },
  chunkCrc32?: number,
): Uint8Array {
  const crc = chunkCrc32 === undefined ? {} : { chunkCrc32 };
  const message = create(PushCollectionRequestSchema, { data, ...crc });
  return frame(toBinary(PushCollectionRequestSchema, message));
}

function begin(session: ClientHttp2Session, method: string) {
  return session.request({
    ":method": "POST",
    ":path": `/collector.CollectionRepo/${method}`,
    "content-type": "application/grpc",
    te: "trailers",
  });
}

/** A backup of a collection with a file that does not shrink. */
async function backupOf({ client, url }: BenchServer, megabytes: number): Promise<string> {
  await client.createNotes("large");
  async function* content() {
    for (let at = 0; at < megabytes; at += 1) yield randomBytes(chunkBytes);
  }
  await using caller = await connectClient({ url });
  await caller.files("large").put("large", content());
  const request = { collection: { name: "large" }, includeFiles: true };
  const { backup } = await client.repo.backupCollection(request);
  return backup?.backupId ?? "";
}

if (import.meta.main) await main(transfersBenchmark);
