import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { ConnectionSchema } from "../../src/gen/collector/dispatcher_pb.ts";
import { Mesh } from "../../src/gen/collector/mesh_pb.ts";
import { defaultLimits, type Limits } from "../../src/lib/limits.ts";
import type { Channel } from "../../src/mesh/channel.ts";
import { Links } from "../../src/mesh/links/links.ts";
import { MemoryRecords } from "../../src/registry/testing/memory-records.ts";
import type { Call } from "../../src/rpc/call.ts";
import { createGrpcHandler } from "../../src/rpc/grpc/grpc-handler.ts";
import { linkCallHost } from "../../src/rpc/links/link-call-host.ts";
import { PeerDialer } from "../../src/rpc/outbound/dialer.ts";
import { RouteTable } from "../../src/rpc/route-table.ts";
import { mesh } from "../../src/rpc/services/mesh.ts";
import { type Echo, type EchoAnswer, requestType, responseType } from "./grpc-fixture.ts";
import { echoService, openFixture } from "./http-fixture.ts";
import { quickLinks } from "./mesh-node.ts";

export interface LinkFixture extends AsyncDisposable {
  readonly id: string;
  readonly url: string;
  readonly address: string;
  readonly links: Links;
  /** What calls of `echo.v1.Echo` came by. */
  readonly calls: readonly SeenCall[];
  /** The way to a linked fixture. */
  channelTo(id: string): Channel;
}

export interface SeenCall {
  readonly methodName: string;
  readonly via: Call["via"];
  readonly peer: string;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface LinkFixtureOptions {
  /** What it says that it can be dialled by; its own address by default. */
  readonly advertise?: string;
  readonly limits?: Partial<Limits>;
}

/** The links of a collector on a real port, with `echo.v1.Echo` behind them. */
export async function openLinkFixture(
  id: string,
  options: LinkFixtureOptions = {},
): Promise<LinkFixture> {
  const limits = { ...defaultLimits, ...quickLinks, drainMs: 500, ...options.limits };
  await using parts = new AsyncDisposableStack();
  const dialer = parts.use(new PeerDialer({ peers: [], allowsLoopback: true, limits }));
  const routes = new RouteTable(() => []);
  const calls: SeenCall[] = [];
  let requests = 0;
  const newRequestId = () => `request-${++requests}`;
  const own = { address: "" };
  const links = parts.use(
    await Links.open({
      records: new MemoryRecords(ConnectionSchema),
      dialer,
      source: { namespaces: () => ["default"], servicesOf: () => [] },
      facts: {
        collectorId: id,
        serverVersion: "test",
        features: [],
        address: () => options.advertise ?? own.address,
      },
      calls: linkCallHost({ routes: () => routes, limits, newRequestId, isUnlimited: () => false }),
      limits,
    }),
  );
  routes.add(Mesh, mesh(links, { list: () => [], read: () => [] }));
  routes.add(echoService, echoHandlers(calls) as never);
  const grpc = createGrpcHandler({
    routes,
    limits,
    newRequestId,
    log: { error: () => undefined },
    verifyLink: (credential) => links.guard.verify(credential),
  });
  const fixture = parts.use(await openFixture({ limits, port: { routes, grpc } }));
  own.address = fixture.port.address;
  // The port waits for the streams of links to end.
  parts.defer(() => links.close());
  links.start();
  const all = parts.move();
  return {
    id,
    url: fixture.url,
    address: own.address,
    links,
    calls,
    channelTo(peer) {
      const link = links.table.byPeer(peer);
      if (link === undefined) throw new Error(`${id} is not linked to ${peer}`);
      return link.channel;
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** The bytes of a request of `echo.v1.Echo`. */
export function echoRequest(fields: Partial<Pick<Echo, "text" | "data" | "count">>): Uint8Array {
  const empty = fromBinary(requestType, new Uint8Array());
  return toBinary(requestType, { ...empty, ...fields });
}

export function textOf(bytes: Uint8Array): string {
  return (fromBinary(responseType, bytes) as EchoAnswer).request?.text ?? "";
}

function echoHandlers(calls: SeenCall[]): object {
  const note = (call: Call): void => {
    const { methodName, via, peer } = call;
    calls.push({
      methodName,
      via,
      peer,
      metadata: Object.fromEntries(call.requestMetadata.entries()),
    });
  };
  const unary = (request: Echo, call: Call) => {
    note(call);
    call.responseHeaders.set("x-echo", "header");
    call.responseTrailers.set("x-echo-bin", new Uint8Array([1, 2, 3]));
    return Promise.resolve({ request });
  };
  return {
    unary,
    pure: unary,
    async *serverStream(request: Echo, call: Call) {
      note(call);
      for (let i = 0; i < request.count; i += 1) yield { request };
    },
    async clientStream(requests: AsyncIterable<Echo>, call: Call) {
      note(call);
      const texts: string[] = [];
      for await (const { text } of requests) texts.push(text);
      return { request: { text: texts.join(" ") } };
    },
    async *bidi(requests: AsyncIterable<Echo>, call: Call) {
      note(call);
      for await (const request of requests) yield { request };
    },
    fail: () => Promise.reject(new Error("a secret of the server")),
    wait: (_request: Echo, call: Call) => {
      note(call);
      return new Promise((_resolve, reject) => {
        call.signal.addEventListener("abort", () => reject(call.signal.reason));
      });
    },
  };
}
