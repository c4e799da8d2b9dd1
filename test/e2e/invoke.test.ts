import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, fromBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { PriceSchema, Pricing, QuoteRequestSchema } from "../../examples/gen/pricing_pb.ts";
import {
  CollectionService,
  CreateRequestSchema,
  type InvokeResponse,
} from "../../src/gen/collector/collection_server_pb.ts";
import { Status_Code } from "../../src/gen/collector/common_pb.ts";
import { openCollector, pricing } from "../support/pricing.ts";
import { refusalOf } from "../support/refusal.ts";
import { TestClient } from "../support/test-client.ts";

const quote = `${Pricing.typeName}/Quote`;

/** A collection of requests for quotes: `q1` to `q5`, each of so many. */
async function fill(client: TestClient): Promise<void> {
  const messageName = QuoteRequestSchema.typeName;
  await client.repo.createCollection({
    collection: { name: "orders", messageType: { messageName } },
  });
  for (let quantity = 1; quantity <= 5; quantity += 1) {
    const message = create(QuoteRequestSchema, { title: `t${quantity}`, quantity });
    const item = anyPack(QuoteRequestSchema, message);
    await client.records.create({ collectionName: "orders", id: `q${quantity}`, item });
  }
}

function centsOf({ outputs, itemStatuses }: InvokeResponse): unknown {
  return outputs.map(({ typeUrl, value }, at) =>
    typeUrl === ""
      ? [itemStatuses[at]?.code, itemStatuses[at]?.details["reason"]]
      : fromBinary(PriceSchema, value).cents,
  );
}

describe("Invoke", () => {
  it("runs a method once per record, in order, and loses none to one that fails", async () => {
    const began: string[] = [];
    let inFlight = 0;
    let most = 0;
    await using server = await openCollector();
    const { quote: plain } = pricing();
    await using _served = await server.collector.serve(
      Pricing,
      pricing({
        async quote(request, call) {
          began.push(call.requestMetadata.get("x-collector-item-id") ?? "");
          inFlight += 1;
          most = Math.max(most, inFlight);
          await new Promise((resolve) => setImmediate(resolve));
          inFlight -= 1;
          if (request.quantity === 3) throw new Error("a secret");
          return plain(request, call);
        },
      }),
    );
    using client = new TestClient(server.url);
    await fill(client);
    const itemIds = ["q5", "q3", "nope", "q1", "q5"];
    const answer = await client.records.invoke({
      collectionName: "orders",
      methodName: quote,
      itemIds,
    });
    assert.deepEqual(centsOf(answer), [
      1250n,
      [Status_Code.INTERNAL, "INTERNAL"],
      [Status_Code.NOT_FOUND, "RECORD_NOT_FOUND"],
      250n,
      1250n,
    ]);
    assert.deepEqual(
      answer.itemStatuses.map(({ message }) => /secret/.test(message)),
      [false, false, false, false, false],
    );
    assert.deepEqual(began.sort(), ["q1", "q3", "q5", "q5"]);
    const many = Array.from({ length: 200 }, (_, i) => `q${(i % 2) + 1}`);
    const all = await client.records.invoke({
      collectionName: "orders",
      methodName: quote,
      itemIds: many,
    });
    assert.deepEqual(
      centsOf(all),
      many.map((id) => (id === "q1" ? 250n : 500n)),
    );
    assert.ok(most > 1 && most <= 8, `${most}`);
  });

  it("gives the record to a method that has a field for it, built in as it may be", async () => {
    await using server = await openCollector();
    await using _served = await server.collector.serve(Pricing, pricing());
    using client = new TestClient(server.url);
    await fill(client);
    const messageName = QuoteRequestSchema.typeName;
    await client.repo.createCollection({
      collection: { name: "copy", messageType: { messageName } },
    });
    const answer = await client.records.invoke({
      collectionName: "orders",
      methodName: `${CollectionService.typeName}/Create`,
      itemIds: ["q1", "q2"],
      input: anyPack(CreateRequestSchema, create(CreateRequestSchema, { collectionName: "copy" })),
    });
    assert.deepEqual(
      answer.itemStatuses.map(({ code }) => code),
      [0, 0],
    );
    const listed = await client.records.list({ collectionName: "copy" });
    assert.deepEqual(
      listed.items.map(({ value }) => fromBinary(QuoteRequestSchema, value).title),
      ["t1", "t2"],
    );
  });

  it("is refused as a whole where nothing could be run", async () => {
    await using server = await openCollector();
    using client = new TestClient(server.url);
    const { registry } = client;
    await registry.registerService({
      fileDescriptor: Pricing.file.proto,
      serviceName: Pricing.typeName,
    });
    await fill(client);
    const refusal = async (changes: object): Promise<string> => {
      const request = { collectionName: "orders", methodName: quote, itemIds: ["q1"], ...changes };
      const { code, reason, fields } = await refusalOf(client.records.invoke(request));
      return [code, reason, ...fields].join(" ");
    };
    assert.equal(await refusal({ methodName: "" }), "InvalidArgument ARGUMENT_MISSING method_name");
    assert.equal(
      await refusal({ methodName: "Quote" }),
      "InvalidArgument ARGUMENT_INVALID method_name",
    );
    assert.equal(
      await refusal({ methodName: `${Pricing.typeName}/List` }),
      "InvalidArgument ARGUMENT_INVALID method_name",
    );
    assert.equal(await refusal({ methodName: "a.B/C" }), "Unimplemented METHOD_NOT_REGISTERED");
    assert.equal(
      await refusal({ itemIds: Array.from({ length: 1001 }, () => "q1") }),
      "InvalidArgument ARGUMENT_INVALID item_ids",
    );
    assert.equal(await refusal({ collectionName: "nope" }), "NotFound COLLECTION_NOT_FOUND");
    const input = anyPack(PriceSchema, create(PriceSchema));
    assert.equal(
      await refusal({ methodName: "collector.CollectionService/Create", input }),
      "InvalidArgument ARGUMENT_INVALID input",
    );
    // What runs the method may come any time, so this is each record's own.
    const answer = await client.records.invoke({
      collectionName: "orders",
      methodName: quote,
      itemIds: ["q1"],
    });
    assert.deepEqual(centsOf(answer), [[Status_Code.UNAVAILABLE, "SERVICE_UNAVAILABLE"]]);
  });
});
