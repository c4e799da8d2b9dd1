import { join } from "node:path";
import {
  create,
  createFileRegistry,
  type DescMessage,
  type DescService,
  type FileRegistry,
  type Message,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { CollectorError, type ErrorReason } from "../../src/errors.ts";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../../src/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionV1alpha } from "../../src/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { defaultLimits, type Limits } from "../../src/lib/limits.ts";
import { type Log, silentLog } from "../../src/lib/log.ts";
import type { TypeSnapshot, TypeSource } from "../../src/registry/type-snapshot.ts";
import type { Call } from "../../src/rpc/call.ts";
import { createGrpcHandler } from "../../src/rpc/grpc/grpc-handler.ts";
import { HealthState, healthHandlers } from "../../src/rpc/health.ts";
import { openPort, type Port, type PortOptions } from "../../src/rpc/http/port.ts";
import { ReceiveBudget } from "../../src/rpc/http/receive-budget.ts";
import { resolveNamespace } from "../../src/rpc/interceptors/namespace.ts";
import { observeCalls } from "../../src/rpc/interceptors/observe.ts";
import { Metrics } from "../../src/rpc/metrics.ts";
import { reflectionHandlers, reflectionV1alphaHandlers } from "../../src/rpc/reflection.ts";
import { RouteTable } from "../../src/rpc/route-table.ts";
import { compileProto } from "./compile-proto.ts";

/** The types of the fixture: `echo.v1` everywhere, `shop.v1` in namespaces that register it. */
export const files: FileRegistry = createFileRegistry(
  compileProto(join(import.meta.dirname, "http-proto")),
);

export function messageType(name: string): DescMessage {
  const desc = files.getMessage(name);
  if (desc === undefined) throw new Error(`no type ${name}`);
  return desc;
}

export const echoService: DescService = (() => {
  const desc = files.getService("echo.v1.Echo");
  if (desc === undefined) throw new Error("no service echo.v1.Echo");
  return desc;
})();

export const productType: DescMessage = messageType("shop.v1.Product");

/** Types by namespace, which tests may register while a port is open. */
export class FakeTypes implements TypeSource {
  readonly #snapshots = new Map<string, TypeSnapshot>();
  readonly #base: FileRegistry;

  constructor() {
    this.#base = only((name) => !name.startsWith("shop/"));
  }

