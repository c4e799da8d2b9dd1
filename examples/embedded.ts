// A collector inside a program of one's own: it starts, runs a service by functions of this process and by
// a worker, is called by gRPC and without a socket, and stops with nothing left open.
//
//   node examples/embedded.ts
//
// In a project of yours the imports are `collector`, `collector/client` and what you generate from your own
// .proto files.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { connect } from "../src/client/index.ts";
import { createCollector } from "../src/index.ts";
import { Pricing } from "./gen/pricing_pb.ts";

const folder = await mkdtemp(join(tmpdir(), "embedded-"));
try {
  await using collector = await createCollector({ data: folder, port: 0, logLevel: "silent" });

  // The service is registered if it is not yet, and at once every client of the collector can call it.
  const served = await collector.serve(Pricing, {
    quote: async ({ title, quantity }) => ({ title, cents: BigInt(quantity) * 250n }),
    async *list({ title, quantity }) {
      for (let i = 1; i <= quantity; i += 1) yield { title, cents: BigInt(i) * 250n };
    },
    async sum(requests) {
      let cents = 0n;
      for await (const { quantity } of requests) cents += BigInt(quantity) * 250n;
      return { cents };
    },
    async *haggle(requests) {
      for await (const { title, quantity } of requests)
        yield { title, cents: BigInt(quantity) * 200n };
    },
  });

  // By gRPC, as any program in any language does.
  await using client = await connect({ url: collector.url, env: {} });
  const quoted = await client.call(Pricing.method.quote, { title: "tea", quantity: 3 });
  console.log(`by gRPC: ${quoted.title} costs ${quoted.cents} cents`);

  // From this process: no socket, and otherwise all that a call from outside meets.
  const prices = createClient(Pricing, collector.transport);
  const listed = await Array.fromAsync(prices.list({ title: "tea", quantity: 3 }));
  console.log(`in the process: ${listed.map(({ cents }) => cents).join(", ")}`);

  // A worker takes over: in a program of its own, it would be the same.
  await served[Symbol.asyncDispose]();
  await using worker = await client.attach(Pricing, {
    quote: async ({ title }) => ({ title, cents: 42n }),
    async *list() {},
    sum: async () => ({}),
    async *haggle() {},
  });
  const offered = await prices.quote({ title: "tea", quantity: 3 });
  console.log(`by ${worker.executorId}: ${offered.title} costs ${offered.cents} cents`);
} finally {
  await rm(folder, { recursive: true, force: true });
}
console.log("stopped");
