import { type Client, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import { Pricing, type QuoteRequest } from "../../examples/gen/pricing_pb.ts";
import type { ServiceHandlers } from "../../src/rpc/call.ts";
import { type Collector, type CollectorOptions, createCollector } from "../../src/server.ts";
import { tempFolder } from "./temp-folder.ts";

/** What one piece costs, in cents. */
export const pieceCents = 250n;

const price = ({ title, quantity }: QuoteRequest) => ({
  title,
  cents: BigInt(quantity) * pieceCents,
});

/** Handlers of the example's service; a test replaces those that it is about. */
export function pricing(
  overrides: Partial<ServiceHandlers<typeof Pricing>> = {},
): ServiceHandlers<typeof Pricing> {
  return {
    quote: (request) => Promise.resolve(price(request)),
    async *list(request) {
      for (let quantity = 1; quantity <= request.quantity; quantity += 1) {
        yield price({ ...request, quantity });
      }
    },
    async sum(requests) {
      const titles: string[] = [];
      let cents = 0n;
      for await (const request of requests) {
        titles.push(request.title);
        cents += price(request).cents;
      }
      return { title: titles.join(" "), cents };
    },
    async *haggle(requests) {
      for await (const request of requests) yield price(request);
    },
    ...overrides,
  };
}

/** A collector on a folder of its own, which goes with it. */
export interface TestCollector extends AsyncDisposable {
  readonly collector: Collector;
  readonly url: string;
}

export async function openCollector(
  options: Partial<CollectorOptions> = {},
): Promise<TestCollector> {
  const folder = await tempFolder("collector");
  const collector = await createCollector({
    port: 0,
    logLevel: "silent",
    data: folder.path,
    ...options,
  });
  return {
    collector,
    url: collector.url,
    async [Symbol.asyncDispose]() {
      await collector[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** A way to call a collector. */
export interface Way {
  readonly protocol: "connect" | "grpc-web" | "grpc";
  readonly httpVersion: "1.1" | "2";
  readonly json: boolean;
}

/** Every way, but the client's gRPC on HTTP/1.1, which there is not. */
export const ways: readonly Way[] = (["connect", "grpc-web", "grpc"] as const).flatMap((protocol) =>
  (["1.1", "2"] as const).flatMap((httpVersion) =>
    protocol === "grpc" && httpVersion === "1.1"
      ? []
      : [false, true]
          .filter((json) => protocol !== "grpc" || !json)
          .map((json) => ({ protocol, httpVersion, json })),
  ),
);

export function describeWay({ protocol, httpVersion, json }: Way): string {
  return `${protocol} ${json ? "JSON" : "binary"} on HTTP/${httpVersion}`;
}

/** A typed client, and the connection that goes with it. */
export interface PricingClient extends Disposable {
  readonly client: Client<typeof Pricing>;
  readonly transport: Transport;
}

export function pricingClient(
  url: string,
  { protocol, httpVersion, json }: Way = { protocol: "grpc", httpVersion: "2", json: false },
): PricingClient {
  const session = httpVersion === "2" ? new Http2SessionManager(url) : undefined;
  const options = {
    baseUrl: url,
    useBinaryFormat: !json,
    ...(session === undefined ? {} : { sessionManager: session }),
  };
  const transport =
    protocol === "connect"
      ? createConnectTransport({ ...options, httpVersion })
      : protocol === "grpc"
        ? createGrpcTransport(options)
        : createGrpcWebTransport({ ...options, httpVersion });
  return {
    client: createClient(Pricing, transport),
    transport,
    [Symbol.dispose]: () => session?.abort(),
  };
}

/** A stream of what is given. */
export async function* each<T>(items: Iterable<T>): AsyncIterable<T> {
  yield* items;
}
