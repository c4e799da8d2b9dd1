import assert from "node:assert/strict";
import { describe, it, mock } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { CollectorError } from "../../errors.ts";
import {
  type AttachRequest,
  AttachRequest_HelloSchema,
  type AttachResponse,
} from "../../gen/collector/service_hosts_pb.ts";
import { defaultLimits, type Limits } from "../../lib/limits.ts";
import { silentLog } from "../../lib/log.ts";
import type { TypeSource } from "../../registry/type-snapshot.ts";
import { Outbox } from "../../tunnel/outbox.ts";
import type { TunnelHandler } from "../../tunnel/served-call.ts";
import { TunnelServer } from "../../tunnel/tunnel-server.ts";
import { callUnary, chooseExecutor, LocalExecutors } from "../executor.ts";
import { codeOf, toEnd } from "../tunnel/testing/tunnel-pair.ts";
import { AttachedWorkers } from "./attached-workers.ts";

const shop = "shop.v1.Shop";
const stock = "shop.v1.Stock";
const path = `/${shop}/Quote`;
const empty = new Uint8Array(0);

/** Lets everything that is ready happen. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await turn();
}

/** A namespace whose services a test decides on. */
class FakeTypes {
  readonly services = new Set([shop, stock]);

  get source(): TypeSource {
    const service = (name: string): unknown => {
      const fullName = [...this.services].find((each) => each.endsWith(name));
      if (fullName !== undefined) {
        return { typeName: fullName, file: { proto: { package: "shop.v1" } } };
      }
      if (name === "collector.Operations") {
        return { typeName: name, file: { proto: { package: "collector" } } };
      }
      throw new CollectorError("SERVICE_NOT_FOUND", `${name} is not registered`);
    };
    return { snapshot: () => ({ service }) } as unknown as TypeSource;
  }
}

interface Fixture extends Disposable {
  readonly workers: AttachedWorkers;
  readonly executors: LocalExecutors;
  readonly types: FakeTypes;
}

function open(limits: Partial<Limits> = {}): Fixture {
  const executors = new LocalExecutors();
  const types = new FakeTypes();
  const workers = new AttachedWorkers({
    executors,
    types: types.source,
    collectorId: "here",
    limits: { ...defaultLimits, ...limits },
    codeOf,
    log: silentLog,
  });
  return { workers, executors, types, [Symbol.dispose]: () => workers[Symbol.dispose]() };
}

type Hello = MessageInitShape<typeof AttachRequest_HelloSchema>;

/** The other end of the stream: as much of a worker as a test needs. */
class TestWorker {
  readonly outbox: Outbox<AttachRequest>;
  readonly steps: string[] = [];
  executorId = "";
  answersPings = true;
  readonly #server: TunnelServer;
  readonly ended: Promise<unknown>;

  constructor({ workers }: Fixture, hello: Hello, handler: TunnelHandler = echo) {
    this.outbox = new Outbox({
      wrap: (value) => request({ case: "frames", value }),
      onReturn: () => undefined,
    });
    this.#server = new TunnelServer({
      outlet: this.outbox,
      handler,
      toEnd,
      callsMax: 1000,
      messageBytesMax: 1024 * 1024,
      metadataBytesMax: 16 * 1024,
    });
    this.outbox.push(request({ case: "hello", value: create(AttachRequest_HelloSchema, hello) }));
    const context = { namespace: "default", peer: "test", signal: new AbortController().signal };
    this.ended = this.#read(workers.attach(this.outbox, context));
    // Whether and how it ends is asked later.
    this.ended.catch(() => undefined);
  }

  async #read(responses: AsyncIterable<AttachResponse>): Promise<void> {
    try {
      for await (const { step } of responses) {
        if (step.case !== "frames") this.steps.push(step.case ?? "");
        if (step.case === "welcome") this.executorId = step.value.executorId;
        if (step.case === "ping" && this.answersPings) {
          this.outbox.push(request({ case: "pong", value: step.value }));
        }
        if (step.case === "frames") {
          for (const frame of step.value.frames) this.#server.accept(frame);
        }
      }
    } finally {
      this.#server.close();
    }
  }
}

/** Requests that never come. */
async function* silence(): AsyncIterable<AttachRequest> {
  await new Promise(() => undefined);
  yield request({ case: undefined });
}

function request(step: AttachRequest["step"]): AttachRequest {
  return { $typeName: "collector.AttachRequest", step };
}

const echo: TunnelHandler = async function* ({ messages }) {
  for await (const message of messages) yield message;
};

/** Answers when the test says so. */
function gate(): { readonly handler: TunnelHandler; readonly open: () => void; count: number } {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const result = {
    count: 0,
    open: () => resolve(undefined),
    handler: async function* () {
      result.count += 1;
      await promise;
      yield empty;
    } satisfies TunnelHandler,
  };
  return result;
}

