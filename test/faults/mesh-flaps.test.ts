import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FaultProxy } from "../support/fault-proxy.ts";
import { faultSeed } from "../support/fault-seed.ts";
import { echoRequest, type LinkFixture, openLinkFixture } from "../support/link-fixture.ts";
import { processLoad } from "../support/process-load.ts";
import { Random } from "../support/random.ts";
import { waitUntil } from "../support/wait.ts";

/** How often the link breaks; `npm run test:faults` makes thousands. */
const flaps = Number(process.env["COLLECTOR_FLAPS"] ?? 40);
const warmUp = 30;
const growthBytesMax = 4 * 1024 * 1024;
const seed = faultSeed();

const limits = { linkRetryMaxMs: 100, linkPingMs: 50, linkTimeoutMs: 300, peerConnectMs: 1000 };

async function bothUp(a: LinkFixture, b: LinkFixture): Promise<void> {
  await waitUntil("the link is up at both ends", 20_000, () => {
    const atA = a.links.table.byPeer("b");
    const atB = b.links.table.byPeer("a");
    return atA?.isUp === true && atB?.isUp === true;
  });
}

describe("A link over a network that fails", () => {
  it(`heals each time, and leaves nothing behind (${flaps} flaps, seed ${seed})`, async (t) => {
    const random = new Random(seed);
    await using b = await openLinkFixture("b", { limits });
    await using proxy = await FaultProxy.start(() => b.address);
    await using a = await openLinkFixture("a", { limits });
    await a.links.connect({ address: proxy.address, namespaces: [], labels: {} });
    let calls = 0;
    const flap = async (): Promise<void> => {
      const before = a.links.table.byPeer("b")?.toStatus().reconnects;
      const deadlineMs = performance.now() + 1000;
      const request = echoRequest({ text: "x" });
      const call = a.channelTo("b").unary("/echo.v1.Echo/Unary", request, { deadlineMs });
      const settled = call.then(
        () => (calls += 1),
        () => undefined,
      );
      switch (random.below(4)) {
        case 0:
          proxy.cut();
          break;
        case 1:
          proxy.abandon();
          break;
        case 2:
          proxy.freeze("up", "down");
          break;
        default:
          proxy.freeze(random.below(2) === 0 ? "up" : "down");
      }
      await waitUntil("it is noticed", 20_000, () => {
        const link = a.links.table.byPeer("b");
        return link?.isUp === false || link?.toStatus().reconnects !== before;
      });
      proxy.thaw();
      await settled;
      await bothUp(a, b);
    };
    for (let i = 0; i < warmUp; i += 1) await flap();
    const before = await processLoad();
    for (let i = 0; i < flaps; i += 1) await flap();
    await bothUp(a, b);
    await waitUntil("connections are gone", 20_000, () => proxy.connections <= 2);
    const after = await processLoad();
    t.diagnostic(`before: ${JSON.stringify(before)}, after: ${JSON.stringify(after)}`);
    assert.ok(after.files <= before.files + 4, `${before.files} to ${after.files} files`);
    assert.ok(
      after.resources <= before.resources + 8,
      `${before.resources} to ${after.resources} resources`,
    );
    const growth = after.heapBytes - before.heapBytes;
    assert.ok(growth < growthBytesMax, `${growth} bytes more`);
    assert.ok(calls > 0);
    await waitUntil("calls go through", 20_000, async () => {
      const answer = await a.channelTo("b").unary("/echo.v1.Echo/Unary", echoRequest({}));
      return answer.trailers.length >= 0;
    });
  });
});