  snapshot(namespace: string): TypeSnapshot {
    let snapshot = this.#snapshots.get(namespace);
    if (snapshot === undefined) {
      snapshot = fakeSnapshot(namespace, this.#base);
      this.#snapshots.set(namespace, snapshot);
    }
    return snapshot;
  }

  /** Makes every file of `types` known in the namespace. */
  register(namespace: string, types: FileRegistry): void {
    this.#snapshots.set(namespace, fakeSnapshot(namespace, types));
  }
}

function only(want: (name: string) => boolean): FileRegistry {
  const set = create(FileDescriptorSetSchema, {
    file: Array.from(files.files, ({ proto }) => proto)
      .filter((proto) => want(proto.name))
      .map((proto) => create(FileDescriptorProtoSchema, proto)),
  });
  return createFileRegistry(set);
}

function fakeSnapshot(namespace: string, types: FileRegistry): TypeSnapshot {
  const missing = (): never => {
    throw new Error("the fixture looks types up by their registry only");
  };
  return {
    namespace,
    revision: 1n,
    types,
    message: missing,
    typeVersion: () => 1n,
    service: missing,
    method: missing,
  };
}

type Echo = Record<string, unknown>;

/** What `echo.v1.Echo` does, by the comments in its file. */
function echoHandlers(seen: { messages: number }): object {
  const answer = (request: Message, call: Call): Echo => ({
    request,
    namespace: call.namespace,
    protocol: call.protocol,
    metadata: Object.fromEntries(call.requestMetadata.entries()),
    item: (request as Message & { item?: Message }).item,
  });
  const unary = (request: Message, call: Call): Promise<Echo> => {
    call.responseHeaders.set("x-echo", "header");
    call.responseTrailers.set("x-echo-bin", new Uint8Array([1, 2, 3]));
    return Promise.resolve(answer(request, call));
  };
  return {
    unary,
    pure: unary,
    async *serverStream(request: Message & { count: number }, call: Call) {
      for (let i = 0; i < request.count; i += 1) yield answer(request, call);
    },
    async clientStream(requests: AsyncIterable<Message>, call: Call) {
      let count = 0;
      let last: Message | undefined;
      for await (const request of requests) {
        seen.messages += 1;
        count += 1;
        last = request;
      }
      return { request: { ...last, count }, namespace: call.namespace };
    },
    async *bidi(requests: AsyncIterable<Message>, call: Call) {
      for await (const request of requests) yield answer(request, call);
    },
    fail(request: Message & { text: string }) {
      if (request.text === "") return Promise.reject(new Error("secret of the server"));
      const reason = request.text as ErrorReason;
      return Promise.reject(new CollectorError(reason, "as asked", { subject: { id: "x" } }));
    },
    wait(_request: Message, call: Call) {
      seen.messages += 1;
      return new Promise((_resolve, reject) => {
        call.signal.addEventListener("abort", () => {
          reject(call.signal.reason);
        });
      });
    },
  };
}

export interface Fixture extends AsyncDisposable {
  readonly port: Port;
  readonly url: string;
  readonly types: FakeTypes;
  readonly health: HealthState;
  readonly metrics: Metrics;
  /** What the handlers of streams, and of `Wait`, have received. */
  readonly seen: { readonly messages: number };
  readonly logged: { readonly level: string; readonly message: string; readonly fields: object }[];
}

export interface FixtureOptions {
  readonly limits?: Partial<Limits>;
  readonly port?: Partial<PortOptions>;
}

/** A port over the echo service, health and reflection, with `shop.v1` known in namespace `shop`. */
export async function openFixture(options: FixtureOptions = {}): Promise<Fixture> {
  const limits = { ...defaultLimits, ...options.limits };
  const types = new FakeTypes();
  types.register("shop", files);
  const metrics = new Metrics({ version: "0.0.0" });
  const logged: { level: string; message: string; fields: object }[] = [];
  const note =
    (level: string): Log["info"] =>
    (fields, message) => {
      logged.push({ level, message, fields });
    };
  const log: Log = { ...silentLog, warn: note("warn"), error: note("error") };
  const chain = observeCalls({ ...log, isLevelEnabled: () => false }, metrics.record);
  const routes = new RouteTable((method) => [chain, resolveNamespace(method, "default")]);
  const services = (): string[] =>
    [echoService, Health, ServerReflection, ServerReflectionV1alpha].map((s) => s.typeName);
  const health = new HealthState({ services });
  const reflection = { types, services, defaultNamespace: "default" };
  const seen = { messages: 0 };
  routes.add(echoService, echoHandlers(seen) as never);
  routes.add(Health, healthHandlers(health));
  routes.add(ServerReflection, reflectionHandlers(reflection));
  routes.add(ServerReflectionV1alpha, reflectionV1alphaHandlers(reflection));
  let requests = 0;
  const newRequestId = (): string => {
    requests += 1;
    return `request-${requests}`;
  };
  const budget = new ReceiveBudget(limits.receiveBufferBytesMax);
  const port = await openPort({
    host: "127.0.0.1",
    port: 0,
    routes,
    grpc: createGrpcHandler({ routes, limits, newRequestId, log, openShare: () => budget.open() }),
    limits,
    budget,
    types,
    defaultNamespace: "default",
    health,
    metrics,
    newRequestId,
    log,
    allowedHosts: [],
    allowedOrigins: [],
    ...options.port,
  });
  return {
    port,
    url: port.url,
    types,
    health,
    metrics,
    logged,
    seen,
    [Symbol.asyncDispose]: () => port.close({ drainMs: 0 }),
  };
}
