import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import type { Executor } from "../executor.ts";
import { LinkNet, type NetNode } from "../links/testing/link-net.ts";
import { fakeExecutor } from "../testing/fake-executor.ts";
import { Breakers } from "./breakers.ts";
import { MeshRouter } from "./mesh-router.ts";

const names = ["a", "b", "c", "d", "e", "f", "g"] as const;
type Name = (typeof names)[number];
type Pair = readonly [Name, Name];

const serviceName = "shop.v1.Shop";
const hopsMax = 4;

const pairs: readonly Pair[] = names.flatMap((a) =>
  names.filter((b) => b > a).map((b) => [a, b] as const),
);

/** Which collectors are linked, which of them run the service, and what of that changes later. */
const arbitraryMesh = fc.record({
  links: fc.uniqueArray(fc.constantFrom(...pairs), { minLength: 3, maxLength: 9 }),
  servers: fc.subarray([...names], { minLength: 1, maxLength: 3 }),
  unlinked: fc.nat({ max: 2 }),
  serversLater: fc.subarray([...names], { maxLength: 2 }),
});

/** Fewest links from a collector to one that runs the service; undefined if there is no way. */
function distance(
  from: Name,
  links: readonly Pair[],
  servers: readonly Name[],
): number | undefined {
  let reached = new Set<Name>([from]);
  for (let hops = 0; hops <= hopsMax; hops += 1) {
    if (servers.some((name) => reached.has(name))) return hops;
    const next = new Set(reached);
    for (const [a, b] of links) {
      if (reached.has(a)) next.add(b);
      if (reached.has(b)) next.add(a);
    }
    reached = next;
  }
  return undefined;
}

function serve(node: NetNode, isServer: boolean): void {
  const service = { name: serviceName, executors: [], idempotentMethods: new Set<string>() };
  node.services.set("default", isServer ? [service] : []);
  node.links.offersChanged();
}

/** The collectors that a call passes until one runs it; undefined if one cannot send it on. */
function follow(
  from: Name,
  nodes: ReadonlyMap<Name, NetNode>,
  servers: readonly Name[],
): readonly string[] | undefined {
  const route: string[] = [];
  for (let at: string = from; ; ) {
    const id = at;
    const here: readonly Executor[] = servers.some((name) => name === id)
      ? [fakeExecutor("here", { serviceName, collectorId: id })]
      : [];
    const node = nodes.get(id as Name);
    assert.ok(node !== undefined);
    const router = new MeshRouter({
      collectorId: id,
      local: { executorsOf: () => here },
      peers: node.links.executors,
      breakers: new Breakers(),
      hopsMax,
    });
    let executor: Executor;
    try {
      executor = router.route("default", serviceName, "Quote", { route });
    } catch {
      return undefined;
    }
    route.push(id);
    assert.equal(new Set(route).size, route.length, `${route.join()} goes in a circle`);
    if (executor.kind !== "peer") return route;
    at = executor.neighborId ?? "";
  }
}

async function check(
  net: LinkNet,
  nodes: ReadonlyMap<Name, NetNode>,
  links: readonly Pair[],
  servers: readonly Name[],
): Promise<void> {
  await net.scheduler.advance(3000);
  for (const from of names) {
    const expected = distance(from, links, servers);
    const route = follow(from, nodes, servers);
    const found = route === undefined ? undefined : route.length - 1;
    const what = `from ${from} over ${links.join(" ")} to ${servers.join()}: ${route?.join() ?? "none"}`;
    assert.equal(found, expected, what);
  }
}

it("a call takes a shortest way to a collector that runs it, over any net of links, and only then", async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryMesh, async ({ links, servers, unlinked, serversLater }) => {
      await using net = new LinkNet();
      const nodes = new Map<Name, NetNode>();
      for (const name of names) nodes.set(name, await net.add(name));
      for (const name of servers) serve(nodes.get(name) ?? assert.fail(), true);
      for (const [a, b] of links) await nodes.get(a)?.connect(b);
      await check(net, nodes, links, servers);
      for (const [a, b] of links.slice(0, unlinked)) {
        const node = nodes.get(a) ?? assert.fail();
        const link = node.links.table.byPeer(b);
        await net.scheduler.until(node.links.disconnect(link?.id ?? "", false));
      }
      for (const name of names) {
        serve(nodes.get(name) ?? assert.fail(), serversLater.includes(name));
      }
      await check(net, nodes, links.slice(unlinked), serversLater);
    }),
    { numRuns: 100 },
  );
});
