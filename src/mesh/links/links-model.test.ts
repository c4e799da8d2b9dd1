import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { LinkNet, type NetNode } from "./testing/link-net.ts";

const names = ["a", "b", "c"] as const;
type Name = (typeof names)[number];

/** What happens to a net. Both ends of a pair are told apart by their order. */
type Step =
  | { readonly kind: "connect"; readonly pair: Pair; readonly alias: boolean }
  | { readonly kind: "connect both"; readonly pair: Pair }
  | { readonly kind: "disconnect"; readonly pair: Pair }
  | { readonly kind: "cut"; readonly pair: Pair }
  | { readonly kind: "freeze"; readonly pair: Pair }
  | { readonly kind: "thaw"; readonly pair: Pair }
  | { readonly kind: "stop" | "crash" | "start"; readonly at: Name }
  | { readonly kind: "wait"; readonly ms: number };

type Pair = readonly [Name, Name];

const arbitraryPair = fc.constantFrom<Pair>(
  ...names.flatMap((a) => names.filter((b) => b !== a).map((b) => [a, b] as const)),
);

const arbitraryStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("connect" as const),
      pair: arbitraryPair,
      alias: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        "connect both" as const,
        "disconnect" as const,
        "cut" as const,
        "freeze" as const,
        "thaw" as const,
      ),
      pair: arbitraryPair,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom("stop" as const, "crash" as const, "start" as const),
      at: fc.constantFrom(...names),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.nat({ max: 30_000 }) }),
  },
);

/** What must be in the end: true for a link, false for none; undefined if that is open. */
class Oracle {
  readonly #linked = new Map<string, boolean | undefined>();

  set(pair: Pair, linked: boolean | undefined): void {
    this.#linked.set(keyOf(pair), linked);
  }

  get(pair: Pair): boolean | undefined {
    const key = keyOf(pair);
    return this.#linked.has(key) ? this.#linked.get(key) : false;
  }
}

function keyOf(pair: Pair): string {
  return [...pair].sort().join();
}

class World {
  readonly net = new LinkNet();
  readonly oracle = new Oracle();
  readonly #nodes = new Map<Name, NetNode>();

  node(name: Name): NetNode {
    const node = this.#nodes.get(name);
    assert.ok(node !== undefined);
    return node;
  }

  async start(): Promise<void> {
    for (const name of names) this.#nodes.set(name, await this.net.add(name));
  }

  async run(step: Step): Promise<void> {
    switch (step.kind) {
      case "connect":
        await this.#connect(step.pair, step.alias);
        break;
      case "connect both":
        await Promise.all([
          this.#connect(step.pair, false),
          this.#connect([step.pair[1], step.pair[0]], false),
        ]);
        break;
      case "disconnect":
        await this.#disconnect(step.pair);
        break;
      case "cut":
        this.net.cut(...step.pair);
        break;
      case "freeze":
        this.net.freeze(...step.pair);
        break;
      case "thaw":
        this.net.thaw(...step.pair);
        break;
      case "stop":
        if (this.node(step.at).isRunning) await this.node(step.at).stop();
        break;
      case "crash":
        if (this.node(step.at).isRunning) await this.node(step.at).crash();
        break;
      case "start":
        if (!this.node(step.at).isRunning) await this.node(step.at).start();
        break;
      case "wait":
        await this.net.scheduler.advance(step.ms);
        break;
    }
  }

  /** Everything works again, and there is time to find each other. */
  async heal(): Promise<void> {
    for (const a of names) for (const b of names) this.net.thaw(a, b);
    for (const name of names) if (!this.node(name).isRunning) await this.node(name).start();
    await this.net.scheduler.advance(200_000);
  }

  async #connect(pair: Pair, alias: boolean): Promise<void> {
    const [from, to] = pair;
    if (!this.node(from).isRunning) return;
    // Whoever connects to one that has removed the link and could not say so may get the old one.
    const isOpen = pair.some((name) => this.#isParting(name, pair));
    try {
      await this.node(from).connect(alias ? `${to}-alias` : to);
      this.oracle.set(pair, isOpen || this.#isFrozen(pair) ? undefined : true);
    } catch {
      // It may have come far enough for a link.
      if (this.oracle.get(pair) === false) this.oracle.set(pair, undefined);
    }
  }

  async #disconnect(pair: Pair): Promise<void> {
    const [from, to] = pair;
    if (!this.node(from).isRunning) return;
    const link = this.node(from).links.table.byPeer(to);
    if (link === undefined) return;
    const { net } = this;
    await net.scheduler.until(this.node(from).links.disconnect(link.id, true));
    // The other end may have another one in its hands by now.
    const other = this.node(to);
    const sameThere =
      !other.isRunning || [undefined, link.id].includes(other.links.table.byPeer(from)?.id);
    this.oracle.set(pair, sameThere ? false : undefined);
  }

  #isParting(name: Name, pair: Pair): boolean {
    const other = name === pair[0] ? pair[1] : pair[0];
    return this.node(name).partingPeers.includes(other);
  }

  #isFrozen([a, b]: Pair): boolean {
    return this.net.isFrozen(a, b) || this.net.isFrozen(b, a);
  }
}

it("links agree at both ends with what was asked for last, whatever happened to the net", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(arbitraryStep, { maxLength: 25 }), async (steps) => {
      const world = new World();
      await using net = world.net;
      await world.start();
      for (const step of steps) await world.run(step);
      await world.heal();
      for (const a of names) {
        for (const b of names) {
          if (a >= b) continue;
          const atA = world.node(a).links.table.byPeer(b);
          const atB = world.node(b).links.table.byPeer(a);
          assert.equal(atA?.id, atB?.id, `${a} and ${b} do not agree`);
          assert.equal(atA?.isUp, atB?.isUp, `${a} and ${b} do not agree`);
          if (atA !== undefined) assert.equal(atA.isUp, true, `${a} and ${b}: ${atA.problem}`);
          const expected = world.oracle.get([a, b]);
          if (expected !== undefined) {
            assert.equal(atA !== undefined, expected, `${a} and ${b} are linked`);
          }
        }
      }
      for (const name of names) {
        const node = world.node(name);
        const ids = node.links.table.all().map(({ id }) => id);
        assert.deepEqual(node.records.ids.sort(), ids.sort(), `what ${name} keeps`);
      }
      const links = names.flatMap((name) => world.node(name).links.table.all()).length / 2;
      assert.equal(net.wireCount, links);
    }),
    { numRuns: 100 },
  );
});
