import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import type { Executor } from "../executor.ts";
import { LinkNet, type NetNode } from "../links/testing/link-net.ts";
import { fakeExecutor } from "../testing/fake-executor.ts";
import { Breakers } from "./breakers.ts";
import { MeshRouter } from "./mesh-router.ts";

const names: readonly string[] = ["a", "b", "c", "d", "e", "f", "g"];
type Pair = readonly [string, string];

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
  from: string,
  links: readonly Pair[],
  servers: readonly string[],
): number | undefined {
  let reached = new Set<string>([from]);
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
  from: string,
  nodes: ReadonlyMap<string, NetNode>,
  servers: readonly string[],
): readonly string[] | undefined {
  const route: string[] = [];
  for (let at = from; ; ) {
    const id = at;
    const here: readonly Executor[] = servers.includes(id)
      ? [fakeExecutor("here", { serviceName, collectorId: id })]
      : [];
    const node = nodes.get(id);
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
  nodes: ReadonlyMap<string, NetNode>,
  links: readonly Pair[],
  servers: readonly string[],
): Promise<void> {
  await net.scheduler.advance(3000);
  for (const from of nodes.keys()) {
    const expected = distance(from, links, servers);
    const route = follow(from, nodes, servers);
    const found = route === undefined ? undefined : route.length - 1;
    const what = `from ${from} over ${links.join(" ")} to ${servers.join()}: ${route?.join() ?? "none"}`;
    assert.equal(found, expected, what);
  }
}

/** Collectors with these links between them, some of which run the service. */
async function open(
  net: LinkNet,
  ids: readonly string[],
  links: readonly Pair[],
  servers: readonly string[],
): Promise<Map<string, NetNode>> {
  const nodes = new Map<string, NetNode>();
  for (const id of ids) nodes.set(id, await net.add(id));
  for (const [id, node] of nodes) if (servers.includes(id)) serve(node, true);
  for (const [a, b] of links) await nodes.get(a)?.connect(b);
  return nodes;
}

async function unlink(
  net: LinkNet,
  nodes: ReadonlyMap<string, NetNode>,
  [a, b]: Pair,
): Promise<void> {
  const node = nodes.get(a) ?? assert.fail();
  const link = node.links.table.byPeer(b);
  await net.scheduler.until(node.links.disconnect(link?.id ?? "", false));
}

it("a call takes a shortest way to a collector that runs it, over any net of links, and only then", async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryMesh, async ({ links, servers, unlinked, serversLater }) => {
      await using net = new LinkNet();
      const nodes = await open(net, names, links, servers);
      await check(net, nodes, links, servers);
      for (const link of links.slice(0, unlinked)) await unlink(net, nodes, link);
      for (const [name, node] of nodes) serve(node, serversLater.includes(name));
      await check(net, nodes, links.slice(unlinked), serversLater);
    }),
    { numRuns: 100 },
  );
});

it("64 linked collectors find the shortest ways, also when links and services have come and gone", async () => {
  const ids = Array.from({ length: 64 }, (_, number) => `n${number}`);
  // A tree, each with up to three below it, and links across.
  const tree = ids.slice(1).map((id, at): Pair => [`n${Math.floor(at / 3)}`, id]);
  const across = [5, 11, 17, 23, 29].map((at): Pair => [`n${at}`, `n${at + 31}`]);
  await using net = new LinkNet();
  const nodes = await open(net, ids, [...tree, ...across], ["n40", "n63"]);
  await check(net, nodes, [...tree, ...across], ["n40", "n63"]);
  const gone = [tree[0], tree[30], ...across.slice(0, 2)].flatMap((link) =>
    link === undefined ? [] : [link],
  );
  for (const link of gone) await unlink(net, nodes, link);
  for (const [id, node] of nodes) serve(node, id === "n0" || id === "n51");
  const left = [...tree, ...across].filter((link) => !gone.includes(link));
  await check(net, nodes, left, ["n0", "n51"]);
});
