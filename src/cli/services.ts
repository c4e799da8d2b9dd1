import type { JsonValue } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { Client } from "../client/client.ts";
import type { RegisteredService } from "../gen/collector/registry_pb.ts";
import { type Executor, Executor_Kind } from "../gen/collector/service_hosts_pb.ts";
import { allPages } from "./paging.ts";

/** A service, and what runs it. */
export interface HostedService {
  readonly service: RegisteredService;
  readonly executors: readonly Executor[];
}

const kindNames: Readonly<Record<Executor_Kind, string>> = {
  [Executor_Kind.KIND_UNSPECIFIED]: "",
  [Executor_Kind.HANDLER]: "handler",
  [Executor_Kind.ENDPOINT]: "endpoint",
  [Executor_Kind.WORKER]: "worker",
  [Executor_Kind.PEER]: "peer",
};

/** The services of a namespace with what runs them, by name. */
export async function hostedServices(
  client: Client,
  namespace: string,
  signal: AbortSignal,
): Promise<readonly HostedService[]> {
  const { registry, hosts } = client.services;
  const services = await allPages(async (pageToken) => {
    const page = await registry.listServices({ namespace, pageToken }, { signal });
    return { items: page.services, nextPageToken: page.nextPageToken };
  });
  const executors = new Map<string, Executor[]>();
  for (const name of new Set(services.map((service) => service.namespace))) {
    const found = await allPages(async (pageToken) => {
      const page = await hosts.listExecutors({ namespace: name, pageToken }, { signal });
      return { items: page.executors, nextPageToken: page.nextPageToken };
    });
    for (const executor of found) {
      const key = `${executor.namespace}/${executor.serviceName}`;
      executors.set(key, [...(executors.get(key) ?? []), executor]);
    }
  }
  return services.map((service) => ({
    service,
    executors: executors.get(`${service.namespace}/${service.serviceName}`) ?? [],
  }));
}

/** As in `2 of 3 ready`; who serves what is built in is the server itself. */
export function runnersOf({ service, executors }: HostedService): string {
  if (service.builtIn) return "built in";
  if (executors.length === 0) return "nobody";
  const kinds = [...new Set(executors.map(({ kind }) => kindNames[kind]))].join(", ");
  const ready = executors.filter((executor) => executor.ready).length;
  const count = `${ready} of ${executors.length} ready`;
  return kinds === "" ? count : `${kinds}: ${count}`;
}

export function kindOf({ kind }: Executor): string {
  return kindNames[kind] ?? "";
}

/** As in `ready`, or what is wrong. */
export function healthOf({ ready, problem }: Executor): string {
  return ready ? "ready" : problem === "" ? "not ready" : problem;
}

/** What a method is like, as in `unary, idempotent`. */
export function natureOf(service: RegisteredService, method: string): string {
  const proto = service.serviceDescriptor?.method.find(({ name }) => name === method);
  const { clientStreaming = false, serverStreaming = false } = proto ?? {};
  const kind =
    clientStreaming && serverStreaming
      ? "both stream"
      : clientStreaming
        ? "client streams"
        : serverStreaming
          ? "server streams"
          : "unary";
  const readsOnly =
    proto?.options?.idempotencyLevel === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
  const repeats = readsOnly
    ? ", no side effects"
    : service.idempotentMethods.includes(method)
      ? ", idempotent"
      : "";
  return kind + repeats;
}

/** `.shop.v1.Product` as people write it. */
export function plainType(name: string | undefined): string {
  return (name ?? "").replace(/^\./, "");
}

export function executorJson(executor: Executor): JsonValue {
  const { id, address, ready, problem, callsInFlight, labels, collectorId } = executor;
  return {
    id,
    kind: kindOf(executor),
    address,
    ready,
    problem,
    callsInFlight: Number(callsInFlight),
    labels: { ...labels },
    collectorId,
  };
}

export function serviceJson({ service, executors }: HostedService): Record<string, JsonValue> {
  return {
    name: service.serviceName,
    namespace: service.namespace,
    file: service.fileName,
    version: String(service.version),
    builtIn: service.builtIn,
    methods: service.methodNames.map((name) => {
      const proto = service.serviceDescriptor?.method.find((method) => method.name === name);
      return {
        name,
        kind: natureOf(service, name).split(",")[0] ?? "",
        request: plainType(proto?.inputType),
        answer: plainType(proto?.outputType),
        idempotent: service.idempotentMethods.includes(name),
      };
    }),
    endpoints: service.endpoints.map(({ address, labels }) => ({ address, labels: { ...labels } })),
    executors: executors.map(executorJson),
  };
}
