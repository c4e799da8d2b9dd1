// Each line that is wrong says what the compiler answers; every other line has to compile.
import {
  type Call,
  type Collector,
  type CollectorOptions,
  createCollector,
  type ServedService,
  type ServiceHandlers,
} from "collector";
import { connect, type Worker, type WorkerCall, type WorkerHandlers } from "collector/client";
import { Pricing } from "../../../examples/gen/pricing_pb.ts";

const options: CollectorOptions = { port: 0, logLevel: "silent" };
const collector: Collector = await createCollector(options);
await createCollector({ port: "0" }); // error: 'string' is not assignable to type 'number'
await createCollector({ prot: 0 }); // error: 'prot' does not exist

const whole: ServiceHandlers<typeof Pricing> = {
  quote: async ({ title, quantity }, call: Call) => {
    call.signal.throwIfAborted();
    return { title, cents: BigInt(quantity) };
  },
  async *list({ quantity }) {
    for (let i = 0; i < quantity; i += 1) yield { cents: BigInt(i) };
  },
  async sum(requests) {
    let cents = 0n;
    for await (const { quantity } of requests) cents += BigInt(quantity);
    return { cents };
  },
  async *haggle(requests) {
    for await (const { title } of requests) yield { title };
  },
};
const served: ServedService = await collector.serve(Pricing, whole);

const { quote, list, sum } = whole;
const partial: ServiceHandlers<typeof Pricing> = { quote, list, sum }; // error: Property 'haggle' is missing
await collector.serve(Pricing, { quote, list, sum }); // error: Property 'haggle' is missing
const wrongAnswer: ServiceHandlers<typeof Pricing> = {
  ...whole,
  quote: async () => ({ cents: 1 }), // error: is not assignable to type
};
const wrongKind: ServiceHandlers<typeof Pricing> = {
  ...whole,
  list: async () => ({ cents: 1n }), // error: asyncIterator
};

await using client = await connect({ transport: collector.transport });
const handlers: WorkerHandlers<typeof Pricing> = {
  quote: async ({ title }, call: WorkerCall) => ({ title: `${title} ${call.methodName}` }),
  async *list() {},
  sum: async () => ({}),
  async *haggle() {},
};
const worker: Worker = await client.attach(Pricing, handlers);
const { quote: quoteOnly } = handlers;
await client.attach(Pricing, { quote: quoteOnly }); // error: is missing the following properties
