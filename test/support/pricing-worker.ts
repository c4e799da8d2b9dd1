// Runs the example's service as an attached worker, in a process of its own; says `attached` once it is.
// usage: pricing-worker.ts URL WORKER_ID
import { Pricing } from "../../examples/gen/pricing_pb.ts";
import { connect } from "../../src/client/client.ts";

const [url, workerId] = process.argv.slice(2);
const pieceCents = 250n;

await using client = await connect({ url, namespace: "default" });
const never = Promise.withResolvers<undefined>();
await using worker = await client.attach(
  Pricing,
  {
    // Requests for nothing are never answered.
    async quote({ title, quantity }) {
      if (quantity === 0) await never.promise;
      return { title, cents: BigInt(quantity) * pieceCents };
    },
    async *list({ title, quantity }) {
      for (let i = 1; i <= quantity; i += 1) yield { title, cents: BigInt(i) * pieceCents };
      await never.promise;
    },
    async sum(requests) {
      let cents = 0n;
      for await (const { quantity } of requests) cents += BigInt(quantity) * pieceCents;
      return { cents };
    },
    async *haggle(requests) {
      for await (const { title, quantity } of requests) {
        yield { title, cents: BigInt(quantity) * pieceCents };
      }
    },
  },
  { workerId },
);
process.stdout.write(`attached ${worker.executorId}\n`);
const stopped = Promise.withResolvers<undefined>();
process.once("SIGTERM", () => stopped.resolve(undefined));
await stopped.promise;
