import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { callStream, callUnary, chooseExecutor, LocalExecutors } from "./executor.ts";
import { framed } from "./framed.ts";
import { fakeExecutor } from "./testing/fake-executor.ts";

describe("LocalExecutors", () => {
  it("knows executors by namespace and service until they are taken out", () => {
    const executors = new LocalExecutors();
    const a = fakeExecutor("a");
    const b = fakeExecutor("b");
    const elsewhere = fakeExecutor("c", { namespace: "staging" });
    using _a = executors.add(a);
    const takeOutB = executors.add(b);
    using _c = executors.add(elsewhere);
    assert.deepEqual(executors.executorsOf("default", "shop.v1.Shop"), [a, b]);
    assert.deepEqual(executors.executorsOf("staging", "shop.v1.Shop"), [elsewhere]);
    assert.deepEqual(executors.executorsOf("default", "shop.v1.Stock"), []);
    assert.deepEqual([...executors.all()], [a, b, elsewhere]);
    assert.deepEqual([...executors.all("staging")], [elsewhere]);
    takeOutB[Symbol.dispose]();
    takeOutB[Symbol.dispose]();
    assert.deepEqual(executors.executorsOf("default", "shop.v1.Shop"), [a]);
  });

  it("tells of what was added and taken out", () => {
    const executors = new LocalExecutors();
    const told: string[] = [];
    const subscription = executors.subscribe((namespace, service) => {
      told.push(`${namespace}/${service} ${executors.executorsOf(namespace, service).length}`);
    });
    executors.add(fakeExecutor("a"))[Symbol.dispose]();
    subscription[Symbol.dispose]();
    executors.add(fakeExecutor("b"));
    assert.deepEqual(told, ["default/shop.v1.Shop 1", "default/shop.v1.Shop 0"]);
  });
});

describe("the choice of an executor", () => {
  it("is none that is not ready, was tried, or lacks a label", () => {
    const down = fakeExecutor("down", { ready: false, problem: "it does not answer" });
    const tried = fakeExecutor("tried");
    const wrong = fakeExecutor("wrong", { labels: { zone: "b" } });
    const right = fakeExecutor("right", { labels: { zone: "a", size: "2" } });
    const wish = { labels: { zone: "a" }, exclude: new Set([tried]) };
    for (let i = 0; i < 20; i += 1) {
      assert.equal(chooseExecutor([down, tried, wrong, right], wish), right);
    }
    assert.equal(chooseExecutor([down]), undefined);
    assert.equal(chooseExecutor([]), undefined);
  });

  it("gives each its share, and the busy ones less", () => {
    const executors = ["a", "b", "c", "d"].map((id) => fakeExecutor(id));
    const counts = new Map<string, number>();
    const busy = executors[0];
    assert.ok(busy);
    busy.inFlight = 1;
    for (let i = 0; i < 400; i += 1) {
      const id = chooseExecutor(executors)?.id ?? "";
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    // The busy one loses to every other one.
    assert.deepEqual([...counts.keys()].sort(), ["b", "c", "d"]);
  });

  it("sticks to one executor for a key, and moves few keys when one goes", () => {
    const executors = ["a", "b", "c", "d"].map((id) => fakeExecutor(id));
    const keys = Array.from({ length: 200 }, (_, i) => `key-${i}`);
    const before = keys.map((sticky) => chooseExecutor(executors, { sticky }));
    assert.equal(new Set(before).size, 4);
    assert.deepEqual(
      keys.map((sticky) => chooseExecutor(executors.toReversed(), { sticky })),
      before,
    );
    const rest = executors.slice(1);
    for (const [i, sticky] of keys.entries()) {
      const now = chooseExecutor(rest, { sticky });
      if (before[i] !== executors[0]) assert.equal(now, before[i]);
    }
  });
});

describe("calls of an executor", () => {
  const path = "/shop.v1.Shop/Quote";

  it("are in flight until they are answered", async () => {
    const executor = fakeExecutor("a");
    const answer = callUnary(executor, path, Uint8Array.of(1));
    assert.equal(executor.inFlight, 1);
    assert.deepEqual((await answer).message, Uint8Array.of(1));
    assert.equal(executor.inFlight, 0);
  });

  it("are in flight until their stream has ended", async () => {
    const executor = fakeExecutor("a");
    const { messages, end } = callStream(
      executor,
      path,
      [Uint8Array.of(1), Uint8Array.of(2)].map(framed),
    );
    assert.equal(executor.inFlight, 1);
    assert.equal((await Array.fromAsync(messages)).length, 2);
    await end;
    assert.equal(executor.inFlight, 0);
  });
});
