import { Pricing } from "../../examples/gen/pricing_pb.ts";
import { createCollector } from "../../src/server.ts";

/** A collector on the folder of the argument, embedded in a program that runs the example's service. */
const [, , data = ""] = process.argv;
const collector = await createCollector({ port: 0, data, logLevel: "warn" });
await collector.serve(Pricing, {
  quote: ({ title }) => Promise.resolve({ title, cents: 1n }),
  async *list({ title }) {
    yield { title };
  },
  sum: () => Promise.resolve({}),
  async *haggle() {
    yield {};
  },
});
console.log(`${collector.url} `);