describe("an attached worker", () => {
  it("are cut off if they never say hello", async () => {
    using fixture = open({ workerHelloMs: 20 });
    const context = { namespace: "default", peer: "test", signal: new AbortController().signal };
    await assert.rejects(Array.fromAsync(fixture.workers.attach(silence(), context)), {
      reason: "DEADLINE_EXCEEDED",
      message: "hello: did not come within 20 ms, the limit (workerHelloMs)",
    });
    assert.equal(fixture.workers.count, 0);
  });

  it("is an executor of each of its services, for as long as it is there", async () => {
    using fixture = open();
    const { executors } = fixture;
    const worker = new TestWorker(fixture, {
      services: [shop, "Stock", shop],
      workerId: "w",
      labels: { zone: "a" },
    });
    await settle();
    assert.equal(worker.executorId, "w");
    for (const service of [shop, stock]) {
      const [executor] = executors.executorsOf("default", service);
      assert.ok(executor !== undefined);
      assert.deepEqual(
        [executor.id, executor.kind, executor.ready, executor.labels, executor.collectorId],
        ["w", "worker", true, { zone: "a" }, "here"],
      );
      const { message } = await callUnary(executor, path, Uint8Array.of(7));
      assert.deepEqual([...message], [7]);
    }
    worker.outbox.end();
    await worker.ended;
    assert.deepEqual([...executors.all()], []);
    assert.equal(fixture.workers.count, 0);
  });

  it("has to say who it is, in a way that makes sense", async () => {
    using fixture = open({ workerServicesMax: 2, labelsMax: 1 });
    const cases: readonly [Hello, string, RegExp][] = [
      [{}, "ARGUMENT_MISSING", /hello\.services: is empty/],
      [{ services: ["shop.v1.Nope"] }, "SERVICE_NOT_FOUND", /shop\.v1\.Nope is not registered/],
      [{ services: ["collector.Operations"] }, "ARGUMENT_INVALID", /hello\.services\[0\].*own/],
      [{ services: ["a", "b", "c"] }, "ARGUMENT_INVALID", /has 3 services, the limit is 2/],
      [{ services: [shop], workerId: "no good" }, "NAME_INVALID", /hello\.worker_id/],
      [{ services: [shop], callsMax: -1 }, "ARGUMENT_INVALID", /hello\.calls_max: is -1/],
      [{ services: [shop], labels: { a: "1", b: "2" } }, "LABEL_INVALID", /hello\.labels/],
    ];
    for (const [hello, reason, message] of cases) {
      await assert.rejects(new TestWorker(fixture, hello).ended, { reason, message });
    }
    const context = { namespace: "default", peer: "test", signal: new AbortController().signal };
    const silent = fixture.workers.attach(
      (async function* () {
        yield request({ case: "drain", value: { $typeName: "collector.AttachDrain" } });
      })(),
      context,
    );
    await assert.rejects(Array.fromAsync(silent), { reason: "ARGUMENT_MISSING" });
    assert.equal(fixture.workers.count, 0);
  });

  it("is let in as long as there are not too many", async () => {
    using fixture = open({ workersMax: 1 });
    const first = new TestWorker(fixture, { services: [shop] });
    await settle();
    const { ended } = new TestWorker(fixture, { services: [shop] });
    await assert.rejects(ended, { reason: "OVERLOADED", message: /workersMax/ });
    first.outbox.end();
    await first.ended;
    const third = new TestWorker(fixture, { services: [shop] });
    await settle();
    assert.deepEqual(third.steps, ["welcome"]);
  });

  it("gets an id of its own if another one has it", async () => {
    using fixture = open();
    const hello = { services: [shop], workerId: "w" };
    const workers = [new TestWorker(fixture, hello), new TestWorker(fixture, hello)];
    await settle();
    const ids = new Set(workers.map(({ executorId }) => executorId));
    assert.equal(ids.size, 2);
    assert.ok(ids.has("w"));
  });

  it("is given no more calls than it takes, as long as another one has room", async () => {
    using fixture = open();
    const { executors } = fixture;
    const small = gate();
    const large = gate();
    const hello = { services: [shop] };
    const workers = [
      new TestWorker(fixture, { ...hello, workerId: "small", callsMax: 2 }, small.handler),
      new TestWorker(fixture, { ...hello, workerId: "large", callsMax: 20 }, large.handler),
    ];
    await settle();
    assert.deepEqual(
      workers.map(({ executorId }) => executorId),
      ["small", "large"],
    );
    const calls = Array.from({ length: 22 }, async () => {
      const executor = chooseExecutor(executors.executorsOf("default", shop));
      assert.ok(executor !== undefined);
      await callUnary(executor, path, empty);
    });
    await settle();
    assert.deepEqual([small.count, large.count], [2, 20]);
    small.open();
    large.open();
    await Promise.all(calls);
  });

  it("fails its calls at once when its stream ends", async () => {
    using fixture = open();
    const { handler } = gate();
    const worker = new TestWorker(fixture, { services: [shop], workerId: "w" }, handler);
    await settle();
    const [executor] = fixture.executors.executorsOf("default", shop);
    assert.ok(executor !== undefined);
    const call = callUnary(executor, path, empty);
    await settle();
    worker.outbox.end();
    await assert.rejects(call, {
      reason: "PEER_UNAVAILABLE",
      message: "worker w has ended its stream",
      mayHaveRun: true,
    });
    assert.equal(executor.ready, false);
  });

  it("is dead after it has given no sign of life for too long", async () => {
    mock.timers.enable({ apis: ["setInterval"] });
    try {
      using fixture = open({ workerPingMs: 20 });
      const dead = new TestWorker(fixture, { services: [shop], workerId: "dead" }, gate().handler);
      const alive = new TestWorker(fixture, { services: [shop], workerId: "alive" });
      dead.answersPings = false;
      await settle();
      const executor = [...fixture.executors.all()].find(({ id }) => id === "dead");
      assert.ok(executor !== undefined);
      const call = callUnary(executor, path, empty);
      call.catch(() => undefined);
      const since = performance.now();
      while (performance.now() - since < 100) {
        mock.timers.tick(20);
        await settle();
      }
      const refusal = { reason: "PEER_UNAVAILABLE", message: /gave no sign of life for \d+ ms/ };
      await assert.rejects(call, { ...refusal, mayHaveRun: true });
      await assert.rejects(dead.ended, refusal);
      assert.equal(fixture.workers.count, 1);
      assert.ok(alive.steps.filter((step) => step === "ping").length > 1);
      // One that does not answer is asked once.
      assert.equal(dead.steps.filter((step) => step === "ping").length, 1);
    } finally {
      mock.timers.reset();
    }
  });

  it("ends with a clear error if it breaks the rules", async () => {
    using fixture = open();
    const cases: readonly [AttachRequest["step"], RegExp][] = [
      [{ case: "hello", value: create(AttachRequest_HelloSchema) }, /hello is nothing that/],
      [{ case: undefined }, /an empty step is nothing that/],
      [
        {
          case: "frames",
          value: {
            $typeName: "collector.TunnelFrames",
            frames: [
              {
                $typeName: "collector.TunnelFrame",
                callId: 9n,
                frame: { case: "message", value: empty },
              },
            ],
          },
        },
        /a frame of call 9: the call was never opened/,
      ],
    ];
    for (const [step, message] of cases) {
      const worker = new TestWorker(fixture, { services: [shop] }, gate().handler);
      await settle();
      const [executor] = fixture.executors.executorsOf("default", shop);
      assert.ok(executor !== undefined);
      // Not sent yet: the stream ends before it can be.
      const call = callUnary(executor, path, empty);
      call.catch(() => undefined);
      worker.outbox.push(request(step));
      await assert.rejects(worker.ended, { reason: "ARGUMENT_INVALID", message });
      await assert.rejects(call, { reason: "PEER_UNAVAILABLE" });
      assert.equal(fixture.workers.count, 0);
    }
  });

  it("finishes what it has when it drains, and gets nothing more", async () => {
    using fixture = open();
    const { handler, open: answer } = gate();
    const worker = new TestWorker(fixture, { services: [shop] }, handler);
    await settle();
    const [executor] = fixture.executors.executorsOf("default", shop);
    assert.ok(executor !== undefined);
    const call = callUnary(executor, path, empty);
    await settle();
    worker.outbox.push(request({ case: "drain", value: { $typeName: "collector.AttachDrain" } }));
    await settle();
    assert.deepEqual([...fixture.executors.all()], []);
    assert.equal(executor.ready, false);
    await assert.rejects(callUnary(executor, path, empty), { mayHaveRun: false });
    answer();
    await call;
    await worker.ended;
  });

  it("is let go when the server stops, once nobody needs it any more", async () => {
    using fixture = open();
    const { handler, open: answer } = gate();
    const worker = new TestWorker(fixture, { services: [shop] }, handler);
    await settle();
    let isNeeded = true;
    fixture.workers.drain(() => isNeeded);
    await assert.rejects(new TestWorker(fixture, { services: [shop] }).ended, {
      reason: "SHUTTING_DOWN",
    });
    const [executor] = fixture.executors.executorsOf("default", shop);
    assert.ok(executor?.ready === true);
    const call = callUnary(executor, path, empty);
    isNeeded = false;
    while (!worker.steps.includes("drain")) await turn();
    assert.equal(executor.ready, false);
    answer();
    await call;
    await worker.ended;
  });

  it("loses its share of a service that is not registered any more, and goes without any", async () => {
    using fixture = open();
    const { types, executors, workers } = fixture;
    const worker = new TestWorker(fixture, { services: [shop, stock] });
    await settle();
    types.services.delete(stock);
    workers.followTypes("other");
    assert.equal(executors.executorsOf("default", stock).length, 1);
    workers.followTypes("default");
    assert.equal(executors.executorsOf("default", stock).length, 0);
    assert.equal(executors.executorsOf("default", shop).length, 1);
    types.services.add(stock);
    workers.followTypes("default");
    assert.equal(executors.executorsOf("default", stock).length, 1);
    types.services.clear();
    workers.followTypes("default");
    await worker.ended;
    assert.deepEqual(worker.steps, ["welcome", "drain"]);
  });
});
