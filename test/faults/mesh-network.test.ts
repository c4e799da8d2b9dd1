import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { anyPack, anyUnpack, timestampMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { Pricing, QuoteRequestSchema } from "../../examples/gen/pricing_pb.ts";
import { DispatchSchema } from "../../src/gen/collector/dispatcher_pb.ts";
import { LinkState } from "../../src/gen/collector/mesh_pb.ts";
import { quickLinks } from "../support/mesh-node.ts";
import { NetworkMesh, type Outcome, onceNamespace } from "../support/network-mesh.ts";
import { waitUntil } from "../support/wait.ts";

/** How often each fault comes; more by COLLECTOR_NETWORK_FAULTS. */
const rounds = Number(process.env["COLLECTOR_NETWORK_FAULTS"] ?? 1);

/** Calls that run when a fault comes, and as many that are made after it, in each namespace. */
const callsAtOnce = 6;
const timeoutMs = 1500;
/** How late a call may end on a machine that is busy. */
const slackMs = 4000;
const hourMs = 3_600_000;

const allowed: ReadonlySet<number> = new Set([0, Code.DeadlineExceeded, Code.Unavailable]);

interface Fault {
  /** Whether the link goes down for it. */
  readonly breaks: boolean;
  begin(mesh: NetworkMesh): Promise<void> | void;
  end(mesh: NetworkMesh): Promise<void> | void;
}

/** Connections to `far` go through its proxy, and those back through that of `near`. */
const faults: Readonly<Record<string, Fault>> = {
  "a partition": {
    breaks: true,
    begin({ near, far }) {
      near.proxy.freeze("up", "down");
      far.proxy.freeze("up", "down");
    },
    end: thaw,
  },
  "the loss of all that is sent there": {
    breaks: true,
    begin({ near, far }) {
      far.proxy.freeze("up");
      near.proxy.freeze("down");
    },
    end: thaw,
  },
  "the loss of all that comes back": {
    breaks: true,
    begin({ near, far }) {
      far.proxy.freeze("down");
      near.proxy.freeze("up");
    },
    end: thaw,
  },
  "half-open connections": {
    breaks: true,
    begin({ near, far }) {
      far.proxy.abandon();
      near.proxy.abandon();
    },
    end: thaw,
  },
  "broken connections": {
    breaks: false,
    begin({ near, far }) {
      far.proxy.cut();
      near.proxy.cut();
    },
    end: () => undefined,
  },
  "a quarter of a second of latency": {
    breaks: false,
    begin({ near, far }) {
      near.proxy.delay(125);
      far.proxy.delay(125);
    },
    end({ near, far }) {
      near.proxy.delay(0);
      far.proxy.delay(0);
    },
  },
  "the other one's crash": {
    breaks: true,
    begin: ({ far }) => far.kill(),
    end: ({ far }) => far.start(),
  },
  "the other one's restart": {
    breaks: true,
    begin: ({ far }) => far.stop(),
    end: ({ far }) => far.start(),
  },
};

function thaw({ near, far }: NetworkMesh): void {
  near.proxy.thaw();
  far.proxy.thaw();
}

describe("collectors over a network with faults", { concurrency: 1 }, () => {
  it(`keep deadlines, run nothing twice and heal (${rounds} of each fault)`, async (t) => {
    await using mesh = await NetworkMesh.start();
    const { near } = mesh;
    await faultOnce(mesh, "broken connections", -1, () => undefined);
    const before = await filesOf(near.pid);
    for (let round = 0; round < rounds; round += 1) {
      for (const name of Object.keys(faults)) {
        await faultOnce(mesh, name, round, (text) => t.diagnostic(text));
      }
    }
    let after = 0;
    await waitUntil("connections are gone", 20_000, async () => {
      after = await filesOf(near.pid);
      return after <= before + 4;
    });
    t.diagnostic(`files open: ${before} before, ${after} after`);
  });

  it("do not mind that their clocks are an hour apart", async (t) => {
    await using mesh = await NetworkMesh.start(hourMs);
    await checkShifted(mesh, hourMs, (text) => t.diagnostic(text));
  });
});

async function faultOnce(
  mesh: NetworkMesh,
  name: string,
  round: number,
  note: (text: string) => void,
): Promise<void> {
  const { near, far, service } = mesh;
  const fault = faults[name];
  assert.ok(fault !== undefined);
  const calls: { title: string; namespace: string; outcome: Promise<Outcome> }[] = [];
  const call = (when: string): void => {
    for (const namespace of ["default", onceNamespace]) {
      for (let at = 0; at < callsAtOnce; at += 1) {
        const title = `${name} ${round} ${when} ${namespace} ${at}`;
        calls.push({ title, namespace, outcome: near.quote(title, timeoutMs, namespace) });
      }
    }
  };
  service.hold();
  call("before");
  await waitUntil("the calls run", 20_000, () =>
    calls.every(({ title }) => service.runs.has(title)),
  );
  const before = await near.linkTo(far);
  const beganMs = performance.now();
  await fault.begin(mesh);
  call("after");
  await sleep(100);
  service.release();
  const outcomes = await Promise.all(calls.map(({ outcome }) => outcome));
  if (fault.breaks) {
    await waitUntil("the link is down", quickLinks.linkTimeoutMs + slackMs, async () => {
      // It may be up again by now, where the network lets new connections through.
      const link = await near.linkTo(far);
      return link?.state !== LinkState.UP || link.reconnects !== before?.reconnects;
    });
    note(`${name}: down after at most ${Math.round(performance.now() - beganMs)} ms`);
  } else if (name.includes("latency")) {
    assert.equal(await near.isLinkedTo(far), true, name);
  }
  const counts = new Map<number, number>();
  for (const [at, { title, namespace }] of calls.entries()) {
    const { code = -1, tookMs = 0 } = outcomes[at] ?? {};
    const runs = service.runs.get(title) ?? 0;
    counts.set(code, (counts.get(code) ?? 0) + 1);
    assert.ok(allowed.has(code), `${title}: code ${code}`);
    assert.ok(tookMs < timeoutMs + slackMs, `${title}: ${tookMs} ms`);
    if (code === 0) assert.ok(runs >= 1, title);
    if (namespace === onceNamespace) assert.ok(runs <= 1, `${title}: run ${runs} times`);
    if (name.includes("latency")) assert.equal(code, 0, title);
  }
  const endedMs = performance.now();
  await fault.end(mesh);
  await mesh.heals();
  const codes = [...counts].map(
    ([code, count]) => `${count} with ${code === 0 ? "OK" : Code[code]}`,
  );
  const healedMs = Math.round(performance.now() - endedMs);
  note(`${name}: ${codes.join(", ")}; well again after ${healedMs} ms`);
}

async function checkShifted(
  mesh: NetworkMesh,
  shiftMs: number,
  note: (text: string) => void,
): Promise<void> {
  const { near, far, service } = mesh;
  // Both ways: `near` asks `far`, which runs the service, and `far` asks `near` to ask it.
  const request = {
    service: { serviceName: Pricing.typeName },
    methodName: "Quote",
    input: anyPack(QuoteRequestSchema, create(QuoteRequestSchema, { title: "x", quantity: 1 })),
  };
  const beganMs = Date.now();
  const there = await near.client.dispatcher.dispatch({ ...request, targetCollectorId: "far" });
  assert.equal(there.handledByCollectorId, "far");
  const back = await far.client.dispatcher.dispatch({
    service: { serviceName: "collector.Namespaces" },
    methodName: "ListNamespaces",
    targetCollectorId: "near",
  });
  assert.equal(back.handledByCollectorId, "near");

  service.hold();
  const late = await near.quote("late", 700);
  assert.equal(late.code, Code.DeadlineExceeded);
  assert.ok(late.tookMs > 650 && late.tookMs < 700 + slackMs, `${late.tookMs} ms`);
  const inTime = near.quote("in time", 30_000);
  await waitUntil("it runs", 10_000, () => service.runs.has("in time"));
  service.release();
  assert.equal((await inTime).code, 0);

  await sleep(2 * quickLinks.linkTimeoutMs);
  for (const [node, other] of [
    [near, far],
    [far, near],
  ] as const) {
    const link = await node.linkTo(other);
    assert.equal(await node.isLinkedTo(other), true);
    assert.equal(link?.reconnects, 0n);
    assert.ok(link.roundTripUs >= 0n && link.roundTripUs < 10_000_000n, `${link.roundTripUs}`);
  }

  for (const [node, aheadMs] of [
    [near, 0],
    [far, shiftMs],
  ] as const) {
    const nowMs = Date.now() + aheadMs;
    await waitUntil("the dispatch is recorded", 10_000, async () => {
      const { items } = await node.client.records.list({
        namespace: "system",
        collectionName: "dispatches",
      });
      const dispatches = items.flatMap((item) => anyUnpack(item, DispatchSchema) ?? []);
      for (const { metadata, completedAt } of dispatches) {
        assert.ok(metadata?.createdAt !== undefined && completedAt !== undefined);
        const [from, to] = [timestampMs(metadata.createdAt), timestampMs(completedAt)];
        assert.ok(from <= to && to - from < 60_000, `${from} to ${to}`);
        assert.ok(from >= beganMs + aheadMs - 60_000 && to <= nowMs + 60_000, `${from} to ${to}`);
      }
      return dispatches.length > 0;
    });
  }
  note(`a deadline of 700 ms came after ${Math.round(late.tookMs)} ms`);
}

async function filesOf(pid: number): Promise<number> {
  return (await readdir(`/proc/${pid}/fd`)).length;
}
