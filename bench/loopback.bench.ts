import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { Pricing } from "../examples/gen/pricing_pb.ts";
import { CollectionRepo } from "../src/gen/collector/collection_repo_pb.ts";
import { CollectionService } from "../src/gen/collector/collection_server_pb.ts";
import { CollectorRegistry } from "../src/gen/collector/registry_pb.ts";
import { defaultLimits } from "../src/lib/limits.ts";
import { channelTransport } from "../src/rpc/local/channel-transport.ts";
import { PeerDialer } from "../src/rpc/outbound/dialer.ts";
import { type Collector, createCollector } from "../src/server.ts";
import { encodeNote, noteFile, noteOf, noteTypeName } from "../test/support/notes.ts";
import { pricing } from "../test/support/pricing.ts";
import { tempFolder } from "../test/support/temp-folder.ts";
import { type Benchmark, main, median } from "./harness.ts";

/** How a program reaches the collector that it has embedded. */
const ways = ["in the process", "our channel, loopback", "connect's client, loopback"] as const;
type Way = (typeof ways)[number];

interface Cost {
  /** Of both sides, as they are one process. */
  readonly cpuUs: number;
  readonly latencyUs: number;
}

const collectionName = "notes";
const records = 1000;

export const loopbackBenchmark: Benchmark = {
  name: "loopback",
  about:
    "A call that a program makes of the collector in its own process, one at a time: without a socket, and by gRPC over loopback.",
  async run(report, quick) {
    await using folder = await tempFolder("bench-loopback");
    await using collector = await createCollector({
      port: 0,
      data: folder.path,
      logLevel: "silent",
    });
    await using _served = await collector.serve(Pricing, pricing());
    await fill(collector);
    await using dialer = new PeerDialer({
      peers: [],
      allowsLoopback: true,
      limits: defaultLimits,
    });
    await using channel = dialer.dial(collector.url, "url");
    const sessions = new Http2SessionManager(collector.url);
    const transports: Readonly<Record<Way, Transport>> = {
      "in the process": collector.transport,
      "our channel, loopback": channelTransport(channel),
      "connect's client, loopback": createGrpcTransport({
        baseUrl: collector.url,
        sessionManager: sessions,
      }),
    };
    try {
      await compare(report, transports, "Get", quick ? 20 : 1000, quick, getOne);
      await compare(report, transports, "a registered method", quick ? 20 : 1000, quick, quoteOne);
      await compare(
        report,
        transports,
        "a message of a stream",
        quick ? 1 : 4,
        quick,
        listThousand,
        1000,
      );
    } finally {
      sessions.abort();
    }
  },
};

type Work = (transport: Transport, number: number) => Promise<void>;

async function compare(
  report: Parameters<Benchmark["run"]>[0],
  transports: Readonly<Record<Way, Transport>>,
  name: string,
  count: number,
  quick: boolean,
  work: Work,
  each = 1,
): Promise<void> {
  const costs = new Map<Way, Cost[]>(ways.map((way) => [way, []]));
  // The first round is for the code to be compiled.
  for (let round = 0; round < (quick ? 1 : 6); round += 1) {
    for (const way of ways) {
      const cost = await measure(transports[way], count, work, each);
      if (quick || round > 0) costs.get(way)?.push(cost);
    }
  }
  const of = (way: Way, key: keyof Cost): number =>
    median((costs.get(way) ?? []).map((cost) => cost[key]));
  for (const way of ways) {
    report.add(`${name}, ${way}: CPU`, of(way, "cpuUs"), "µs");
    if (each === 1) report.add(`${name}, ${way}: p50`, of(way, "latencyUs"), "µs");
  }
  const [inside, channel] = ways;
  report.add(
    `${name}: CPU, in the process / our channel`,
    of(inside, "cpuUs") / of(channel, "cpuUs"),
    "×",
    {
      atMost: each === 1 ? 0.5 : 1,
    },
  );
}

async function measure(
  transport: Transport,
  count: number,
  work: Work,
  each: number,
): Promise<Cost> {
  const latencies: number[] = [];
  const before = process.cpuUsage();
  for (let number = 0; number < count; number += 1) {
    const startMs = performance.now();
    await work(transport, number);
    latencies.push((performance.now() - startMs) * 1000);
  }
  const { user, system } = process.cpuUsage(before);
  return { cpuUs: (user + system) / (count * each), latencyUs: median(latencies) / each };
}

const clients = new WeakMap<
  Transport,
  { readonly records: Client<typeof CollectionService>; readonly prices: Client<typeof Pricing> }
>();

function clientsOf(transport: Transport): NonNullable<ReturnType<typeof clients.get>> {
  let found = clients.get(transport);
  if (found === undefined) {
    found = {
      records: createClient(CollectionService, transport),
      prices: createClient(Pricing, transport),
    };
    clients.set(transport, found);
  }
  return found;
}

const getOne: Work = async (transport, number) => {
  await clientsOf(transport).records.get({ collectionName, id: `n${number % records}` });
};

const quoteOne: Work = async (transport, quantity) => {
  await clientsOf(transport).prices.quote({ title: "tea", quantity });
};

const listThousand: Work = async (transport) => {
  let seen = 0;
  for await (const _ of clientsOf(transport).prices.list({ title: "tea", quantity: 1000 }))
    seen += 1;
  if (seen !== 1000) throw new Error(`${seen} messages came`);
};

async function fill(collector: Collector): Promise<void> {
  await collector.call(CollectorRegistry.method.registerProto, { fileDescriptor: noteFile });
  await collector.call(CollectionRepo.method.createCollection, {
    collection: { name: collectionName, messageType: { messageName: noteTypeName } },
  });
  const typeUrl = `type.googleapis.com/${noteTypeName}`;
  const creates = Array.from({ length: records }, (_, number) =>
    collector.call(CollectionService.method.create, {
      collectionName,
      id: `n${number}`,
      item: { typeUrl, value: encodeNote(noteOf(number)) },
    }),
  );
  await Promise.all(creates);
}

if (import.meta.main) await main(loopbackBenchmark);
