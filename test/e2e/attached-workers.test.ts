import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { Pricing } from "../../examples/gen/pricing_pb.ts";
import { type Client, connect } from "../../src/client/client.ts";
import type { AttachOptions, Worker } from "../../src/client/worker.ts";
import type { WorkerHandlers } from "../../src/client/worker-handlers.ts";
import { Executor_Kind as Kind } from "../../src/gen/collector/service_hosts_pb.ts";
import { ErrorInfoSchema, RetryInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import {
  describeWay,
  each,
  openCollector,
  pieceCents,
  pricingClient,
  type TestCollector,
  ways,
} from "../support/pricing.ts";
import { refusalOf } from "../support/refusal.ts";
import { waitUntil } from "../support/wait.ts";

/** What the workers here do, unless a test says otherwise. */
const handlers: WorkerHandlers<typeof Pricing> = {
  quote: ({ title, quantity }) => Promise.resolve({ title, cents: BigInt(quantity) * pieceCents }),
  async *list({ title, quantity }) {
    for (let i = 1; i <= quantity; i += 1) yield { title, cents: BigInt(i) * pieceCents };
  },
  async sum(requests) {
    const all = await Array.fromAsync(requests);
    const quantity = all.reduce((sum, request) => sum + request.quantity, 0);
    const title = all.map((request) => request.title).join(" ");
    return { title, cents: BigInt(quantity) * pieceCents };
  },
  async *haggle(requests) {
    for await (const { title, quantity } of requests) {
      yield { title, cents: BigInt(quantity) * pieceCents };
    }
  },
};

/** A collector with the example's service registered, and a client that attaches workers to it. */
class Site implements AsyncDisposable {
  readonly server: TestCollector;
  readonly client: Client;

  private constructor(server: TestCollector, client: Client) {
    this.server = server;
    this.client = client;
  }

  static async open(options: Parameters<typeof openCollector>[0] = {}): Promise<Site> {
    const server = await openCollector(options);
    const site = new Site(server, await connect({ url: server.url, env: {} }));
    await site.register();
    return site;
  }

  async register(namespace = ""): Promise<void> {
    await this.client.services.registry.registerService({
      namespace,
      fileDescriptor: Pricing.file.proto,
      serviceName: Pricing.typeName,
    });
  }

  async attach(
    overrides: Partial<WorkerHandlers<typeof Pricing>> = {},
    options: AttachOptions = {},
  ): Promise<Worker> {
    return await this.client.attach(Pricing, { ...handlers, ...overrides }, options);
  }

  async executors(): Promise<readonly string[]> {
    const { executors } = await this.client.services.hosts.listExecutors({});
    return executors.map(({ id, kind, ready }) => {
      assert.deepEqual([kind, ready], [Kind.WORKER, true]);
      return id;
    });
  }

  /** Waits for as many executors as are expected. */
  async executorCount(count: number): Promise<void> {
    while ((await this.executors()).length !== count) await sleep(10);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
  }
}

/** A worker in a process of its own. */
class WorkerProcess implements AsyncDisposable {
  readonly child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.child = child;
  }

  static async start(url: string, id: string): Promise<WorkerProcess> {
    const program = join(import.meta.dirname, "../support/pricing-worker.ts");
    const child = spawn(process.execPath, [program, url, id], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const worker = new WorkerProcess(child);
    const [line] = await once(createInterface({ input: child.stdout }), "line");
    assert.equal(line, `attached ${id}`);
    return worker;
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const closed = once(this.child, "close");
    this.child.kill(signal);
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill("SIGKILL");
  }
}

describe("an attached worker", () => {
  for (const way of ways) {
    it(`runs calls of every kind that come by ${describeWay(way)}`, async () => {
      await using site = await Site.open();
      await using worker = await site.attach({}, { workerId: "w1", labels: { zone: "a" } });
      assert.deepEqual([worker.state, worker.executorId], ["attached", "w1"]);
      using connection = pricingClient(site.server.url, way);
      const { client } = connection;
      const request = { title: "tea", quantity: 3 };
      assert.equal((await client.quote(request)).cents, 750n);
      const listed = await Array.fromAsync(client.list(request), ({ cents }) => cents);
      assert.deepEqual(listed, [250n, 500n, 750n]);
      const sum = await client.sum(each([request, { title: "cups", quantity: 1 }]));
      assert.deepEqual([sum.title, sum.cents], ["tea cups", 1000n]);
      if (way.httpVersion === "1.1") return;
      const haggled = await Array.fromAsync(
        client.haggle(each([request, request])),
        ({ cents }) => cents,
      );
      assert.deepEqual(haggled, [750n, 750n]);
    });
  }

  it("answers metadata and failures as they are", async () => {
    await using site = await Site.open();
    await using _worker = await site.attach({
      async quote({ quantity }, call) {
        call.responseHeaders.set("x-head", "h");
        call.responseTrailers.set("x-tail-bin", new Uint8Array([0, 255]));
        assert.ok(call.deadlineMs !== undefined && call.deadlineMs > performance.now());
        const words = Array.from(call.requestMetadata.entries()).filter(([n]) => n === "x-word");
        if (quantity >= 0) return { title: JSON.stringify(words), cents: 1n };
        const error = new ConnectError("not so few", Code.OutOfRange, { "x-why": "negative" });
        error.details.push(
          { desc: ErrorInfoSchema, value: { reason: "TOO_FEW", domain: "pricing" } },
          { desc: RetryInfoSchema, value: { retryDelay: { seconds: 5n } } },
        );
        throw error;
      },
    });
    using connection = pricingClient(site.server.url);
    let head: Headers | undefined;
    let tail: Headers | undefined;
    const { title } = await connection.client.quote(
      { quantity: 1 },
      {
        headers: { "x-word": "one" },
        onHeader: (received) => {
          head = received;
        },
        onTrailer: (received) => {
          tail = received;
        },
      },
    );
    assert.equal(title, '[["x-word","one"]]');
    assert.equal(head?.get("x-head"), "h");
    assert.equal(tail?.get("x-tail-bin"), "AP8");
    await assert.rejects(connection.client.quote({ quantity: -1 }), (error) => {
      assert.ok(error instanceof ConnectError);
      assert.deepEqual([error.code, error.rawMessage], [Code.OutOfRange, "not so few"]);
      assert.equal(error.metadata.get("x-why"), "negative");
      assert.equal(error.findDetails(ErrorInfoSchema)[0]?.reason, "TOO_FEW");
      assert.equal(error.findDetails(RetryInfoSchema)[0]?.retryDelay?.seconds, 5n);
      return true;
    });
  });

  it("that fails in a way of its own tells its program, and nothing to the caller", async () => {
    await using site = await Site.open();
    const errors: unknown[] = [];
    await using _worker = await site.attach(
      { quote: () => Promise.reject(new Error("the password is x")) },
      { onError: (error) => errors.push(error) },
    );
    using connection = pricingClient(site.server.url);
    await assert.rejects(connection.client.quote({}), {
      code: Code.Internal,
      rawMessage: "the worker failed",
    });
    assert.match(String(errors[0]), /the password is x/);
  });

  it("has to serve what is registered, in a namespace that is said once", async () => {
    await using site = await Site.open();
    await assert.rejects(site.attach({}, { namespace: "elsewhere" }), {
      name: "ClientError",
      reason: "SERVICE_NOT_FOUND",
      message: /pricing\.v1\.Pricing/,
    });
    await site.register("elsewhere");
    await using _worker = await site.attach({}, { namespace: "elsewhere" });
    assert.deepEqual(await site.executors(), []);
    using connection = pricingClient(site.server.url);
    const headers = { "x-collector-namespace": "elsewhere" };
    assert.equal((await connection.client.quote({ quantity: 1 }, { headers })).cents, 250n);
    const { code, reason } = await refusalOf(connection.client.quote({ quantity: 1 }));
    assert.deepEqual([code, reason], ["Unavailable", "SERVICE_UNAVAILABLE"]);
  });

  it("is told that a caller hung up, and of the deadline", async () => {
    await using site = await Site.open();
    const signals: AbortSignal[] = [];
    await using worker = await site.attach({
      async quote(_request, { signal }) {
        signals.push(signal);
        await once(signal, "abort");
        throw signal.reason;
      },
    });
    using connection = pricingClient(site.server.url);
    const { client } = connection;
    await assert.rejects(client.quote({}, { timeoutMs: 200 }), { code: Code.DeadlineExceeded });
    const controller = new AbortController();
    const call = client.quote({}, { signal: controller.signal });
    while (signals.length < 2) await turn();
    controller.abort();
    await assert.rejects(call, { code: Code.Canceled });
    while (worker.callCount > 0) await turn();
    assert.deepEqual(
      signals.map(({ aborted }) => aborted),
      [true, true],
    );
  });

  it("shares calls with others, many at a time", async () => {
    await using site = await Site.open();
    const counts = [0, 0, 0];
    const workers: Worker[] = [];
    for (const [index] of counts.entries()) {
      const quote: WorkerHandlers<typeof Pricing>["quote"] = async ({ title }) => {
        counts[index] = (counts[index] ?? 0) + 1;
        await turn();
        return { title, cents: 1n };
      };
      workers.push(await site.attach({ quote }, { workerId: `w${index}` }));
    }
    assert.deepEqual(await site.executors(), ["w0", "w1", "w2"]);
    using connection = pricingClient(site.server.url);
    const calls = Array.from({ length: 600 }, async (_, index) => {
      const { title } = await connection.client.quote({ title: `n${index}` });
      assert.equal(title, `n${index}`);
    });
    await Promise.all(calls);
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      600,
    );
    for (const count of counts) assert.ok(count > 100, counts.join());
  });

  it("finishes what it runs when it leaves, and others go on", async () => {
    await using site = await Site.open();
    const finish = Promise.withResolvers<undefined>();
    let begun = 0;
    const leaving = await site.attach({
      async quote() {
        begun += 1;
        await finish.promise;
        return { title: "leaving" };
      },
    });
    using connection = pricingClient(site.server.url);
    const call = connection.client.quote({});
    await waitUntil("the call runs", 10_000, () => Promise.resolve(begun > 0));
    await using _staying = await site.attach({
      quote: () => Promise.resolve({ title: "staying" }),
    });
    const closed = leaving.close();
    assert.equal(leaving.state, "draining");
    await site.executorCount(1);
    for (let i = 0; i < 20; i += 1) {
      assert.equal((await connection.client.quote({})).title, "staying");
    }
    finish.resolve(undefined);
    assert.equal((await call).title, "leaving");
    await closed;
    assert.equal(leaving.state, "closed");
  });

  it("finishes what it runs when the server stops", async () => {
    await using site = await Site.open();
    const finish = Promise.withResolvers<undefined>();
    let begun = 0;
    await using worker = await site.attach({
      async quote() {
        begun += 1;
        await finish.promise;
        return { title: "done" };
      },
    });
    using connection = pricingClient(site.server.url);
    const call = connection.client.quote({});
    await waitUntil("the call runs", 10_000, () => Promise.resolve(begun > 0));
    const closed = site.server.collector.close();
    finish.resolve(undefined);
    assert.equal((await call).title, "done");
    await closed;
    while (worker.state !== "reconnecting") await turn();
    assert.equal(begun, 1);
  });

  it("comes back by itself when the server is there again", async () => {
    await using first = await openCollector();
    const port = Number(new URL(first.url).port);
    await using client = await connect({ url: first.url, env: {} });
    await client.services.registry.registerService({
      fileDescriptor: Pricing.file.proto,
      serviceName: Pricing.typeName,
    });
    const states: string[] = [];
    await using worker = await client.attach(Pricing, handlers, {
      onState: (state, problem) => states.push(`${state} ${problem?.reason ?? ""}`.trim()),
    });
    await first.collector.close();
    await using second = await openCollector({ port });
    using connection = pricingClient(second.url);
    // Its service is not registered there yet.
    while (worker.problem?.reason !== "SERVICE_NOT_FOUND") await sleep(10);
    await client.services.registry.registerService({
      fileDescriptor: Pricing.file.proto,
      serviceName: Pricing.typeName,
    });
    while (worker.state !== "attached") await sleep(10);
    assert.equal((await connection.client.quote({ quantity: 2 })).cents, 500n);
    assert.equal(states[0], "attached");
    assert.ok(states.length >= 3, states.join());
  });

  it("leaves when its service is unregistered, and returns with it", async () => {
    await using site = await Site.open();
    await using worker = await site.attach();
    const { types } = site.client.services;
    await types.unregisterService({ name: Pricing.typeName });
    while (worker.problem?.reason !== "SERVICE_NOT_FOUND") await sleep(10);
    await site.register();
    assert.deepEqual(await site.executors(), []);
    await site.executorCount(1);
  });

  it("that is killed fails its calls at once, and others get the next ones", async () => {
    await using site = await Site.open();
    await using doomed = await WorkerProcess.start(site.server.url, "doomed");
    using connection = pricingClient(site.server.url);
    const { client } = connection;
    const patient = { timeoutMs: 60_000 };
    const unary = refusalOf(client.quote({ quantity: 0 }, patient));
    const list = client.list({ quantity: 2 }, patient)[Symbol.asyncIterator]();
    for (const cents of [250n, 500n]) assert.equal((await list.next()).value?.cents, cents);
    const rest = refusalOf(list.next());
    await doomed.kill("SIGKILL");
    for (const { code, reason, message } of [await unary, await rest]) {
      assert.deepEqual([code, reason], ["Unavailable", "PEER_UNAVAILABLE"]);
      assert.match(message, /worker doomed/);
    }
    await using _spare = await WorkerProcess.start(site.server.url, "spare");
    await site.executorCount(1);
    for (let i = 0; i < 20; i += 1) {
      assert.equal((await client.quote({ quantity: 1 })).cents, 250n);
    }
  });

  it("that is silent is dead soon", async () => {
    await using site = await Site.open({ limits: { workerPingMs: 50 } });
    await using frozen = await WorkerProcess.start(site.server.url, "frozen");
    using connection = pricingClient(site.server.url);
    const call = refusalOf(connection.client.quote({ quantity: 0 }, { timeoutMs: 60_000 }));
    frozen.child.kill("SIGSTOP");
    const { code, reason, message } = await call;
    assert.deepEqual([code, reason], ["Unavailable", "PEER_UNAVAILABLE"]);
    assert.match(message, /worker frozen gave no sign of life/);
    assert.deepEqual(await site.executors(), []);
    frozen.child.kill("SIGCONT");
    await site.executorCount(1);
  });

  it("carries large streams both ways, and holds them back where they are not read", async () => {
    await using site = await Site.open();
    const title = "x".repeat(100_000);
    let made = 0;
    await using _worker = await site.attach({
      async *list() {
        for (; made < 300; made += 1) yield { title, cents: BigInt(made) };
      },
    });
    using connection = pricingClient(site.server.url);
    const list = connection.client.list({ quantity: 1 })[Symbol.asyncIterator]();
    assert.equal((await list.next()).value?.cents, 0n);
    // The windows of the tunnel, of two connections and of this client.
    let before = -1;
    while (before !== made) {
      before = made;
      await sleep(100);
    }
    assert.ok(made < 300, `${made} messages were made for a reader that reads none`);
    let received = 1;
    for await (const { cents } of { [Symbol.asyncIterator]: () => list }) {
      assert.equal(cents, BigInt(received));
      received += 1;
    }
    assert.equal(received, 300);
    const sent = Array.from({ length: 100 }, () => ({ title, quantity: 1 }));
    const sum = await connection.client.sum(each(sent.map((each_) => ({ ...each_, title: "" }))));
    assert.equal(sum.cents, 25_000n);
  });
});
