import { create } from "@bufbuild/protobuf";
import { anyPack, anyUnpack } from "@bufbuild/protobuf/wkt";
import {
  type Price,
  PriceSchema,
  Pricing,
  QuoteRequestSchema,
} from "../../examples/gen/pricing_pb.ts";
import type { ServiceHandlers } from "../../src/rpc/call.ts";
import type { CollectorOptions } from "../../src/server.ts";
import { MeshNode } from "./mesh-node.ts";
import { pricing } from "./pricing.ts";
import { waitUntil } from "./wait.ts";

/** What is asked of Dispatch beside the method. */
export interface DispatchWish {
  readonly target?: string;
  readonly hints?: Readonly<Record<string, string>>;
  readonly title?: string;
  readonly method?: string;
}

/** Collectors that know the service of prices, by their ids, closed in the end. */
export class PricingMesh implements AsyncDisposable {
  readonly #nodes = new Map<string, MeshNode>();

  static async start(ids: readonly string[], options: CollectorOptions = {}): Promise<PricingMesh> {
    const mesh = new PricingMesh();
    for (const id of ids) {
      const node = await MeshNode.start(id, options);
      mesh.#nodes.set(id, node);
      await register(node);
    }
    return mesh;
  }

  node(id: string): MeshNode {
    const node = this.#nodes.get(id);
    if (node === undefined) throw new Error(`there is no collector ${id}`);
    return node;
  }

  async link(one: string, other: string): Promise<void> {
    await this.node(one).connect(this.node(other).address);
  }

  /** Runs the service at a collector, whose prices have its id in their titles. */
  async serve(
    id: string,
    overrides: Partial<ServiceHandlers<typeof Pricing>> = {},
  ): Promise<AsyncDisposable> {
    return await this.node(id).server.serve(
      Pricing,
      pricing({
        quote: ({ title, quantity }) =>
          Promise.resolve({ title: `${title} at ${id}`, cents: BigInt(quantity) }),
        ...overrides,
      }),
    );
  }

  /** Waits until a collector knows so many others that run the service, itself included. */
  async knows(id: string, count: number): Promise<void> {
    await waitUntil(`${id} knows ${count} that run the service`, 10_000, async () => {
      const { executors } = await this.node(id).client.registry.lookupService({
        serviceName: Pricing.typeName,
      });
      return new Set(executors.map(({ collectorId }) => collectorId)).size === count;
    });
  }

  async dispatch(
    id: string,
    { target = "", hints = {}, title = "tea", method = "Quote" }: DispatchWish = {},
  ): Promise<{ readonly price: Price | undefined; readonly handledBy: string }> {
    const request = create(QuoteRequestSchema, { title, quantity: 3 });
    const answer = await this.node(id).client.dispatcher.dispatch({
      service: { serviceName: Pricing.typeName },
      methodName: method,
      input: anyPack(QuoteRequestSchema, request),
      targetCollectorId: target,
      routingHints: { ...hints },
    });
    const { output, handledByCollectorId } = answer;
    const price = output === undefined ? undefined : anyUnpack(output, PriceSchema);
    return { price, handledBy: handledByCollectorId };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.#nodes.values()) await node[Symbol.asyncDispose]();
  }
}

async function register({ client }: MeshNode): Promise<void> {
  const { proto } = Pricing.file;
  await client.registry.registerService({
    fileDescriptor: proto,
    serviceDescriptor: Pricing.proto,
  });
}
