import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { clone, create, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Pricing, QuoteRequestSchema } from "../../examples/gen/pricing_pb.ts";
import { LinkState, type LinkStatus } from "../../src/gen/collector/mesh_pb.ts";
import { FaultProxy } from "./fault-proxy.ts";
import { MeshNode, quickLinks } from "./mesh-node.ts";
import { pricing } from "./pricing.ts";
import { callRaw, connectRaw, frame, type RawConnection } from "./raw-call.ts";
import { ServerProcess } from "./server-process.ts";
import { type TempFolder, tempFolder } from "./temp-folder.ts";
import { TestClient } from "./test-client.ts";
import { waitUntil } from "./wait.ts";

/** In this namespace the method may not be run again. */
export const onceNamespace = "once";

/** The implementation: counts what it runs, and holds it when it is told to. */
export class HeldService implements AsyncDisposable {
  readonly runs: Map<string, number> = new Map();
  readonly #node: MeshNode;
  readonly #served: AsyncDisposable[] = [];
  #gate: PromiseWithResolvers<void> | undefined;

  private constructor(node: MeshNode) {
    this.#node = node;
  }

  static async start(): Promise<HeldService> {
    const service = new HeldService(await MeshNode.start("service"));
    const handlers = pricing({
      quote: async ({ title }) => {
        service.runs.set(title, (service.runs.get(title) ?? 0) + 1);
        await service.#gate?.promise;
        return { title };
      },
    });
    const { server, client } = service.#node;
    await client.namespaces.createNamespace({ namespace: { name: onceNamespace } });
    for (const namespace of ["default", onceNamespace]) {
      service.#served.push(await server.serve(Pricing, handlers, { namespace }));
    }
    return service;
  }

  get address(): string {
    return this.#node.address;
  }

  hold(): void {
    this.#gate = Promise.withResolvers();
  }

  release(): void {
    this.#gate?.resolve();
    this.#gate = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
    await this.#node[Symbol.asyncDispose]();
  }
}

/** How a call has ended. */
export interface Outcome {
  /** gRPC's code. */
  readonly code: number;
  readonly tookMs: number;
}

export interface NetworkNodeOptions {
  readonly id: string;
  readonly folder: TempFolder;
  /** What runs the service; without it the node only knows it. */
  readonly endpoint?: string;
  /** How far its clock is ahead. */
  readonly clockShiftMs?: number;
}

/** A collector in a process of its own that others reach through a proxy, and nowhere else. */
export class NetworkNode implements AsyncDisposable {
  readonly id: string;
  readonly proxy: FaultProxy;
  readonly #options: NetworkNodeOptions;
  #server: ServerProcess | undefined;
  #client: TestClient | undefined;
  #raw: RawConnection | undefined;
  #port = "0";

  private constructor(options: NetworkNodeOptions, proxy: FaultProxy) {
    this.id = options.id;
    this.proxy = proxy;
    this.#options = options;
  }

  static async start(options: NetworkNodeOptions): Promise<NetworkNode> {
    let node: NetworkNode | undefined;
    const proxy = await FaultProxy.start(() => `127.0.0.1:${node?.port ?? 0}`);
    node = new NetworkNode(options, proxy);
    await node.start();
    await node.#register();
    return node;
  }

  get port(): string {
    return this.#port;
  }

