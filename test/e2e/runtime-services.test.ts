import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import {
  create,
  createFileRegistry,
  fromBinary,
  type Message,
  type MessageInitShape,
  toJson,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { Pricing } from "../../examples/gen/pricing_pb.ts";
import { CollectorRegistry } from "../../src/gen/collector/registry_pb.ts";
import { TypeRegistry } from "../../src/gen/collector/type_registry_pb.ts";
import { ErrorInfoSchema, RetryInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import {
  ServerReflection,
  type ServerReflectionRequestSchema,
} from "../../src/gen/grpc/reflection/v1/reflection_pb.ts";
import {
  describeWay,
  each,
  openCollector,
  pricing,
  pricingClient,
  ways,
} from "../support/pricing.ts";
import { refusalOf } from "../support/refusal.ts";
import { waitUntil } from "../support/wait.ts";

describe("a registered service", () => {
  it("is called as itself by every kind of client", async () => {
    await using server = await openCollector();
    await using _served = await server.collector.serve(Pricing, pricing());
    for (const way of ways) {
      using connection = pricingClient(server.url, way);
      const { client } = connection;
      const request = { title: "tea", quantity: 3 };
      assert.equal((await client.quote(request)).cents, 750n, describeWay(way));
      const listed = await Array.fromAsync(client.list(request), ({ cents }) => cents);
      assert.deepEqual(listed, [250n, 500n, 750n], describeWay(way));
      const sum = await client.sum(each([request, { title: "cups", quantity: 1 }]));
      assert.deepEqual([sum.title, sum.cents], ["tea cups", 1000n], describeWay(way));
      if (way.httpVersion === "1.1") continue;
      const haggled = await Array.fromAsync(
        client.haggle(each([request, request])),
        ({ cents }) => cents,
      );
      assert.deepEqual(haggled, [750n, 750n], describeWay(way));
    }
  });

  it("passes metadata and failures on as they are", async () => {
    const seen: string[] = [];
    await using server = await openCollector();
    await using _served = await server.collector.serve(
      Pricing,
      pricing({
        async quote(request, call) {
          seen.push(...Array.from(call.requestMetadata.entries(), ([name]) => name));
          call.responseHeaders.set("x-head", "h");
          call.responseTrailers.set("x-tail-bin", new Uint8Array([0, 255]));
          if (request.quantity >= 0) return { title: call.namespace, cents: 1n };
          const error = new ConnectError("not so few", Code.OutOfRange, { "x-why": "negative" });
          error.details.push(
            { desc: ErrorInfoSchema, value: { reason: "TOO_FEW", domain: "pricing" } },
            { desc: RetryInfoSchema, value: { retryDelay: { seconds: 5n } } },
          );
          throw error;
        },
      }),
    );
    for (const way of ways) {
      seen.length = 0;
      using connection = pricingClient(server.url, way);
      const headers = { "x-word": "one", "x-collector-route": "forged", "x-collector-link": "no" };
      let head: Headers | undefined;
      let tail: Headers | undefined;
      const answer = await connection.client.quote(
        { quantity: 1 },
        {
          headers,
          onHeader: (received) => {
            head = received;
          },
          onTrailer: (received) => {
            tail = received;
          },
        },
      );
      assert.equal(answer.title, "default");
      assert.equal(head?.get("x-head"), "h", describeWay(way));
      assert.equal(tail?.get("x-tail-bin"), "AP8", describeWay(way));
      assert.ok(seen.includes("x-word") && seen.includes("x-collector-namespace"), seen.join());
      assert.deepEqual(
        seen.filter((name) => /^(?:x-collector-(?!namespace)|grpc-|connect-|te$|:)/.test(name)),
        [],
      );
      await assert.rejects(connection.client.quote({ quantity: -1 }), (error) => {
        assert.ok(error instanceof ConnectError);
        assert.equal(error.code, Code.OutOfRange);
        assert.equal(error.rawMessage, "not so few");
        assert.equal(error.metadata.get("x-why"), "negative", describeWay(way));
        assert.equal(error.metadata.get("x-head"), "h", describeWay(way));
        assert.equal(error.findDetails(ErrorInfoSchema)[0]?.reason, "TOO_FEW");
        assert.equal(error.findDetails(RetryInfoSchema)[0]?.retryDelay?.seconds, 5n);
        return true;
      });
    }
  });

  it("is found by reflection, and called by what that tells alone", async () => {
    await using server = await openCollector();
    await using _served = await server.collector.serve(Pricing, pricing());
    using connection = pricingClient(server.url);
    const reflection = createClient(ServerReflection, connection.transport);
    const ask = async (
      ...questions: NonNullable<
        MessageInitShape<typeof ServerReflectionRequestSchema>["messageRequest"]
      >[]
    ) =>
      await Array.fromAsync(
        reflection.serverReflectionInfo(
          each(questions.map((messageRequest) => ({ messageRequest }))),
        ),
        ({ messageResponse }) => messageResponse,
      );
    const [listed] = await ask({ case: "listServices", value: "" });
    assert.equal(listed?.case, "listServicesResponse");
    const { name = "" } =
      listed.value.service.find(({ name: each_ }) => each_.endsWith("Pricing")) ?? {};
    const [described] = await ask({ case: "fileContainingSymbol", value: name });
    assert.equal(described?.case, "fileDescriptorResponse");
    const file = described.value.fileDescriptorProto.map((bytes) =>
      fromBinary(FileDescriptorProtoSchema, bytes),
    );
    // Nothing of the generated code from here on.
    const service = createFileRegistry(create(FileDescriptorSetSchema, { file })).getService(name);
    assert.ok(service !== undefined);
    const client = createClient(service, connection.transport) as unknown as {
      quote(request: object): Promise<Message>;
      list(request: object): AsyncIterable<Message>;
    };
    const output = service.method["quote"]?.output;
    assert.ok(output !== undefined);
    const price = await client.quote({ title: "tea", quantity: 3 });
    assert.deepEqual(toJson(output, price), { title: "tea", cents: "750" });
    assert.equal((await Array.fromAsync(client.list({ title: "tea", quantity: 3 }))).length, 3);
  });

  it("is called with JSON by a plain request", async () => {
    await using server = await openCollector();
    await using _served = await server.collector.serve(Pricing, pricing());
    const call = async (body: string): Promise<[number, unknown]> => {
      const response = await fetch(`${server.url}/pricing.v1.Pricing/Quote`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
      return [response.status, await response.json()];
    };
    assert.deepEqual(await call('{"title": "tea", "quantity": 2}'), [
      200,
      { title: "tea", cents: "500" },
    ]);
    const [status, failure] = await call('{"titel": "tea"}');
    assert.equal(status, 400);
    assert.match(JSON.stringify(failure), /titel.*title/);
  });

  it("is another one in each namespace, and is found by the header", async () => {
    await using server = await openCollector();
    const { collector } = server;
    const free = pricing({ quote: ({ title }) => Promise.resolve({ title, cents: 0n }) });
    await using _paid = await collector.serve(Pricing, pricing());
    await using _free = await collector.serve(Pricing, free, { namespace: "friends" });
    for (const way of ways) {
      using connection = pricingClient(server.url, way);
      const quote = async (headers: Record<string, string>) =>
        (await connection.client.quote({ quantity: 1 }, { headers })).cents;
      assert.equal(await quote({}), 250n);
      assert.equal(await quote({ "x-collector-namespace": "friends" }), 0n);
      await assert.rejects(quote({ "x-collector-namespace": "nobody" }), {
        code: Code.Unimplemented,
        rawMessage:
          "pricing.v1.Pricing/Quote is not registered in namespace `nobody`; register the service with RegisterService, or name its namespace in x-collector-namespace",
      });
      await assert.rejects(quote({ "x-collector-namespace": "a/b" }), {
        code: Code.InvalidArgument,
      });
    }
  });

  it("that nothing runs is unavailable, and once it is unregistered unimplemented", async () => {
    await using server = await openCollector();
    using connection = pricingClient(server.url);
    const { client, transport } = connection;
    const reasonOf = async (answer: Promise<unknown>): Promise<string> => {
      const { code, reason } = await refusalOf(answer);
      return `${code} ${reason}`;
    };
    const call = (): Promise<unknown> => client.quote({ quantity: 1 });
    assert.equal(await reasonOf(call()), "Unimplemented METHOD_NOT_REGISTERED");
    await createClient(CollectorRegistry, transport).registerService({
      fileDescriptor: Pricing.file.proto,
      serviceName: Pricing.typeName,
    });
    assert.equal(await reasonOf(call()), "Unavailable SERVICE_UNAVAILABLE");
    {
      await using _served = await server.collector.serve(Pricing, pricing());
      await call();
    }
    assert.equal(await reasonOf(call()), "Unavailable SERVICE_UNAVAILABLE");
    await createClient(TypeRegistry, transport).unregisterService({ name: Pricing.typeName });
    assert.equal(await reasonOf(call()), "Unimplemented METHOD_NOT_REGISTERED");
  });

  it("that fails in a way of its own tells nothing of the server", async () => {
    await using server = await openCollector();
    const secret = (): never => {
      throw new Error("a secret");
    };
    const broken = pricing({ quote: secret, haggle: secret });
    await using _served = await server.collector.serve(Pricing, broken);
    using connection = pricingClient(server.url);
    const expected = { code: Code.Internal, rawMessage: /^the server failed; its log/ };
    await assert.rejects(connection.client.quote({}), expected);
    await assert.rejects(Array.fromAsync(connection.client.haggle(each([{}]))), expected);
  });

  it("is told when its caller hangs up, and when the deadline passes", async () => {
    await using server = await openCollector();
    const aborts: string[] = [];
    const left: (number | undefined)[] = [];
    await using _served = await server.collector.serve(
      Pricing,
      pricing({
        async quote(_request, call) {
          left.push(call.deadlineMs && call.deadlineMs - performance.now());
          await once(call.signal, "abort");
          aborts.push("quote");
          throw call.signal.reason;
        },
        async *list(_request, call) {
          yield { title: "first" };
          await once(call.signal, "abort");
          aborts.push("list");
          throw call.signal.reason;
        },
      }),
    );
    using connection = pricingClient(server.url);
    const { client } = connection;
    await assert.rejects(client.quote({}, { timeoutMs: 200 }), { code: Code.DeadlineExceeded });
    assert.ok((left[0] ?? 999) <= 200, `${left[0]}`);
    const controller = new AbortController();
    const answers = client.list({}, { signal: controller.signal })[Symbol.asyncIterator]();
    assert.equal((await answers.next()).value?.title, "first");
    controller.abort();
    await assert.rejects(answers.next(), { code: Code.Canceled });
    await waitUntil("both handlers are told", 10_000, () => aborts.length === 2);
    assert.deepEqual(aborts.sort(), ["list", "quote"]);
  });

  it("sends its headers before its first message", async () => {
    await using server = await openCollector();
    const { promise: mayGoOn, resolve: goOn } = Promise.withResolvers<void>();
    await using _served = await server.collector.serve(
      Pricing,
      pricing({
        async *haggle(_requests, call) {
          call.responseHeaders.set("x-head", "early");
          call.flushHeaders?.();
          await mayGoOn;
          yield create(Pricing.method.haggle.output, { title: "late" });
        },
      }),
    );
    using connection = pricingClient(server.url);
    const { promise: head, resolve: onHeader } = Promise.withResolvers<Headers>();
    const answers = connection.client.haggle(each([]), { onHeader })[Symbol.asyncIterator]();
    const first = answers.next();
    assert.equal((await head).get("x-head"), "early");
    goOn();
    assert.equal((await first).value?.title, "late");
  });
});
