import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { PriceSchema, Pricing, QuoteRequestSchema } from "../../examples/gen/pricing_pb.ts";
import {
  CollectiveDispatcher,
  type ServeRequestSchema,
} from "../../src/gen/collector/dispatcher_pb.ts";
import {
  CollectorRegistry,
  ValidateMethodRequestSchema,
  ValidateMethodResponseSchema,
} from "../../src/gen/collector/registry_pb.ts";
import type { AccessControl } from "../../src/rpc/interceptors/access.ts";
import { openCollector, pieceCents, pricing, pricingClient } from "../support/pricing.ts";
import { refusalOf } from "../support/refusal.ts";

type Request = MessageInitShape<typeof ServeRequestSchema>;

const service = { serviceName: Pricing.typeName };

function quoteOf(quantity: number): Any {
  return anyPack(QuoteRequestSchema, create(QuoteRequestSchema, { title: "tea", quantity }));
}

describe("Serve", () => {
  it("runs a method of a registered service with the caller's context", async () => {
    const seen: Record<string, string> = {};
    await using server = await openCollector();
    await using served = await server.collector.serve(
      Pricing,
      pricing({
        async quote({ title, quantity }, call) {
          Object.assign(seen, Object.fromEntries(call.requestMetadata.entries()));
          call.responseHeaders.set("x-head", "h");
          return { title, cents: BigInt(quantity) * pieceCents };
        },
      }),
      { id: "till-1" },
    );
    using connection = pricingClient(server.url);
    const dispatcher = createClient(CollectiveDispatcher, connection.transport);
    let head: Headers | undefined;
    const answer = await dispatcher.serve(
      { service, methodName: "Quote", input: quoteOf(2), executionContext: { tenant: "acme" } },
      {
        headers: { "x-own": "1", tenant: "other" },
        onHeader: (headers) => {
          head = headers;
        },
      },
    );
    assert.equal(answer.status?.code, 0);
    assert.equal(answer.executorId, "till-1");
    assert.equal(served.executorId, "till-1");
    assert.equal(answer.output?.typeUrl, "type.googleapis.com/pricing.v1.Price");
    assert.equal(fromBinary(PriceSchema, answer.output.value).cents, 500n);
    assert.deepEqual(
      [seen["tenant"], seen["x-own"], seen["x-collector-namespace"]],
      ["acme", "1", "default"],
    );
    assert.equal(head?.get("x-head"), "h");
    const empty = await dispatcher.serve({
      service: { serviceName: "Pricing" },
      methodName: "Quote",
    });
    assert.equal(fromBinary(PriceSchema, empty.output?.value ?? new Uint8Array()).cents, 0n);
  });

  it("checks arguments, then the registration, then the implementation", async () => {
    await using server = await openCollector();
    using connection = pricingClient(server.url);
    const dispatcher = createClient(CollectiveDispatcher, connection.transport);
    const refusal = async (request: Request): Promise<string> => {
      const { code, reason, fields } = await refusalOf(dispatcher.serve(request));
      return [code, reason, ...fields].join(" ");
    };
    const quote = { service, methodName: "Quote", input: quoteOf(1) };
    assert.equal(
      await refusal({ methodName: "Quote" }),
      "InvalidArgument ARGUMENT_MISSING service.service_name",
    );
    assert.equal(await refusal({ service }), "InvalidArgument ARGUMENT_MISSING method_name");
    assert.equal(
      await refusal({ ...quote, executionContext: { "grpc-timeout": "1S" } }),
      'InvalidArgument ARGUMENT_INVALID execution_context["grpc-timeout"]',
    );
    assert.equal(await refusal(quote), "Unimplemented METHOD_NOT_REGISTERED");
    const registry = createClient(CollectorRegistry, connection.transport);
    await registry.registerService({
      fileDescriptor: Pricing.file.proto,
      serviceName: Pricing.typeName,
    });
    assert.equal(
      await refusal({ ...quote, methodName: "Quot" }),
      "Unimplemented METHOD_NOT_REGISTERED",
    );
    assert.equal(
      await refusal({ ...quote, methodName: "List" }),
      "InvalidArgument ARGUMENT_INVALID method_name",
    );
    assert.equal(
      await refusal({ ...quote, input: anyPack(PriceSchema, create(PriceSchema)) }),
      "InvalidArgument ARGUMENT_INVALID input",
    );
    assert.equal(
      await refusal({ ...quote, input: { typeUrl: "", value: new Uint8Array() } }),
      "InvalidArgument ARGUMENT_INVALID input",
    );
    const typeUrl = "type.googleapis.com/pricing.v1.QuoteRequest";
    assert.equal(
      await refusal({ ...quote, input: { typeUrl, value: Uint8Array.of(255) } }),
      "InvalidArgument ARGUMENT_INVALID input",
    );
    assert.equal(await refusal(quote), "Unavailable SERVICE_UNAVAILABLE");
    assert.equal(
      await refusal({
        service: { serviceName: CollectiveDispatcher.typeName },
        methodName: "Serve",
      }),
      "InvalidArgument ARGUMENT_INVALID method_name",
    );
  });

  it("ends with the method's own error", async () => {
    await using server = await openCollector();
    await using _served = await server.collector.serve(
      Pricing,
      pricing({
        quote: () => Promise.reject(new ConnectError("sold out", Code.ResourceExhausted)),
      }),
    );
    using connection = pricingClient(server.url);
    const dispatcher = createClient(CollectiveDispatcher, connection.transport);
    await assert.rejects(dispatcher.serve({ service, methodName: "Quote" }), {
      code: Code.ResourceExhausted,
      rawMessage: "sold out",
    });
  });

  it("runs built-in methods with the rights of its caller, in the namespace of the request", async () => {
    const asked: string[] = [];
    const access: AccessControl = {
      authenticate: (call) => ({ id: call.requestMetadata.get("authorization") ?? "nobody" }),
      authorize: ({ id }, call) => {
        asked.push(`${id} ${call.methodName} ${call.namespace}`);
        if (call.methodName === "ValidateMethod" && id !== "ada") {
          throw new ConnectError("not for you", Code.PermissionDenied);
        }
      },
    };
    await using server = await openCollector({ access });
    using connection = pricingClient(server.url);
    const dispatcher = createClient(CollectiveDispatcher, connection.transport);
    const request = create(ValidateMethodRequestSchema, {
      serviceName: "collector.CollectorRegistry",
      methodName: "ListServices",
    });
    const serve = (authorization: string): ReturnType<typeof dispatcher.serve> =>
      dispatcher.serve(
        {
          namespace: "shop",
          service: { serviceName: "collector.CollectorRegistry" },
          methodName: "ValidateMethod",
          input: anyPack(ValidateMethodRequestSchema, request),
        },
        { headers: { authorization } },
      );
    const { output, executorId } = await serve("ada");
    assert.equal(executorId, server.collector.collectorId);
    assert.ok(fromBinary(ValidateMethodResponseSchema, output?.value ?? new Uint8Array()).isValid);
    await assert.rejects(serve("eve"), { code: Code.PermissionDenied });
    assert.deepEqual(asked, [
      "ada Serve shop",
      "ada ValidateMethod shop",
      "eve Serve shop",
      "eve ValidateMethod shop",
    ]);
  });

  it("keeps the credentials of callers where they are for this server", async () => {
    const access: AccessControl = {
      authenticate: () => ({ id: "ada" }),
      authorize: () => undefined,
    };
    for (const [options, expected] of [
      [{}, "Bearer x"],
      [{ access }, undefined],
    ] as const) {
      let seen: string | undefined;
      await using server = await openCollector(options);
      await using _served = await server.collector.serve(
        Pricing,
        pricing({
          async quote(_request, call) {
            seen = call.requestMetadata.get("authorization");
            return {};
          },
        }),
      );
      using connection = pricingClient(server.url);
      await connection.client.quote({}, { headers: { authorization: "Bearer x" } });
      assert.equal(seen, expected);
    }
  });
});
