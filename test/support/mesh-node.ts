import assert from "node:assert/strict";
import { LinkState, type LinkStatus } from "../../src/gen/collector/mesh_pb.ts";
import { type Collector, type CollectorOptions, createCollector } from "../../src/server.ts";
import { type TempFolder, tempFolder } from "./temp-folder.ts";
import { TestClient } from "./test-client.ts";
import { waitUntil } from "./wait.ts";

/** Links that fail and come back fast, so that tests need not wait. */
export const quickLinks = {
  linkPingMs: 200,
  linkTimeoutMs: 1000,
  linkHandshakeMs: 3000,
  linkRetryMaxMs: 300,
} as const;

/** A collector that can be stopped and started again on the same port and data. */
export class MeshNode implements AsyncDisposable {
  readonly #folder: TempFolder;
  readonly #options: CollectorOptions;
  #server: Collector | undefined;
  #client: TestClient | undefined;
  #port = 0;

  private constructor(folder: TempFolder, options: CollectorOptions) {
    this.#folder = folder;
    this.#options = options;
  }

  static async start(name: string, options: CollectorOptions = {}): Promise<MeshNode> {
    const node = new MeshNode(await tempFolder(`mesh-${name}`), { collectorId: name, ...options });
    try {
      await node.start();
      return node;
    } catch (error) {
      await node[Symbol.asyncDispose]();
      throw error;
    }
  }

  get server(): Collector {
    assert.ok(this.#server !== undefined, "the collector is stopped");
    return this.#server;
  }

  get client(): TestClient {
    assert.ok(this.#client !== undefined, "the collector is stopped");
    return this.#client;
  }

  get id(): string {
    return this.server.collectorId;
  }

  /** As in `127.0.0.1:40412`. */
  get address(): string {
    return this.server.url.slice("http://".length);
  }

  async start(changes: CollectorOptions = {}): Promise<void> {
    const { limits, ...rest } = { ...this.#options, ...changes };
    this.#server = await createCollector({
      logLevel: "silent",
      port: this.#port,
      data: this.#folder.path,
      limits: { ...quickLinks, drainMs: 500, ...limits },
      ...rest,
    });
    this.#port = Number(new URL(this.#server.url).port);
    this.#client = new TestClient(this.#server.url);
  }

  async stop(): Promise<void> {
    this.#client?.[Symbol.dispose]();
    this.#client = undefined;
    await this.#server?.close();
    this.#server = undefined;
  }

  async links(): Promise<LinkStatus[]> {
    return (await this.client.mesh.listConnections({})).connections;
  }

  async connect(address: string, namespaces: readonly string[] = []): Promise<string> {
    const request = { address, namespaces: [...namespaces] };
    return (await this.client.dispatcher.connect(request)).connectionId;
  }

  /** Waits for links to these collectors, all up, and no others. */
  async linkedTo(...ids: readonly string[]): Promise<LinkStatus[]> {
    let links: LinkStatus[] = [];
    await waitUntil(
      `${this.#options.collectorId} is linked to ${ids.join(", ")}`,
      10_000,
      async () => {
        links = await this.links();
        const up = links.filter(({ state }) => state === LinkState.UP);
        const peers = up.map((link) => peerOf(link, this.id)).sort();
        return up.length === links.length && peers.join() === [...ids].sort().join();
      },
    );
    return links;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** The collector at the other end. */
export function peerOf({ connection }: LinkStatus, id: string): string {
  assert.ok(connection !== undefined);
  const { sourceCollectorId, targetCollectorId } = connection;
  return sourceCollectorId === id ? targetCollectorId : sourceCollectorId;
}