  get client(): TestClient {
    if (this.#client === undefined) throw new Error(`${this.id} is stopped`);
    return this.#client;
  }

  get pid(): number {
    return this.#server?.pid ?? 0;
  }

  async start(): Promise<void> {
    const { folder, id, clockShiftMs = 0 } = this.#options;
    const config = join(folder.path, `${id}.json`);
    await writeFile(config, JSON.stringify({ limits: { ...quickLinks, drainMs: 500 } }));
    const preload = join(import.meta.dirname, "shifted-clock.ts");
    this.#server = await ServerProcess.start({
      dataFolder: join(folder.path, id),
      args: ["--port", this.#port, "--config", config, "--advertise", this.proxy.address],
      env: { COLLECTOR_ID: id, COLLECTOR_TEST_CLOCK_SHIFT_MS: String(clockShiftMs) },
      nodeArgs: clockShiftMs === 0 ? [] : ["--import", preload],
      readyWithinMs: 60_000,
    });
    const { url } = this.#server;
    this.#port = new URL(url).port;
    this.#client = new TestClient(url);
    this.#raw = connectRaw(url);
    await once(this.#raw.session, "connect");
  }

  /** As a crash would. */
  async kill(): Promise<void> {
    this.#disconnect();
    await this.#server?.kill();
  }

  async stop(): Promise<void> {
    this.#disconnect();
    await this.#server?.stop();
  }

  async connect(other: NetworkNode): Promise<void> {
    await this.client.dispatcher.connect({ address: other.proxy.address });
  }

  /** The link to another node. */
  async linkTo(other: NetworkNode): Promise<LinkStatus | undefined> {
    const { connections } = await this.client.mesh.listConnections({});
    return connections.find(
      ({ connection }) =>
        connection?.sourceCollectorId === other.id || connection?.targetCollectorId === other.id,
    );
  }

  async isLinkedTo(other: NetworkNode): Promise<boolean> {
    return (await this.linkTo(other))?.state === LinkState.UP;
  }

  /**
   * Runs the service. The deadline is told to the server and watched by it alone: if it forgets the call,
   * so does this.
   */
  async quote(title: string, timeoutMs: number, namespace = "default"): Promise<Outcome> {
    if (this.#raw === undefined) throw new Error(`${this.id} is stopped`);
    const beganMs = performance.now();
    const message = toBinary(
      QuoteRequestSchema,
      create(QuoteRequestSchema, { title, quantity: 1 }),
    );
    const answer = await callRaw(this.#raw.session, `/${Pricing.typeName}/Quote`, frame(message), {
      "grpc-timeout": `${timeoutMs}m`,
      "x-collector-namespace": namespace,
    });
    return { code: answer.status ?? -1, tookMs: performance.now() - beganMs };
  }

  /** Waits until a call goes through. */
  async reaches(what: string): Promise<void> {
    await waitUntil(`${this.id} reaches the service ${what}`, 30_000, async () => {
      return (await this.quote("again", 2000)).code === 0;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disconnect();
    await this.#server?.[Symbol.asyncDispose]();
    await this.proxy[Symbol.asyncDispose]();
  }

  #disconnect(): void {
    this.#raw?.[Symbol.dispose]();
    this.#client?.[Symbol.dispose]();
    this.#raw = undefined;
    this.#client = undefined;
  }

  async #register(): Promise<void> {
    const { endpoint } = this.#options;
    for (const namespace of ["default", onceNamespace]) {
      const file = clone(FileDescriptorProtoSchema, Pricing.file.proto);
      if (namespace === onceNamespace) {
        await this.client.namespaces.createNamespace({ namespace: { name: namespace } });
        for (const { method } of file.service) for (const each of method) delete each.options;
      }
      await this.client.registry.registerService({
        namespace,
        fileDescriptor: file,
        serviceName: Pricing.typeName,
        endpoints: endpoint === undefined ? [] : [{ address: endpoint }],
      });
    }
  }
}

/** Two collectors that are linked through proxies, both ways, and a service that the second one runs. */
export class NetworkMesh implements AsyncDisposable {
  readonly service: HeldService;
  readonly near: NetworkNode;
  readonly far: NetworkNode;
  readonly #parts: AsyncDisposableStack;

  private constructor(
    parts: AsyncDisposableStack,
    nodes: readonly [HeldService, NetworkNode, NetworkNode],
  ) {
    this.#parts = parts;
    [this.service, this.near, this.far] = nodes;
  }

  static async start(clockShiftMs = 0): Promise<NetworkMesh> {
    await using parts = new AsyncDisposableStack();
    const folder = parts.use(await tempFolder("mesh-network"));
    const service = parts.use(await HeldService.start());
    const near = parts.use(await NetworkNode.start({ id: "near", folder }));
    const far = parts.use(
      await NetworkNode.start({ id: "far", folder, endpoint: service.address, clockShiftMs }),
    );
    await near.connect(far);
    const mesh = new NetworkMesh(parts.move(), [service, near, far]);
    await mesh.heals();
    return mesh;
  }

  /** Waits until the link is up at both ends and calls go through. */
  async heals(): Promise<void> {
    await waitUntil("the link is up at both ends", 30_000, async () => {
      return (await this.near.isLinkedTo(this.far)) && (await this.far.isLinkedTo(this.near));
    });
    await this.near.reaches("over the link");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts[Symbol.asyncDispose]();
  }
}
