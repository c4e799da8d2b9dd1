import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { clone, create } from "@bufbuild/protobuf";
import { anyPack, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { Pricing, QuoteRequestSchema } from "../../examples/gen/pricing_pb.ts";
import { MeshNode } from "../support/mesh-node.ts";
import { pricing } from "../support/pricing.ts";
import { ServerProcess } from "../support/server-process.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";
import { waitUntil } from "../support/wait.ts";

/** Kills at each point of a call; more by COLLECTOR_MESH_KILLS. */
const rounds = Number(process.env["COLLECTOR_MESH_KILLS"] ?? 1);

/** Calls of each kind that are under way when a collector is killed. */
const callsAtOnce = 8;

/** In one namespace the method may be run again, in the other it may not. */
const namespaces = ["default", "once"] as const;
type Namespace = (typeof namespaces)[number];

const points = ["before it is sent", "while it runs", "while it is answered"] as const;
type Point = (typeof points)[number];

/** The service itself: it counts what it runs, and holds it when it is told to. */
class Counted {
  readonly runs = new Map<string, number>();
  #gate: PromiseWithResolvers<void> | undefined;

  get total(): number {
    return [...this.runs.values()].reduce((sum, count) => sum + count, 0);
  }

  hold(): void {
    this.#gate = Promise.withResolvers();
  }

  release(): void {
    this.#gate?.resolve();
    this.#gate = undefined;
  }

  async run(title: string): Promise<void> {
    this.runs.set(title, (this.runs.get(title) ?? 0) + 1);
    await this.#gate?.promise;
  }
}

/** Lets a collector run the service by an endpoint, or only know it. */
async function register(client: TestClient, endpoint?: string): Promise<void> {
  const endpoints = endpoint === undefined ? [] : [{ address: endpoint }];
  for (const namespace of namespaces) {
    const file = clone(FileDescriptorProtoSchema, Pricing.file.proto);
    if (namespace === "once") {
      await client.namespaces.createNamespace({ namespace: { name: namespace } });
      for (const { method } of file.service) for (const each of method) delete each.options;
    }
    await client.registry.registerService({
      namespace,
      fileDescriptor: file,
      serviceName: Pricing.typeName,
      endpoints,
    });
  }
}

/** A collector in a process of its own, linked by `from`. */
async function startPeer(
  folder: TempFolder,
  id: string,
  endpoint: string,
  from: MeshNode,
): Promise<ServerProcess> {
  const server = await ServerProcess.start({
    dataFolder: join(folder.path, id),
    env: { COLLECTOR_ID: id },
  });
  using client = new TestClient(server.url);
  await register(client, endpoint);
  await from.connect(server.url.slice("http://".length));
  return server;
}

async function dispatch(at: MeshNode, namespace: Namespace, title: string): Promise<Code | "OK"> {
  try {
    await at.client.dispatcher.dispatch({
      namespace,
      service: { serviceName: Pricing.typeName },
      methodName: "Quote",
      input: anyPack(QuoteRequestSchema, create(QuoteRequestSchema, { title, quantity: 1 })),
    });
    return "OK";
  } catch (error) {
    return ConnectError.from(error).code;
  }
}

describe("a call whose collector is killed", () => {
  for (const point of points) {
    it(`${point} is not run twice unless it may be, and then it succeeds`, async (t) => {
      await using folder = await tempFolder("mesh-kills");
      await using service = await MeshNode.start("service");
      await using near = await MeshNode.start("near");
      const counted = new Counted();
      const handlers = pricing({
        async quote({ title }) {
          await counted.run(title);
          return { title };
        },
      });
      await using _ = await service.server.serve(Pricing, handlers);
      await service.client.namespaces.createNamespace({ namespace: { name: "once" } });
      await using __ = await service.server.serve(Pricing, handlers, { namespace: "once" });
      await register(near.client);
      await using steady = await startPeer(folder, "steady", service.address, near);
      assert.ok(steady.pid > 0);
      for (let round = 0; round < rounds; round += 1) {
        await killOnce({
          point,
          round,
          folder,
          service,
          near,
          counted,
          note: (x) => t.diagnostic(x),
        });
      }
    });
  }
});

interface Scene {
  readonly point: Point;
  readonly round: number;
  readonly folder: TempFolder;
  readonly service: MeshNode;
  readonly near: MeshNode;
  readonly counted: Counted;
  readonly note: (text: string) => void;
}

async function killOnce(scene: Scene): Promise<void> {
  const { point, round, folder, service, near, counted, note } = scene;
  const victimId = `victim-${point.replaceAll(" ", "-")}-${round}`;
  await using victim = await startPeer(folder, victimId, service.address, near);
  await waitUntil("both are known", 60_000, async () => {
    for (const namespace of namespaces) {
      const { executors } = await near.client.registry.lookupService({
        namespace,
        serviceName: Pricing.typeName,
      });
      if (executors.filter(({ ready }) => ready).length < 2) return false;
    }
    return true;
  });
  const titles = namespaces.flatMap((namespace) =>
    Array.from({ length: callsAtOnce }, (_, call) => ({
      namespace,
      title: `${namespace}-${point}-${round}-${call}`,
    })),
  );
  const before = counted.total;
  if (point === "before it is sent") victim.signal("SIGKILL");
  else counted.hold();
  const calls = titles.map(({ namespace, title }) => dispatch(near, namespace, title));
  if (point !== "before it is sent") {
    await waitUntil("all calls run", 60_000, () =>
      Promise.resolve(counted.total >= before + titles.length),
    );
    if (point === "while it is answered") {
      counted.release();
      await Promise.race(calls);
    }
    victim.signal("SIGKILL");
    // Whoever was lost is known to be before the others are answered.
    if (point === "while it runs") await sleep(100);
    counted.release();
  }
  const killedMs = performance.now();
  const outcomes = await Promise.all(calls);
  note(`all calls ended ${Math.round(performance.now() - killedMs)} ms after the kill`);
  let lost = 0;
  let again = 0;
  for (const [index, { namespace, title }] of titles.entries()) {
    const runs = counted.runs.get(title) ?? 0;
    const outcome = outcomes[index];
    if (namespace === "default") {
      assert.equal(outcome, "OK", title);
      again += Math.max(0, runs - 1);
      continue;
    }
    assert.ok(runs <= 1, `${title} was run ${runs} times`);
    if (outcome === "OK") assert.equal(runs, 1, title);
    else {
      assert.equal(outcome, Code.Unavailable, title);
      lost += 1;
    }
  }
  note(`${point}: ${again} of the repeatable were run again, ${lost} of the others failed`);
  for (const { connection } of await near.links()) {
    if (connection?.targetCollectorId === victimId) {
      await near.client.mesh.disconnect({ connectionId: connection.id });
    }
  }
}
