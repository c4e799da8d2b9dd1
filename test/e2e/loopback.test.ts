import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { type Client, Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { Pricing } from "../../examples/gen/pricing_pb.ts";
import { connect } from "../../src/client/client.ts";
import { CollectionService } from "../../src/gen/collector/collection_server_pb.ts";
import { Namespaces } from "../../src/gen/collector/namespaces_pb.ts";
import { CollectorRegistry } from "../../src/gen/collector/registry_pb.ts";
import { ErrorInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { each, openCollector, pricing, type TestCollector } from "../support/pricing.ts";
import { waitUntil } from "../support/wait.ts";

/** A collector, and the two ways to it: by a socket, and in the process. */
class Site implements AsyncDisposable {
  readonly server: TestCollector;
  readonly transports: Readonly<Record<"socket" | "process", Transport>>;
  readonly #session: Http2SessionManager;

  private constructor(server: TestCollector) {
    this.server = server;
    this.#session = new Http2SessionManager(server.url);
    this.transports = {
      socket: createGrpcTransport({ baseUrl: server.url, sessionManager: this.#session }),
      process: server.collector.transport,
    };
  }

  static async open(options: Parameters<typeof openCollector>[0] = {}): Promise<Site> {
    return new Site(await openCollector(options));
  }

  /** What both ways answer, or fail with. */
  async both(call: (transport: Transport) => Promise<unknown>): Promise<readonly unknown[]> {
    const results: unknown[] = [];
    for (const transport of Object.values(this.transports)) {
      try {
        results.push(await call(transport));
      } catch (error) {
        results.push(failureOf(error));
      }
    }
    return results;
  }

  /** Both ways answer the same, or fail in the same way. @returns what that is */
  async same(call: (transport: Transport) => Promise<unknown>): Promise<unknown> {
    const [bySocket, inProcess] = await this.both(call);
    assert.deepEqual(inProcess, bySocket);
    return inProcess;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#session.abort();
    await this.server[Symbol.asyncDispose]();
  }
}

function failureOf(error: unknown): object {
  assert.ok(error instanceof ConnectError, String(error));
  const info = error.findDetails(ErrorInfoSchema)[0];
  return {
    code: Code[error.code],
    message: error.rawMessage.replaceAll(/\d+ ms|at [\d.:TZ-]+/g, "…"),
    reason: info?.reason,
    subject: info?.metadata,
    details: error.details.length,
    why: error.metadata.get("x-why"),
  };
}

const records = (transport: Transport): Client<typeof CollectionService> =>
  createClient(CollectionService, transport);
const prices = (transport: Transport): Client<typeof Pricing> => createClient(Pricing, transport);

describe("a call that the process makes of itself", () => {
  it("meets what a call from outside meets: validation, namespaces, errors with their details", async () => {
    await using site = await Site.open();
    await site.same((way) =>
      createClient(Namespaces, way)
        .createNamespace({ namespace: { name: "shop" } })
        .then(
          ({ name }) => name,
          () => "shop",
        ),
    );
    const cases: readonly ((way: Transport) => Promise<unknown>)[] = [
      (way) => records(way).meta({}),
      (way) => records(way).get({ collectionName: "none", id: "x" }),
      (way) => records(way).get({ namespace: "a/b", id: "x" }),
      (way) => records(way).get({ namespace: "a" }, { headers: { "x-collector-namespace": "b" } }),
      (way) => records(way).list({ collectionName: "none", pageSize: -1 }),
      (way) => createClient(CollectorRegistry, way).lookupService({ serviceName: "no.Such" }),
      (way) => createClient(CollectorRegistry, way).registerProto({}),
      (way) => prices(way).quote({}),
      (way) => prices(way).quote({}, { headers: { "x-collector-namespace": "a/b" } }),
    ];
    for (const call of cases) await site.same(call);

    await site.server.collector.call(Namespaces.method.updateNamespace, {
      namespace: { name: "shop", disabledServices: [CollectionService.typeName] },
      updateMask: ["disabled_services"],
    });
    const headers = { "x-collector-namespace": "shop" };
    const refused = await site.same((way) => records(way).meta({}, { headers }));
    assert.match(JSON.stringify(refused), /METHOD_NOT_REGISTERED/);
  });

  it("is of every kind, to built-in services and to registered ones, with metadata", async () => {
    await using site = await Site.open();
    await using _served = await site.server.collector.serve(
      Pricing,
      pricing({
        async quote({ title, quantity }, call) {
          const word = call.requestMetadata.get("x-word");
          call.responseHeaders.set("x-head", `${word}`);
          call.responseTrailers.set("x-tail-bin", new Uint8Array([0, 255]));
          assert.equal(call.requestMetadata.get("x-collector-route"), undefined);
          if (quantity < 0) throw new ConnectError("no", Code.OutOfRange, { "x-why": "because" });
          return { title, cents: 1n };
        },
      }),
    );
    const headers = { "x-word": "one", "x-collector-route": "forged" };
    const answer = await site.same(async (way) => {
      const seen: (string | null)[] = [];
      const { title } = await prices(way).quote(
        { title: "grüße", quantity: 1 },
        {
          headers,
          onHeader: (received) => seen.push(received.get("x-head")),
          onTrailer: (received) => seen.push(received.get("x-tail-bin")),
        },
      );
      return [title, ...seen];
    });
    assert.deepEqual(answer, ["grüße", "one", "AP8"]);
    await site.same((way) => prices(way).quote({ quantity: -1 }));
    const request = { title: "tea", quantity: 3 };
    await site.same((way) => Array.fromAsync(prices(way).list(request), ({ cents }) => cents));
    await site.same((way) => prices(way).sum(each([request, request])));
    await site.same((way) =>
      Array.fromAsync(prices(way).haggle(each([request, request])), ({ cents }) => cents),
    );

    const { call } = site.server.collector;
    const { cents } = await call(Pricing.method.quote, { quantity: 1 });
    assert.equal(cents, 1n);
  });

  it("has the same limits on messages and time", async () => {
    const limits = { messageBytesMax: 10_000, deadlineDefaultMs: 150, deadlineMaxMs: 300 };
    await using site = await Site.open({ limits });
    await using _served = await site.server.collector.serve(
      Pricing,
      pricing({
        // Neither of them looks at its signal.
        quote: ({ title, quantity }) =>
          quantity === 0
            ? new Promise(() => undefined)
            : Promise.resolve({ title: title.repeat(quantity) }),
        async *list() {
          yield { cents: 1n };
          await new Promise(() => undefined);
        },
      }),
    );
    const title = "x".repeat(6000);
    const large = await site.both((way) =>
      prices(way).quote({ title: title + title, quantity: 1 }),
    );
    const answer = await site.both((way) => prices(way).quote({ title, quantity: 2 }));
    for (const failure of [...large, ...answer]) {
      assert.match(JSON.stringify(failure), /ResourceExhausted.*MESSAGE_TOO_LARGE/);
    }
    const late = [
      ...(await site.both((way) => prices(way).quote({ quantity: 0 }))),
      ...(await site.both((way) => prices(way).quote({ quantity: 0 }, { timeoutMs: 50 }))),
      ...(await site.both((way) => prices(way).quote({ quantity: 0 }, { timeoutMs: 3_600_000 }))),
      ...(await site.both((way) => Array.fromAsync(prices(way).list({}, { timeoutMs: 100 })))),
    ];
    // Which end finds out first is a matter of luck, where there are two.
    for (const failure of late) assert.match(JSON.stringify(failure), /DeadlineExceeded/);
  });

  it("is given up by its signal, and its handler is told", async () => {
    await using site = await Site.open();
    const signals: AbortSignal[] = [];
    await using _served = await site.server.collector.serve(
      Pricing,
      pricing({
        async quote(_request, { signal }) {
          signals.push(signal);
          await once(signal, "abort");
          throw signal.reason;
        },
        async *list(_request, { signal }) {
          signals.push(signal);
          yield { cents: 1n };
          await once(signal, "abort");
        },
      }),
    );
    const { transport } = site.server.collector;
    const controller = new AbortController();
    const call = prices(transport).quote({}, { signal: controller.signal });
    while (signals.length < 1) await turn();
    controller.abort();
    await assert.rejects(call, { code: Code.Canceled });
    // The generated client does not pass on that its reader has left; a signal does.
    const { signal } = new AbortController();
    const answer = await transport.stream(Pricing.method.list, signal, 0, {}, each([{}]));
    for await (const { cents } of answer.message) {
      assert.equal(cents, 1n);
      break;
    }
    while (!signals.every(({ aborted }) => aborted)) await turn();
    assert.equal(signals.length, 2);
    const aborted = prices(transport).quote({}, { signal: AbortSignal.abort() });
    await assert.rejects(aborted, { code: Code.Canceled });
  });

  it("is logged and counted as one of protocol local", async () => {
    await using site = await Site.open();
    const { collector } = site.server;
    await collector.call(CollectionService.method.meta, {});
    await assert.rejects(
      collector.call(CollectionService.method.get, { collectionName: "none", id: "x" }),
    );
    const metrics = await (await fetch(`${collector.url}/metrics`)).text();
    const lines = metrics.split("\n").filter((line) => line.includes('protocol="local"'));
    assert.ok(
      lines.some((line) => /method="[^"]*Meta"/.test(line)),
      lines.join("\n"),
    );
    assert.ok(
      lines.some((line) => /code="(?:NotFound|NOT_FOUND)"/.test(line)),
      lines.join("\n"),
    );
  });

  it("shares nothing with the server that either could change", async () => {
    await using site = await Site.open();
    const { collector } = site.server;
    const request = { namespace: { name: "mine" } };
    const created = await collector.call(Namespaces.method.createNamespace, request);
    created.disabledServices.push("changed");
    const again = await collector.call(Namespaces.method.getNamespace, { name: "mine" });
    assert.deepEqual(again.disabledServices, []);
    const lookUp = { serviceName: "CollectionService", namespace: "" };
    await collector.call(CollectorRegistry.method.lookupService, lookUp);
    assert.equal(lookUp.namespace, "");
  });

  it("finishes when the server stops, and is refused from then on", async () => {
    await using site = await Site.open();
    const { collector } = site.server;
    const finish = Promise.withResolvers<undefined>();
    let begun = 0;
    await using _served = await collector.serve(
      Pricing,
      pricing({
        async quote() {
          begun += 1;
          await finish.promise;
          return { cents: 7n };
        },
      }),
    );
    const call = collector.call(Pricing.method.quote, {});
    await waitUntil("the call runs", 10_000, () => Promise.resolve(begun > 0));
    const closed = collector.close();
    await assert.rejects(collector.call(Pricing.method.quote, {}), { code: Code.Unavailable });
    finish.resolve(undefined);
    assert.equal((await call).cents, 7n);
    await closed;
  });

  it("ends when the server gives up waiting for it", async () => {
    await using site = await Site.open({ limits: { drainMs: 100 } });
    const { collector } = site.server;
    await using _served = await collector.serve(
      Pricing,
      pricing({ quote: () => new Promise(() => undefined) }),
    );
    const call = collector.call(Pricing.method.quote, {});
    call.catch(() => undefined);
    await turn();
    await collector.close();
    await assert.rejects(call, { code: Code.Unavailable });
  });

  it("carries a whole client of the collector", async () => {
    await using site = await Site.open();
    const { transport } = site.server.collector;
    await using client = await connect({ transport, env: {} });
    await assert.rejects(client.services.records.get({ collectionName: "none", id: "x" }), {
      name: "ClientError",
      reason: "COLLECTION_NOT_FOUND",
    });
    await client.services.registry.registerService({
      fileDescriptor: Pricing.file.proto,
      serviceName: Pricing.typeName,
    });
    await using worker = await client.attach(Pricing, {
      quote: () => Promise.resolve({ cents: 42n }),
      async *list() {
        yield { cents: 1n };
      },
      sum: () => Promise.resolve({}),
      async *haggle() {
        yield { cents: 2n };
      },
    });
    assert.equal((await prices(site.transports.socket).quote({})).cents, 42n);
    assert.equal((await prices(transport).quote({})).cents, 42n);
    await worker.close();
  });
});
