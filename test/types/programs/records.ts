// Each line that is wrong says what the compiler answers; every other line has to compile.
import { connect } from "collector/client";
import { AirportSchema } from "../../../examples/gen/airports_pb.ts";
import { MemorySchema } from "../../../examples/gen/memory_pb.ts";
import { PriceSchema, Pricing } from "../../../examples/gen/pricing_pb.ts";
import {
  ListOperationsRequestSchema,
  OperationSchema,
} from "../../../src/gen/collector/operations_pb.ts";

await using client = await connect();

const prices = client.collection("prices", PriceSchema);
await prices.create({ title: "tea", cents: 250n });
await prices.create({ titel: "tea" }); // error: 'titel' does not exist
await prices.create({ cents: 250 }); // error: 'number' is not assignable to type 'bigint'
await prices.put("a", { title: 7 }); // error: 'number' is not assignable to type 'string'
await prices.patch("a", { cent: 1n }); // error: 'cent' does not exist
await prices.batch([{ put: { cents: 1n }, id: "a" }, { delete: "b" }]);
await prices.batch([{ put: { cents: 1n } }]); // error: Property 'id' is missing
await prices.batch([{ patch: { cents: 1 }, id: "a" }]); // error: 'number' is not assignable to type 'bigint'

// Conditions have the fields of the message, with values of their types.
await prices.search("tea", { where: { cents: { lt: 300n }, title: { prefix: "t" } } });
await prices.search("tea", { where: { cent: { lt: 300n } } }); // error: 'cent' does not exist
await prices.search("tea", { where: { cents: { lt: 300 } } }); // error: 'number' is not assignable to type 'bigint'
await prices.search("tea", { where: { cents: { prefix: "3" } } }); // error: 'prefix' does not exist
await prices.search("tea", { where: { title: { like: "t" } } }); // error: 'like' does not exist
await prices.search("tea", { where: "cents < 300" });
for await (const { item } of prices.list({ where: { title: "tea" } })) {
  const cents: bigint = item.cents;
  const wrong: number = item.cents; // error: 'bigint' is not assignable to type 'number'
}
for await (const { record } of prices.watch({ where: { cents: { gt: 1n } } })) {
  const title: string | undefined = record?.item.title;
}
prices.watch({ where: { cents: { gt: 1 } } }); // error: 'number' is not assignable to type 'bigint'

const airports = client.collection("airports", AirportSchema);
await airports.search("", {
  where: { position: { altitudeFeet: { gt: 14_000 } }, tags: { has: "hub" } },
});
await airports.search("", { where: { position: { altitude: { gt: 1 } } } }); // error: 'altitude' does not exist
await airports.search("", { where: { tags: { has: 1 } } }); // error: 'number' is not assignable to type 'string'
const memories = client.collection("memories", MemorySchema);
await memories.search("", { where: { learnedAt: { lt: new Date() } }, vector: [0.5] });
await memories.search("", { where: { learnedAt: { lt: "today" } } }); // error: 'string' is not assignable to type 'Date'

// The fields of a oneof are asked for beside the others.
const operations = client.collection("operations", OperationSchema);
await operations.search("", { where: { done: true, error: { code: 5 } } });
await operations.search("", { where: { result: { code: 5 } } }); // error: 'result' does not exist
await operations.search("", { where: { error: { kode: 5 } } }); // error: 'kode' does not exist

// A message of another collection is none of this one.
const { item: price } = await prices.get("a");
await airports.put("a", price); // error: is not assignable to
await prices.put("b", price);

// Without generated code, everything is JSON.
const anything = client.collection("prices");
await anything.put("a", { title: "tea", cents: "250" });
await anything.put("a", { cents: 250n }); // error: 'bigint' is not assignable to type
await anything.search("tea", {
  where: { cents: { lt: 300n }, position: { altitudeFeet: { gt: 1 } } },
});
const { item: json } = await anything.get("a");
const text: string = JSON.stringify(json["title"]);

// Calls have the types of their methods.
const quoted = await client.call(Pricing.method.quote, { title: "tea", quantity: 3 });
const cents: bigint = quoted.cents;
await client.call(Pricing.method.quote, { quantity: 3n }); // error: 'bigint' is not assignable to type 'number'
await client.call(Pricing.method.list, { quantity: 3 }); // error: is not assignable to parameter
const pricing = client.service(Pricing);
await pricing.quote({ titel: "tea" }); // error: 'titel' does not exist
for await (const { title } of pricing.list({ quantity: 3 })) title.trim();
await client.services.operations.listOperations({ pageSize: 1 });
const request = ListOperationsRequestSchema.typeName;
